"""What a table of tokens costs for one query, beside the model whose queries it encodes and a vocabulary model.

``query``: one query, text to impacts, median CPU time on one thread. ``search``: a new process that opens a Lucene
index and answers one query, its memory and how long it takes, by the table and by the full encoder in torch.
``import``: what `StaticQueryEncoder` imports. ``plot``: the times of ``query`` against what was found, which
``--quality`` has by collections and systems. Every table is the built-in model's, or that of ``--table FOLDER``.

Run ``python benchmarks/bench_static_queries.py query``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import Figure, add_options, require_found, write_record

from splare_plugins.model.queries import load_static_queries
from splare_plugins.model.splare import SplareModel

QUERIES = (
    "Welche Auswirkungen hat die Erwärmung der Meere auf Korallenriffe?",
    "what do bees eat in winter and how do they survive",
    "¿cuál es la capital de Mongolia y cuántos habitantes tiene?",
    "how many languages are spoken in the north of India today",
)
DATA = Path(__file__).parents[1] / "examples" / "data" / "xquad" / "en"
TURN = 16
TABLE, FULL = "table", "torch float32"
IMPORTS = {
    "numpy alone": "import numpy",
    TABLE: "from splare_plugins.static import StaticQueryEncoder",
    FULL: "import torch, transformers; from splare_plugins.model.splare import SplareModel",
}
SEARCH = """
import sys, time
sys.path.insert(0, {here!r})
from memory import memory_mb
begin = time.perf_counter()
from splare_plugins.model.queries import load_static_queries
table = load_static_queries("splare-e5-small", {table!r})
if table is None:
    from splare_plugins.model import SplareModel
    table = SplareModel.from_pretrained(device="cpu", runtime="torch")
from pyserini_splare.searcher import LuceneSearcher
with LuceneSearcher({index!r}) as searcher:
    hits = searcher.search(table.quantizer.queries(table.encode_queries(["who won the match"])).impacts, 10)
assert len(hits[0].docids) == 10
print(time.perf_counter() - begin, memory_mb())
"""


def measured(options: argparse.Namespace) -> dict[str, list[float]]:
    """CPU seconds of queries, text to impacts, by system."""
    import torch

    torch.set_num_threads(1)
    models: dict[str, Any] = {
        FULL: SplareModel.from_pretrained(device="cpu", runtime="torch"),
        "OpenVINO bfloat16": SplareModel.from_pretrained(device="cpu", runtime="openvino", dtype="bfloat16"),
        TABLE: load_static_queries("splare-e5-small", options.table),
    }
    if (found := importlib.util.find_spec("cognition")) is not None and found.submodule_search_locations:
        models["tiny SPLADE"] = SplareModel.from_pretrained(
            Path(found.submodule_search_locations[0]) / "model", device="cpu", runtime="torch"
        )
        models["tiny SPLADE"].calibrate(QUERIES, QUERIES)
    taken: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(options.rounds or 12):
        for name, model in models.items():
            for number in range(TURN):
                begin = time.process_time()
                impacts = model.quantizer.queries(model.encode_queries([QUERIES[number % len(QUERIES)]])).impacts
                taken[name].append(time.process_time() - begin)
                require_found(f"latents by {name}", impacts.nnz)
    return taken


def milliseconds(taken: dict[str, list[float]]) -> dict[str, float]:
    """Their medians."""
    return {name: 1000 * statistics.median(seconds) for name, seconds in taken.items()}


def plot(options: argparse.Namespace) -> list[Figure]:
    from static_plot import draw

    taken = measured(options)
    taken["BM25"] = words(options.rounds or 12)
    medians = milliseconds(taken)
    medians["table + BM25"] = medians[TABLE] + medians["BM25"]
    for name, median in medians.items():
        print(f"{name:20} {median:8.3f} ms")
    draw(medians, json.loads(options.quality.read_text(encoding="utf-8")), options.picture)
    return []


def words(rounds: int) -> list[float]:
    """CPU seconds of Lucene's English analyzer, text to terms."""
    from pyserini_splare.jvm import start_jvm

    start_jvm()
    from pyserini.analysis import Analyzer, get_lucene_analyzer

    analyzer = Analyzer(get_lucene_analyzer())
    taken = []
    for number in range(rounds * TURN):
        begin = time.process_time()
        terms = analyzer.analyze(QUERIES[number % len(QUERIES)])
        taken.append(time.process_time() - begin)
        require_found("terms of BM25", len(terms))
    return taken


def query(options: argparse.Namespace) -> list[Figure]:
    taken = measured(options)
    medians = milliseconds(taken)
    for name, median in medians.items():
        print(f"{name:20} {median:8.3f} ms  {medians[FULL] / median:8.1f} x")
    print(f"{TABLE}: 99th percentile {1000 * statistics.quantiles(taken[TABLE], n=100)[98]:.3f} ms")
    return [
        Figure(
            what="one query by a table of tokens, text to impacts, one thread, median CPU time",
            against="the full encoder in torch in float32",
            ratio=[medians[FULL] / medians[TABLE]],
            unit=["x less"],
            aim=30,
            command="bench_static_queries.py query",
        )
    ]


def search(options: argparse.Namespace) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        index = str(Path(folder) / "index")
        made = [sys.executable, "-m", "splare_plugins", "index", "lucene", str(DATA), "-o", index]
        subprocess.run(made, check=True, capture_output=True)
        found: dict[str, list[list[float]]] = {TABLE: [], FULL: []}
        for _ in range(options.rounds or 3):
            for name, table in ((TABLE, options.table), (FULL, "full")):
                code = SEARCH.format(table=table, index=index, here=str(Path(__file__).parent))
                done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
                found[name].append([float(value) for value in done.stdout.split()])
    medians = {name: [statistics.median(each) for each in zip(*rows, strict=True)] for name, rows in found.items()}
    for name, (seconds, memory) in medians.items():
        print(f"{name:20} {seconds:6.2f} s  {memory:7.0f} MB")
    return [
        Figure(
            what="a new process that answers one query from a Lucene index, by a table: time; memory",
            against="by the full encoder in torch in float32",
            ratio=[full / table for full, table in zip(medians[FULL], medians[TABLE], strict=True)],
            unit=["x less", "x less"],
            command="bench_static_queries.py search",
        ),
        Figure(
            what="memory of that process by a table, with its JVM",
            against="400 MB",
            ratio=[medians[TABLE][1]],
            unit=["MB"],
            aim=400,
            at="most",
            command="bench_static_queries.py search",
        ),
    ]


def imports(options: argparse.Namespace) -> list[Figure]:
    medians = {name: statistics.median(_seconds(code, options.rounds or 7)) for name, code in IMPORTS.items()}
    for name, seconds in medians.items():
        print(f"{name:20} {seconds:6.3f} s")
    return [
        Figure(
            what="importing what a table needs",
            against="what the full encoder needs",
            ratio=[medians[FULL] / medians[TABLE]],
            unit=["x less"],
            command="bench_static_queries.py import",
        ),
        Figure(
            what="importing what a table needs, the interpreter's start included",
            against="0.3 s",
            ratio=[medians[TABLE]],
            unit=["s"],
            aim=0.3,
            at="most",
            command="bench_static_queries.py import",
        ),
    ]


def _seconds(code: str, rounds: int) -> list[float]:
    taken = []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        taken.append(time.perf_counter() - begin)
    return taken[1:]


def main() -> None:
    ways: dict[str, Callable[[argparse.Namespace], list[Figure]]] = {
        "query": query,
        "search": search,
        "import": imports,
        "plot": plot,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=list(ways), nargs="?", default="query")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quality", type=Path, help="of plot: JSON with nDCG@10 by collections and systems")
    parser.add_argument("--picture", type=Path, default=Path("static.png"), help="of plot: PNG to write")
    parser.add_argument("--table", default="static", help="folder of a table, by default the built-in model's")
    add_options(parser, {"rounds": 1})
    options = parser.parse_args()
    if options.what == "plot" and options.quality is None:
        parser.error("plot wants --quality FILE")
    write_record(options, ways[options.what](options))


if __name__ == "__main__":
    main()
