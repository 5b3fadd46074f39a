"""What a runtime and a precision bring the built-in model for one query, and cost in quality, against torch float32.

``query``: one query, text to impacts, median CPU time on one thread. ``start``: a new process until it has answered
its first query, medians; each process in turn. ``demo``: what the demo encodes. ``quality DATA``: nDCG@10 of impacts
on the ten sets of docs/figures.md, for each precision in OpenVINO; DATA holds BEIR folders.

Run ``python benchmarks/bench_runtimes.py query``.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Figure, add_options, require_close, write_record

from splare_plugins.corpus import read_documents, read_qrels, read_queries
from splare_plugins.engines import Hits
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.evaluation import evaluate

WAYS: dict[str, dict[str, Any]] = {
    "torch float32": {"runtime": "torch"},
    "OpenVINO float32": {"runtime": "openvino"},
    "OpenVINO bfloat16": {"runtime": "openvino", "dtype": "bfloat16"},
    "OpenVINO int8": {"runtime": "openvino", "quantization": "int8"},
}
QUERIES = (
    "Welche Auswirkungen hat die Erwärmung der Meere auf Korallenriffe?",
    "what do bees eat in winter and how do they survive",
    "¿cuál es la capital de Mongolia y cuántos habitantes tiene?",
    "how many languages are spoken in the north of India today",
)
SETS = [(f"xquad/{language}", "xquad/en") for language in ("en", "de", "es", "zh", "ru", "ar")]
SETS += [(name, name) for name in ("scifact", "cranfield", "cacm", "vaswani")]
DEPTH = 100
DATA = Path(__file__).parents[1] / "examples" / "data"
WARM_UP, TURN = 4, 16
# Of a weight, between each way and torch in float32; int8 is coarse.
DIFFERENCE = {"OpenVINO float32": 1e-4, "OpenVINO bfloat16": 0.05, "OpenVINO int8": 0.5}
FIRST_ANSWER = """
from splare_plugins import SplareModel
model = SplareModel.from_pretrained("splare-e5-small", device="cpu", {options})
assert model.quantizer.queries(model.encode_queries(["what do bees eat in winter"])).impacts.nnz == 40
import resource
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def query(options: argparse.Namespace) -> list[Figure]:
    torch.set_num_threads(1)
    models = {name: SplareModel.from_pretrained(device="cpu", **ways) for name, ways in WAYS.items()}
    expected = models["torch float32"].encode_queries(QUERIES, top_k=None).toarray()
    for name, most in DIFFERENCE.items():
        weights = models[name].encode_queries(QUERIES, top_k=None).toarray()
        require_close(f"weights of {name}", weights, expected, absolute=most)
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(options.rounds or 12):
        for name, model in models.items():
            # In turns, since a model that has just run finds its weights in the processor's cache, as in use.
            for number in range(WARM_UP + TURN):
                begin = time.process_time()
                model.quantizer.queries(model.encode_queries([QUERIES[number % len(QUERIES)]]))
                if number >= WARM_UP:
                    taken[name].append(time.process_time() - begin)
    ratio = show({name: 1000 * statistics.median(seconds) for name, seconds in taken.items()}, "ms")
    return [
        Figure(
            what="one query, text to impacts, one thread, median CPU time: float32; bfloat16; int8",
            against="itself in torch in float32",
            ratio=ratio,
            unit=["x less"] * 3,
            command="bench_runtimes.py query",
        )
    ]


def start(options: argparse.Namespace) -> list[Figure]:
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    memory: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range((options.rounds or 5) + 1):
        for name, ways in WAYS.items():
            code = FIRST_ANSWER.format(options=", ".join(f"{key}={value!r}" for key, value in ways.items()))
            begin = time.perf_counter()
            printed = subprocess.check_output([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
            taken[name].append(time.perf_counter() - begin)
            memory[name].append(float(printed))
    ratio = show({name: statistics.median(seconds[1:]) for name, seconds in taken.items()}, "s")
    smaller = show({name: statistics.median(peaks[1:]) for name, peaks in memory.items()}, "MB")
    return [
        Figure(
            what="a new process until its first query is answered: float32; bfloat16; int8",
            against="itself in torch in float32",
            ratio=ratio,
            unit=["x less"] * 3,
            aim=2,
            command="bench_runtimes.py start",
        ),
        Figure(
            what="the most memory that such a process has: float32; bfloat16; int8",
            against="itself in torch in float32",
            ratio=smaller,
            unit=["x less"] * 3,
            command="bench_runtimes.py start",
        ),
    ]


def demo(options: argparse.Namespace) -> list[Figure]:
    """What ``make demo`` encodes: the paragraphs of XQuAD, and the questions in two other languages."""
    torch.set_num_threads(1)
    documents = [each.content for each in read_documents(DATA / "xquad" / "en")]
    queries = [each.text for language in ("de", "zh") for each in read_queries(DATA / "xquad" / language)]
    queries = queries[: options.queries]
    taken: dict[str, float] = {}
    found: dict[str, Any] = {}
    for name in list(WAYS)[:2]:
        model = SplareModel.from_pretrained(device="cpu", **WAYS[name])
        begin = time.process_time()
        found[name] = model.encode_documents(documents), model.encode_queries(queries)
        taken[name] = time.process_time() - begin
    for ours, theirs in zip(*found.values(), strict=True):
        require_close("sums of weights", ours.sum(1), theirs.sum(1), relative=1e-4)
    return [
        Figure(
            what=f"what the demo encodes, {len(documents)} documents and {len(queries):,} queries, default precision",
            against="itself in torch in float32",
            ratio=show(taken, "s"),
            unit=["x less"],
            aim=1.5,
            command="bench_runtimes.py demo",
        )
    ]


def show(medians: dict[str, float], unit: str) -> list[float]:
    """Print each way's median and how often it goes into the first one's; returns the latter."""
    first = medians["torch float32"]
    for name, median in medians.items():
        print(f"{name:20} {median:6.2f} {unit}  {first / median:.2f} x")
    return [first / median for name, median in medians.items() if median != first]


def quality(options: argparse.Namespace) -> list[Figure]:
    if options.data is None:
        raise SystemExit("bench_runtimes.py: quality needs a folder of collections, such as DATA with DATA/scifact")
    data: Path = options.data
    results: dict[str, list[float]] = {}
    losses: list[float] = []
    # That of OpenVINO in float32 is torch's, in a third of the time.
    for name in list(WAYS)[1:]:
        model = SplareModel.from_pretrained(device="cpu", **WAYS[name])
        encoded: dict[str, Any] = {}
        results[name] = [ndcg(model, data / asking, data / corpus, encoded) for asking, corpus in SETS]
        lost = np.array(results["OpenVINO float32"]) - np.array(results[name])
        row = " ".join(f"{value:.4f}" for value in results[name])
        print(f"{name:20} {row}  mean {np.mean(results[name]):.4f}, lost {lost.mean():+.4f}", flush=True)
        losses.append(float(lost.mean()))
    return [
        Figure(
            what=f"nDCG@10 lost, mean of {len(SETS)} sets: {name}",
            against="float32",
            ratio=[lost],
            unit=["lost"],
            aim=most,
            at="most",
            command="bench_runtimes.py quality DATA",
        )
        for name, lost, most in zip(("bfloat16", "int8"), losses[1:], (0.001, 0.004), strict=True)
    ]


def ndcg(model: SplareModel, asking: Path, corpus: Path, encoded: dict[str, Any]) -> float:
    if corpus.name not in encoded:
        documents = list(read_documents(corpus))
        weights = model.encode_documents([document.content for document in documents])
        names = np.array([document.docid for document in documents], dtype=object)
        encoded[corpus.name] = names, model.quantizer.documents(weights).impacts.astype(np.int64)
    names, impacts = encoded[corpus.name]
    qrels = read_qrels(asking)
    queries = [each for each in read_queries(asking) if each[0] in qrels]
    asked = model.quantizer.queries(model.encode_queries([each[1] for each in queries])).impacts.astype(np.int64)
    run = {}
    for start in range(0, len(queries), 100):
        scores = (asked[start : start + 100] @ impacts.T).toarray()
        for each, row in zip(queries[start : start + 100], scores, strict=True):
            best = np.argsort(-row, kind="stable")[:DEPTH]
            best = best[row[best] > 0]
            run[each[0]] = Hits(list(names[best]), row[best].astype(np.float64))
    return float(evaluate(qrels, run, ["nDCG@10"])["nDCG@10"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["query", "start", "demo", "quality"], nargs="?", default="query")
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--queries", type=int, help="of the demo; by default all")
    add_options(parser, {"rounds": 1, "queries": 40})
    options = parser.parse_args()
    write_record(options, {"query": query, "start": start, "demo": demo, "quality": quality}[options.what](options))


if __name__ == "__main__":
    main()
