"""The exact engine on a GPU against the engines of the processor: queries a second at 100,000 and 1,000,000 documents.

    python benchmarks/bench_device_search.py [--sizes 100000 1000000] [--engines memory lucene] [--device cuda]

All engines hold the same documents (400 impacts over 131,072 latents) and answer the same queries (40 latents); ids
and scores must be identical, or the script fails. The engines of the processor are asked fewer queries (``--asked``).
Lucene takes a minute to index 100,000 documents. ``--small`` tries the script on a processor.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_lucene_indexing import WIDTH, make_impacts
from harness import Figure, add_options, disagree, environment, require_found, skip, write_record
from scipy.sparse import csr_array

from splare_plugins.engines import Hits, get_engine

BATCH = 20_000


def build(engine: str, place: Path, documents: int) -> float:
    """Index the documents; seconds, those in which they are drawn left out."""
    spent = 0.0
    with get_engine(engine).writer(str(place), None) as writer:
        for start in range(0, documents, BATCH):
            impacts = draw(min(BATCH, documents - start), seed=start + 1)
            begin = time.perf_counter()
            writer.add([f"d{start + row}" for row in range(impacts.shape[0])], impacts)
            spent += time.perf_counter() - begin
        begin = time.perf_counter()
    return spent + time.perf_counter() - begin


def draw(rows: int, seed: int) -> csr_array:
    """As :func:`make_impacts` with 400 latents, but from few different documents, which takes a hundredth as long."""
    drawn = make_impacts(min(rows, 400), 400, seed=seed)
    rng = np.random.default_rng(seed)
    taken = drawn[np.arange(rows) % drawn.shape[0]]
    taken.data = rng.integers(1, 256, taken.nnz, dtype=np.int32)
    return csr_array(taken)


def timed(searcher: Any, queries: csr_array, k: int, runs: int) -> tuple[list[Hits], float]:
    """The hits, and the fewest seconds of a run."""
    seconds, hits = [], searcher.search(queries, k)
    for _ in range(runs):
        begin = time.perf_counter()
        hits = searcher.search(queries, k)
        seconds.append(time.perf_counter() - begin)
    return hits, min(seconds)


def compare(device: list[Hits], others: list[Hits], engine: str, k: int) -> None:
    """Stop unless scores agree, and ids wherever a score does not tie: Lucene has an order of its own there."""
    require_found("hits", sum(len(hits.docids) for hits in others))
    for mine, theirs in zip(device, others, strict=False):
        if mine.scores.tolist() != theirs.scores.tolist():
            disagree(f"scores differ between the two sides, the device and {engine}")
        ours, peers = (dict(zip(hits.docids, hits.scores.tolist(), strict=True)) for hits in (mine, theirs))
        # The last score may be shared with documents that are not among the k.
        last = mine.scores[-1] if len(mine.docids) == k else 0
        if {key: value for key, value in ours.items() if value > last} != {
            key: value for key, value in peers.items() if value > last
        }:
            disagree(f"documents differ between the two sides, the device and {engine}")
        if engine == "memory" and mine.docids != theirs.docids:
            disagree("the orders of tied documents differ between the two sides, the device and the processor")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--engines", nargs="+", default=["memory", "lucene"], choices=["memory", "lucene"])
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to run the same code with torch there")
    parser.add_argument("--queries", type=int, default=4096)
    parser.add_argument("--asked", type=int, default=256, help="queries of the processor's engines")
    parser.add_argument("-k", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    small = {"sizes": [3000], "queries": 64, "asked": 32, "runs": 1, "engines": ["memory"], "device": "cpu"}
    add_options(parser, small)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        skip("there is no cuda device; --small tries the script without one")
    device = torch.device(options.device)
    queries = make_impacts(options.queries, 40, seed=2)
    asked = queries[: options.asked]
    figures, rows = [], []
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            built = {name: build(name, Path(folder) / name, size) for name in {"memory", *options.engines}}
            begin = time.perf_counter()
            with get_engine("memory").searcher(str(Path(folder) / "memory"), device=device) as searcher:
                opened = time.perf_counter() - begin
                mine, seconds = timed(searcher, queries, options.k, options.runs)
                alone = timed(searcher, queries[:1], options.k, options.runs)[1]
            rate = options.queries / seconds
            print(
                f"{size:,} documents, {device}: {rate:,.0f} queries/s, one alone {1e3 * alone:.1f} ms; "
                f"opened in {opened:.1f} s"
            )
            rows.append({"documents": size, "engine": str(device), "rate": rate, "alone": alone})
            for name in options.engines:
                with get_engine(name).searcher(str(Path(folder) / name)) as searcher:
                    theirs, seconds = timed(searcher, asked, options.k, 1)
                compare(mine, theirs, name, options.k)
                peer = asked.shape[0] / seconds
                print(
                    f"{size:,} documents, {name}: {peer:,.1f} queries/s, built in {built[name]:.1f} s; "
                    f"the device is {rate / peer:.1f} x as fast, with identical results"
                )
                rows.append({"documents": size, "engine": name, "rate": peer})
                figures.append(
                    Figure(
                        what=f"exact search on {environment()['gpu'] or device}, {size:,} documents x 400, queries/s",
                        against=f"the engine {name} on the processor",
                        ratio=[rate / peer],
                        unit=["x"],
                        command="bench_device_search.py",
                    )
                )
    write_record(options, figures, width=WIDTH, rows=rows)


if __name__ == "__main__":
    main()
