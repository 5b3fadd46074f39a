"""What a runtime and a precision bring the built-in model for one query, and cost in quality, against torch float32.

``query``: one query, text to impacts, median CPU time on one thread. ``start``: a new process until it has answered
its first query, medians; each process in turn. ``quality DATA``: nDCG@10 of impacts on the ten sets of
docs/figures.md, for each precision in OpenVINO; DATA holds BEIR folders.

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
FIRST_ANSWER = """
from splare_plugins import SplareModel
model = SplareModel.from_pretrained("splare-e5-small", device="cpu", {options})
assert model.quantizer.queries(model.encode_queries(["what do bees eat in winter"])).impacts.nnz == 40
"""


def query(rounds: int) -> None:
    torch.set_num_threads(1)
    models = {name: SplareModel.from_pretrained(device="cpu", **options) for name, options in WAYS.items()}
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(rounds + 8):
        for name, model in models.items():
            begin = time.process_time()
            model.quantizer.queries(model.encode_queries([QUERIES[number % len(QUERIES)]]))
            if number >= 8:
                taken[name].append(time.process_time() - begin)
    first = statistics.median(taken["torch float32"])
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        print(f"{name:20} {1000 * median:6.1f} ms  {first / median:.2f} x")


def start(rounds: int) -> None:
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds + 1):
        for name, options in WAYS.items():
            code = FIRST_ANSWER.format(options=", ".join(f"{key}={value!r}" for key, value in options.items()))
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)
            taken[name].append(time.perf_counter() - begin)
    first = statistics.median(taken["torch float32"][1:])
    for name, seconds in taken.items():
        median = statistics.median(seconds[1:])
        print(f"{name:20} {median:6.2f} s  {first / median:.2f} x")


def quality(data: Path) -> None:
    results: dict[str, list[float]] = {}
    # That of OpenVINO in float32 is torch's, in a third of the time.
    for name in list(WAYS)[1:]:
        model = SplareModel.from_pretrained(device="cpu", **WAYS[name])
        encoded: dict[str, Any] = {}
        results[name] = [ndcg(model, data / asking, data / corpus, encoded) for asking, corpus in SETS]
        lost = np.array(results["OpenVINO float32"]) - np.array(results[name])
        row = " ".join(f"{value:.4f}" for value in results[name])
        print(f"{name:20} {row}  mean {np.mean(results[name]):.4f}, lost {lost.mean():+.4f}", flush=True)


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
    parser.add_argument("what", choices=["query", "start", "quality"])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args()
    if options.what == "quality":
        if options.data is None:
            parser.error("quality needs a folder of collections")
        quality(options.data)
    else:
        {"query": query, "start": start}[options.what](options.rounds or {"query": 200, "start": 5}[options.what])


if __name__ == "__main__":
    main()
