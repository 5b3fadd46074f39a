"""What stands behind the model: reading, quantising, Parquet and writing indexes, in documents a second of one core.

The encoder is left out: weights as it yields them (400 latents a document of 16,384) are drawn at random.

    python benchmarks/bench_pipeline.py [--documents 20000] [--ids 1000000] [--profile]

Each step runs alone, with what the one before it made; its cost is the CPU time of the whole process, the threads of
Java and Arrow included. Before anything is timed, what the steps make is compared with plain loops over documents,
and the two engines' answers with one another; the script fails where they differ. ``--profile`` prints the functions
that take most of each step.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import pstats
import random
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from bench_lucene_indexing import make_impacts
from harness import Figure, add_options, paired, require_close, require_found, require_same, write_record
from scipy.sparse import csr_array

from splare_plugins.config import SideConfig, SplareConfig
from splare_plugins.corpus import Document, EncodedBatch, EncodedFolder, Encoding, ReadCounts, read_documents
from splare_plugins.corpus.parts import MadePart, PartTask, made_part
from splare_plugins.corpus.shards import write_shard
from splare_plugins.engines import get_engine
from splare_plugins.impacts import Quantizer, to_dicts
from splare_plugins.machine.ids import DistinctIds

WIDTH = 16_384
LATENTS = 400
WINDOW = 1000  # documents that the encoder yields together
PART = 2000
SCALE = 40.0
CONFIG = SplareConfig(
    name="bench",
    revision="1",
    backbone="bench",
    width=WIDTH,
    query=SideConfig(top_k=40, scale=SCALE),
    document=SideConfig(top_k=LATENTS, scale=SCALE),
)


class Data(NamedTuple):
    """What the steps work on."""

    folder: Path
    documents: list[Document]
    weights: list[csr_array]
    batches: list[EncodedBatch]


Step = Callable[[Data], object]


def make_data(folder: Path, count: int) -> Data:
    """Texts of 60 to 240 words with titles, as JSONL and TSV, and weights of which some are clipped or dropped."""
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(5000)]
    documents = [
        Document(
            f"doc-{number}",
            " ".join(draw.choices(words, k=draw.randint(60, 240))),
            " ".join(draw.choices(words, k=8)),
        )
        for number in range(count)
    ]
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as jsonl, (folder / "corpus.tsv").open("w") as tsv:
        for docid, text, title in documents:
            jsonl.write(json.dumps({"_id": docid, "title": title, "text": text, "metadata": {}}) + "\n")
            tsv.write(f"{docid}\t{text}\n")
    impacts = make_impacts(count, LATENTS, seed=1, width=WIDTH)
    noise = np.random.default_rng(2).uniform(-0.9, 1.5, impacts.nnz)
    values = ((impacts.data + noise) / SCALE).astype(np.float32)
    weights = csr_array((values, impacts.indices.astype(np.int32), impacts.indptr.astype(np.int32)), impacts.shape)
    windows = [weights[start : start + WINDOW] for start in range(0, count, WINDOW)]
    return Data(folder, documents, windows, [])


def read_jsonl(data: Data) -> list[Document]:
    return list(read_documents(data.folder / "corpus.jsonl"))


def read_tsv(data: Data) -> list[Document]:
    return list(read_documents(data.folder / "corpus.tsv"))


def quantise(data: Data) -> list[EncodedBatch]:
    quantizer, batches, start = Quantizer.from_config(CONFIG), [], 0
    for weights in data.weights:
        docids = [document.docid for document in data.documents[start : start + WINDOW]]
        quantized = quantizer.documents(weights, docids)
        cut = np.zeros(len(docids), dtype=bool)
        more = {"truncated": cut, "clipped": quantized.row_clipped, "dropped": quantized.row_dropped}
        batches.append(EncodedBatch(docids=docids, impacts=quantized.impacts, **more))
        start += WINDOW
    return batches


def write_parquet(data: Data) -> Path:
    """All that ``splare encode`` does beside reading and encoding."""

    def make(tasks: Iterable[PartTask]) -> Iterator[MadePart]:
        for task in tasks:
            first = task.number * PART // WINDOW
            yield made_part(task, data.batches[first : first + PART // WINDOW], CONFIG)

    folder = Path(tempfile.mkdtemp(dir=data.folder))
    encoding = Encoding(config=CONFIG, top_k=LATENTS, part_size=PART)
    counts = ReadCounts(read=len(data.documents))
    write_shard(folder, encoding, 1, data.documents, make, counts=counts)
    return folder


def read_parquet(data: Data) -> list[EncodedBatch]:
    return list(EncodedFolder(data.folder / "encoded").batches())


def write_index(engine: str, data: Data) -> Path:
    place = Path(tempfile.mkdtemp(dir=data.folder)) / "index"
    with get_engine(engine).writer(str(place), CONFIG) as writer:
        for batch in data.batches:
            writer.add(batch.docids, batch.impacts)
    return place


STEPS: Mapping[str, tuple[str, Step]] = {
    "jsonl": ("read JSONL", read_jsonl),
    "tsv": ("read TSV", read_tsv),
    "quantise": ("quantise", quantise),
    "write": ("write Parquet parts", write_parquet),
    "read": ("read Parquet parts", read_parquet),
    "lucene": ("write a Lucene index; the first one, with Java's start", lambda data: write_index("lucene", data)),
    "memory": ("write a memory engine's index", lambda data: write_index("memory", data)),
}


def check(data: Data, places: Sequence[Path]) -> None:
    """Stop unless the steps make what plain loops make, and both engines the same answers."""
    require_same("documents read from JSONL", read_jsonl(data), data.documents)
    plain = [Document(document.docid, document.text) for document in data.documents]
    require_same("documents read from TSV", read_tsv(data), plain)
    clipped = dropped = 0
    for weights, batch in zip(data.weights, data.batches, strict=True):
        bounds = list(pairwise(weights.indptr.tolist()))
        for row, (impacts, (start, end)) in enumerate(zip(to_dicts(batch.impacts), bounds, strict=True)):
            latents, values = weights.indices[start:end].tolist(), weights.data[start:end].tolist()
            rounded = {f"f{latent}": int(value * SCALE + 0.5) for latent, value in zip(latents, values, strict=True)}
            require_same("impacts", impacts, {term: min(each, 255) for term, each in rounded.items() if each})
            require_same("clipped weights", batch.clipped[row], sum(each > 255 for each in rounded.values()))
            clipped += int(batch.clipped[row])
            dropped += int(batch.dropped[row])
    require_found("clipped weights", clipped)
    require_found("dropped weights", dropped)
    stored, made = read_parquet(data), data.batches
    require_same("ids in Parquet", [each.docids for each in joined(stored)], [each.docids for each in joined(made)])
    for name in ("data", "indices"):
        arrays = [np.concatenate([getattr(batch.impacts, name) for batch in side]) for side in (stored, made)]
        require_close(f"{name} in Parquet", *arrays)
    queries = make_impacts(20, 40, seed=3, width=WIDTH)
    answers = []
    for engine, place in zip(("lucene", "memory"), places, strict=True):
        with get_engine(engine).searcher(str(place)) as searcher:
            require_same(f"documents of {engine}", searcher.num_docs, len(data.documents))
            answers.append([sorted(hits.scores.tolist()) for hits in searcher.search(queries, 100)])
    require_found("hits", sum(map(len, answers[0])))
    require_same("scores of Lucene and of the memory engine", *answers)


def joined(batches: Sequence[EncodedBatch]) -> list[EncodedBatch]:
    """One batch, however they were cut."""
    from splare_plugins.corpus.encoded import join_batches

    return [join_batches(batches)]


def time_ids(count: int, rounds: int) -> list[Figure]:
    """The record of ids beside a set, both asked for each id whether it came before; one in a hundred did."""
    known: Mapping[str, list[Any]] = {"ours": [], "set": []}
    for _ in range(rounds):
        for name, run in (("set", _with_set), ("ours", _with_words)):
            begin = time.process_time()
            repeated = run(count)
            known[name].append((time.process_time() - begin, repeated))
    require_same("repeated ids", known["ours"][0][1], known["set"][0][1])
    require_found("repeated ids", known["ours"][0][1])
    peaks = {}
    for name, run in (("set", _with_set), ("ours", _with_words)):
        tracemalloc.start()
        run(count)
        peaks[name] = tracemalloc.get_traced_memory()[1] / count
        tracemalloc.stop()
    seconds = {name: [each for each, _ in runs] for name, runs in known.items()}
    micro = {name: statistics.median(each) / count * 1e6 for name, each in seconds.items()}
    for name in known:
        print(f"ids, {name:<15}{peaks[name]:>6.1f} bytes an id at the peak, {micro[name]:.2f} us an id")
    record = f"record of {count:,} ids"
    more: Mapping[str, Any] = {"command": "bench_pipeline.py"}
    return [
        Figure(
            what=f"{record}, an id at the peak",
            against="no peer",
            ratio=[peaks["ours"]],
            unit=["bytes"],
            aim=10,
            at="most",
            **more,
        ),
        Figure(
            what=f"{record}, peak memory",
            against="a Python set",
            ratio=[peaks["set"] / peaks["ours"]],
            unit=["x less"],
            **more,
        ),
        Figure(
            what=f"{record}, CPU time, making the ids included",
            against="a Python set",
            ratio=[1 / paired(seconds["set"], seconds["ours"])],
            unit=["of its time"],
            **more,
        ),
    ]


def _ids(count: int) -> Iterator[list[str]]:
    for start in range(0, count, 256):
        yield [
            f"MARCO_{number - number // 2 * (number % 100 == 99)}" for number in range(start, min(count, start + 256))
        ]


def _with_set(count: int) -> int:
    seen: set[str] = set()
    repeated = 0
    for batch in _ids(count):
        for each in batch:
            repeated += each in seen
            seen.add(each)
    return repeated


def _with_words(count: int) -> int:
    known, repeated = DistinctIds(), 0
    for batch in _ids(count):
        if again := known.repeated(batch):
            repeated += len(again)
            batch = [each for place, each in enumerate(batch) if place not in again]
        known.add(batch)
    return repeated


def timed(step: Step, data: Data) -> tuple[float, Any]:
    """Documents a second of CPU time, and what the step made."""
    begin = time.process_time()
    made = step(data)
    return len(data.documents) / (time.process_time() - begin), made


def profile(step: Step, data: Data) -> None:
    """Print the functions in which a step spends most."""
    profiler = cProfile.Profile()
    profiler.runcall(step, data)
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).strip_dirs().sort_stats("tottime").print_stats(8)
    print("\n".join(f"    {line}" for line in text.getvalue().splitlines()[6:16] if line))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--ids", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="print where each step spends its time")
    add_options(parser, {"documents": 1000, "ids": 100_000, "rounds": 1})
    options = parser.parse_args()
    pa.set_cpu_count(1)
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(Path(folder), options.documents)
        data = data._replace(batches=quantise(data))
        write_parquet(data).rename(data.folder / "encoded")
        first, place = timed(STEPS["lucene"][1], data)
        check(data, [place, write_index("memory", data)])
        for name, (label, step) in STEPS.items():
            rates[name] = [statistics.median(timed(step, data)[0] for _ in range(options.rounds))]
            rates[name] += [first] if name == "lucene" else []
            print(f"{label:<52}{'; '.join(f'{rate:,.0f}' for rate in rates[name]):>16}", flush=True)
            if options.profile:
                profile(step, data)
    figures = [
        Figure(
            what="; ".join(label for name, (label, _) in STEPS.items() if name in group),
            against="no peer",
            ratio=[rate for name in STEPS if name in group for rate in rates[name]],
            unit=["documents a second and core" for name in STEPS if name in group for _ in rates[name]],
            aim=aim,
            command="bench_pipeline.py",
        )
        for aim, group in ((5000, STEPS.keys() - {"lucene"}), (3000, {"lucene"}))
    ]
    figures += time_ids(options.ids, options.rounds)
    write_record(options, figures)


if __name__ == "__main__":
    main()
