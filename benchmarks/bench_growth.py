"""How an index grows: time to build it, size, memory, latency and recall, for each engine and number of documents.

The vectors are drawn with the statistics of the built-in model (``growth_vectors.py``). Every engine builds in one
process and is searched in another one, on one thread, one query at a time. Times are those of the processor, of all
threads, since it may be shared. Recall at 10 is measured against exact products that no engine had a part in; an
engine that is exact and does not find everything fails the script. Beside whole queries, each engine is asked queries
cut to their largest latents, and in each of its own ways to search.

    python benchmarks/bench_growth.py [--documents 10000 100000 1000000] [--only lucene pisa] [--plot FILE.png]

Seismic is left out above ``--seismic-limit`` documents: it keeps vectors in memory while it builds.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from growth_vectors import BATCH, Vectors, statistics
from harness import Figure, add_options, disagree, require_close, require_found, write_record
from memory import memory_mb
from scipy.sparse import csr_array, load_npz, save_npz

from splare_plugins.config import SplareConfig
from splare_plugins.corpus import Document, EncodedBatch
from splare_plugins.corpus.parts import PartTask, made_part

ENGINES = ("lucene", "pisa", "seismic", "memory")
EXACT = ("lucene", "pisa", "memory")
K = 10
CUTS = (20, 10)
# Ways to search beside an engine's own default.
WAYS: dict[str, list[dict[str, Any]]] = {
    "pisa": [{"algorithm": name} for name in ("block_max_maxscore", "wand", "block_max_wand")],
    "seismic": [{"preset": "fast"}, {"preset": "paper"}],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--seismic-limit", type=int, default=100_000, metavar="DOCUMENTS")
    parser.add_argument("--folder", type=Path, help="where vectors and indexes are kept for a while")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the record of --json, without measuring")
    parser.add_argument("--child", nargs=3, metavar=("STEP", "ENGINE", "FOLDER"), help=argparse.SUPPRESS)
    add_options(parser, {"documents": [500, 2000], "queries": 30})
    options = parser.parse_args()
    if options.plot:
        from growth_plot import draw

        draw(json.loads(options.json.read_text(encoding="utf-8"))["rows"], options.plot)
    elif options.child:
        step, engine, folder = options.child
        print(json.dumps(list((build if step == "build" else search)(engine, Path(folder)))))
    else:
        rows = []
        for documents in options.documents:
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                rows += measure(documents, Path(folder), options)
        write_record(options, list(figures(rows)), rows=rows, encoded_bytes_per_posting=encoded_bytes())


def measure(documents: int, folder: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rows of one number of documents."""
    prepare(documents, options.queries, folder)
    print(f"\n{documents:,} documents, {options.queries} queries, k = {K}")
    print(f"{'':<34}{'build s':>9}{'MB':>8}{'peak MB':>9}{'median ms':>11}{'p99 ms':>9}{'recall':>8}", flush=True)
    for engine in options.only:
        if engine == "seismic" and documents > options.seismic_limit:
            continue
        (built,) = child("build", engine, folder)
        for row in child("search", engine, folder):
            if row["exact"]:
                require_close(f"the best documents of {engine}, which is exact,", row["recall"], 1.0)
            print(
                f"{row['way']:<34}{built['build_s']:>9.1f}{built['megabytes']:>8.0f}{built['peak_mb']:>9.0f}"
                f"{row['median_ms']:>11.2f}{row['p99_ms']:>9.2f}{row['recall']:>8.4f}",
                flush=True,
            )
            yield {"engine": engine, "documents": documents, **built, **row}
        shutil.rmtree(folder / engine)


def prepare(documents: int, queries: int, folder: Path) -> None:
    """Write vectors, queries and the exact answers."""
    vectors = Vectors()
    places = folder / "vectors"
    places.mkdir()
    first = next(vectors.batches(min(documents, BATCH)))
    measured, drawn = statistics(vectors.documents), statistics(first)
    for name, value in measured.items():
        require_close(f"{name}, measured and drawn,", drawn[name], value, relative=0.15)
    asked = vectors.asked(queries, first)
    best = np.empty((queries, 0), dtype=np.int64)
    for number, batch in enumerate(vectors.batches(documents)):
        save_npz(places / f"{number:05}.npz", small(batch), compressed=False)
        scores = (asked.astype(np.int64) @ batch.astype(np.int64).T).toarray()
        best = np.sort(np.concatenate([best, scores], axis=1), axis=1)[:, -K:]
    require_found("scores", int((best > 0).sum()))
    save_npz(folder / "queries.npz", asked)
    np.save(folder / "best.npy", best)


def encoded_bytes() -> float:
    """Of an impact in the Parquet parts of ``splare encode``."""
    batch = next(Vectors().batches(BATCH))
    documents = [Document(f"d{number}", "", "") for number in range(BATCH)]
    zeros = np.zeros(BATCH, dtype=np.int32)
    encoded = EncodedBatch(
        docids=[each.docid for each in documents],
        impacts=batch,
        truncated=zeros.astype(bool),
        clipped=zeros,
        dropped=zeros,
    )
    config = SplareConfig(name="drawn", revision="0", backbone="backbone", width=batch.shape[1])
    return len(made_part(PartTask(0, "0" * 64, documents), [encoded], config).data) / batch.nnz


def small(batch: csr_array) -> csr_array:
    """The same in a third of the bytes."""
    parts = batch.data.astype(np.uint8), batch.indices.astype(np.uint16), batch.indptr
    reduced = csr_array(batch.shape, dtype=np.uint8)
    reduced.data, reduced.indices, reduced.indptr = parts
    return reduced


def stored(folder: Path) -> Iterator[csr_array]:
    """The batches again, int32."""
    for path in sorted((folder / "vectors").glob("*.npz")):
        batch = csr_array(load_npz(path))
        yield csr_array((batch.data.astype(np.int32), batch.indices.astype(np.int32), batch.indptr), shape=batch.shape)


def child(step: str, engine: str, folder: Path) -> list[dict[str, Any]]:
    """What a process of its own says."""
    command = [sys.executable, __file__, "--child", step, engine, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        disagree(f"{engine} failed: {' '.join(done.stderr.split())[-600:]}")
    rows: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return rows


def build(engine: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Build the index; the time of reading vectors is not counted."""
    from splare_plugins.engines import get_engine

    place, seconds, count, postings = folder / engine, 0.0, 0, 0
    writer = get_engine(engine).writer(str(place), None)
    for batch in stored(folder):
        names = [f"d{number}" for number in range(count, count + batch.shape[0])]
        begin = cpu_seconds()
        writer.add(names, batch)
        seconds += cpu_seconds() - begin
        count, postings = count + batch.shape[0], postings + batch.nnz
    begin = cpu_seconds()
    writer.commit()
    seconds += cpu_seconds() - begin
    started = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    yield {
        "build_s": seconds,
        "megabytes": size / 1e6,
        "peak_mb": max(memory_mb(), started),
        "postings": postings,
        "bytes_a_posting": size / postings,
    }


def cpu_seconds() -> float:
    """Of this process and of those that it started and waited for."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in usage)


def search(engine: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Search it in each way."""
    from splare_plugins.engines import get_engine
    from splare_plugins.impacts import keep_largest

    asked, best = csr_array(load_npz(folder / "queries.npz")), np.load(folder / "best.npy")
    rows, answers = [], []
    for settings in [{}, *WAYS.get(engine, [])]:
        with get_engine(engine).searcher(str(folder / engine), **settings) as searcher:
            for cut in [None, *(CUTS if not settings else ())]:
                queries = keep_largest(asked, cut)
                searcher.search(queries, K)  # Java compiles what it runs often
                taken, found = [], []
                for row in range(queries.shape[0]):
                    begin = time.process_time()
                    (hits,) = searcher.search(queries[row : row + 1], K)
                    taken.append(1000 * (time.process_time() - begin))
                    found.append(hits.docids)
                name = " ".join([engine, *map(str, settings.values()), *([f"{cut} latents"] if cut else [])])
                answers.append(found)
                rows.append(
                    {
                        "way": name,
                        "settings": settings,
                        "cut": cut,
                        "exact": cut is None and (engine in EXACT or not settings),
                        "median_ms": float(np.median(taken)),
                        "p99_ms": float(np.percentile(taken, 99)),
                        "search_peak_mb": memory_mb(),
                    }
                )
    for row, found in zip(rows, answers, strict=True):  # now that no memory is measured any more
        shares = [share(docids, asked[[number]], best[number], folder) for number, docids in enumerate(found)]
        yield {**row, "recall": float(np.mean(shares))}


def share(docids: list[str], query: csr_array, best: np.ndarray, folder: Path) -> float:
    """Of the best documents, how many were found; one that ties with the last of them is as good."""
    wanted = best[best > 0]
    if not len(wanted):
        return 1.0
    numbers = [int(docid[1:]) for docid in docids[:K]]
    scores = [int((document(folder, number) @ query.T.astype(np.int64)).sum()) for number in numbers]
    return min(len(wanted), sum(score >= wanted[0] for score in scores)) / len(wanted)


_batches: dict[int, csr_array] = {}


def document(folder: Path, number: int) -> csr_array:
    """One document's impacts."""
    batch, row = divmod(number, BATCH)
    if batch not in _batches:
        if len(_batches) > 200:
            _batches.pop(next(iter(_batches)))
        _batches[batch] = csr_array(load_npz(folder / "vectors" / f"{batch:05}.npz"))
    return csr_array(_batches[batch][[row]].astype(np.int64))


def figures(rows: list[dict[str, Any]]) -> Iterator[Figure]:
    """How the largest index compares with the smallest one, by engine, per document."""
    for engine in ENGINES:
        own = [row for row in rows if row["engine"] == engine and row["cut"] is None and not row["settings"]]
        if len(own) < 2:
            continue
        few, many = own[0], own[-1]
        factor = many["documents"] / few["documents"]
        yield Figure(
            what=f"{engine}, {many['documents']:,} documents: build time; bytes; median latency, per document",
            against=f"{few['documents']:,} documents",
            ratio=[many[name] / few[name] / factor for name in ("build_s", "megabytes", "median_ms")],
            unit=["of theirs"] * 3,
            command="bench_growth.py",
        )


if __name__ == "__main__":
    main()
