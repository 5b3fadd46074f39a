"""Indexing impacts into Lucene: our writer against Anserini's ``JsonVectorCollection --impact``.

    python benchmarks/bench_lucene_indexing.py [--documents 20000] [--features 400] [--rounds 3]

Every contender runs in a process of its own with the same Java options, in turns; its CPU time and peak memory are
what the operating system counted for that process, Java and Python start-up included. Ratios are medians over
rounds of Anserini's figure by ours in the same round. Both indexes must hold the same postings and give the same
scores, or the script fails.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from harness import Figure, add_options, disagree, paired, require_found, require_same, write_record
from memory import Cost, run_measured
from scipy.sparse import csr_array

WIDTH = 131_072
TOP = 255
BATCH = 1000
FILES = 4
CONTENDERS = {
    "anserini": "Anserini, JSONL",
    "ours-jsonl": "ours, the same JSONL",
    "ours-arrays": "ours, arrays on disk",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=400, help="of a document")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="Anserini's; ours takes one")
    parser.add_argument("--child", nargs=3, metavar=("CONTENDER", "DATA", "INDEX"), help=argparse.SUPPRESS)
    add_options(parser, {"documents": 500, "rounds": 1})
    options = parser.parse_args()
    if options.child:
        contender, data, index = options.child
        _index(contender, Path(data), Path(index), options)
        return
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        _make_data(data, options.documents, options.features)
        costs: dict[str, list[Cost]] = {contender: [] for contender in CONTENDERS}
        for number in range(options.rounds):
            for contender in CONTENDERS:
                command = [sys.executable, __file__, "--threads", str(options.threads)]
                command += ["--documents", str(options.documents), "--features", str(options.features), "--child"]
                costs[contender].append(run_measured([*command, contender, folder, f"{folder}/{contender}-{number}"]))
        _compare(data, options.documents)
    _show(costs, options)


def make_impacts(rows: int, features: int, seed: int, width: int = WIDTH) -> csr_array:
    """Impacts 1..255 over latents whose frequencies fall off like words'."""
    rng = np.random.default_rng(seed)
    # Which latents are frequent is the same for documents and queries.
    names = np.random.default_rng(0).permutation(width)
    share = 1 / np.arange(1, width + 1) ** 0.7
    cumulated = np.cumsum(share / share.sum())
    indices = np.empty((rows, features), dtype=np.int32)
    for row in range(rows):
        drawn: np.ndarray = np.empty(0, dtype=np.int64)
        while len(drawn) < features:
            more = np.searchsorted(cumulated, rng.random(2 * features)).clip(max=width - 1)
            drawn = np.unique(np.concatenate([drawn, more]))
        indices[row] = np.sort(names[rng.permutation(drawn)[:features]])
    data = rng.integers(1, TOP + 1, size=rows * features, dtype=np.int32)
    return csr_array((data, indices.ravel(), np.arange(rows + 1) * features), shape=(rows, width))


def _make_data(folder: Path, documents: int, features: int) -> None:
    from pyserini_splare import write_json_vectors

    impacts = make_impacts(documents, features, seed=1)
    impacts.indices.astype(np.int32).tofile(folder / "indices.bin")
    impacts.data.astype(np.int32).tofile(folder / "impacts.bin")
    (folder / "jsonl").mkdir()
    for part in range(FILES):
        rows = range(part * documents // FILES, (part + 1) * documents // FILES)
        path = folder / "jsonl" / f"{part}.jsonl"
        write_json_vectors(path, [f"d{row}" for row in rows], impacts[rows.start : rows.stop], [""] * len(rows))


def _index(contender: str, data: Path, index: Path, options: argparse.Namespace) -> None:
    """The work that is measured, in a process of its own."""
    from pyserini_splare.jvm import java_class

    if contender == "anserini":
        arguments = ["-collection", "JsonVectorCollection", "-input", str(data / "jsonl"), "-index", str(index)]
        arguments += ["-generator", "DefaultLuceneDocumentGenerator", "-threads", str(options.threads)]
        arguments += ["-impact", "-pretokenized", "-optimize", "-quiet"]
        java_class("io.anserini.index.IndexCollection").main(arguments)
        return
    from pyserini_splare import LuceneWriter, read_json_vectors

    documents, features = options.documents, options.features
    with LuceneWriter(index) as writer:
        if contender == "ours-jsonl":
            for batch in read_json_vectors(data / "jsonl", width=WIDTH):
                writer.add(batch.docids, batch.impacts)
        else:
            # Read as they are needed, as encoded shards are.
            with (data / "indices.bin").open("rb") as indices, (data / "impacts.bin").open("rb") as impacts:
                for start in range(0, documents, BATCH):
                    rows = min(BATCH, documents - start)
                    parts = [np.fromfile(stream, np.int32, rows * features) for stream in (impacts, indices)]
                    batch_impacts = csr_array((*parts, np.arange(rows + 1) * features), shape=(rows, WIDTH))
                    writer.add([f"d{start + row}" for row in range(rows)], batch_impacts)


def _compare(folder: Path, documents: int) -> None:
    """Stop unless all contenders made the same index."""
    from pyserini_splare import LuceneSearcher

    queries = make_impacts(20, 40, seed=2)
    answers = {}
    for contender in CONTENDERS:
        with LuceneSearcher(folder / f"{contender}-0") as searcher:
            if searcher.num_docs != documents:
                disagree(f"{contender}: {searcher.num_docs} documents instead of {documents}")
            answers[contender] = (
                searcher.statistics(),
                [(hits.docids, hits.scores.tolist()) for hits in searcher.search(queries, 100)],
            )
    require_found("hits", sum(len(docids) for docids, _ in answers["anserini"][1]))
    for contender in CONTENDERS:
        require_same(f"the indexes of {contender} and Anserini", answers[contender], answers["anserini"])


def _show(costs: dict[str, list[Cost]], options: argparse.Namespace) -> None:
    print(
        f"{options.documents:,} documents x {options.features} impacts up to {TOP}, one segment, {options.rounds} "
        f"rounds, Anserini with {options.threads} threads; medians; x = Anserini / ours"
    )
    print(f"{'':<22}{'CPU s':>8}{'x':>7}{'wall s':>9}{'x':>7}{'peak MB':>9}{'x':>7}")
    for contender, runs in costs.items():
        line = f"{CONTENDERS[contender]:<22}"
        for name, digits, width in (("cpu", 1, 8), ("wall", 1, 9), ("memory", 0, 9)):
            own = [getattr(run, name) for run in runs]
            ratio = paired([getattr(peer, name) for peer in costs["anserini"]], own)
            line += f"{statistics.median(own):>{width}.{digits}f}{ratio:>7.1f}"
        print(line)
    what = f"index {options.documents:,} x {options.features} impacts into Lucene"
    figures = [
        Figure(
            what=f"{what}, {label}",
            against="Anserini `JsonVectorCollection --impact`",
            ratio=[
                paired([getattr(run, name) for run in costs["anserini"]], [getattr(run, name) for run in costs[ours]])
                for ours in ("ours-jsonl", "ours-arrays")
            ],
            unit=["x less from the same JSONL", "x less from arrays"],
            aim=aim,
            command="bench_lucene_indexing.py",
        )
        for name, label, aim in (("cpu", "CPU time", 5), ("memory", "peak memory", 2))
    ]
    write_record(options, figures)


if __name__ == "__main__":
    main()
