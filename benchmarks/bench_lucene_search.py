"""Searching impacts in Lucene: our searcher against Pyserini's ``LuceneImpactSearcher``.

    python benchmarks/bench_lucene_search.py [--documents 20000] [--queries 1000] [-k 100] [--rounds 3]

Both search the same index with the same encoded queries, in one process, in turns; the stock searcher with
``min_idf=-1``, so that it drops nothing. Scores must agree, or the script fails: integers, once the small amounts
are rounded away by which the stock searcher parts ties.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench_lucene_indexing import make_impacts
from harness import Figure, add_options, disagree, paired, require_found, write_record


class Encoded:
    """Queries that were encoded beforehand, as the stock searcher wants them."""

    def __init__(self, queries: list[dict[str, int]]) -> None:
        self._queries = queries

    def encode(self, query: str, **_: Any) -> dict[str, int]:
        """The vector of the query with this number."""
        return self._queries[int(query)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=40, help="of a query")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("-k", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    add_options(parser, {"documents": 500, "queries": 50, "rounds": 1})
    options = parser.parse_args()

    from pyserini_splare import LuceneSearcher, LuceneWriter, start_jvm
    from splare_plugins.impacts import to_dicts

    start_jvm()
    from pyserini.search.lucene import LuceneImpactSearcher

    queries = make_impacts(options.queries, options.features, seed=2)
    dicts = to_dicts(queries)
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "index"
        documents = make_impacts(options.documents, 400, seed=1)
        with LuceneWriter(index) as writer:
            writer.add([f"d{row}" for row in range(options.documents)], documents)
        stock = LuceneImpactSearcher(str(index), Encoded(dicts), min_idf=-1)
        with LuceneSearcher(index) as searcher:
            contenders: dict[str, Callable[[], list[list[float]]]] = {
                "stock": lambda: [
                    [(hit.docid, hit.score) for hit in stock.search(str(number), options.k)]
                    for number in range(options.queries)
                ],
                "ours": lambda: [
                    list(zip(hits.docids, hits.scores.tolist(), strict=True))
                    for hits in searcher.search(queries, options.k)
                ],
            }
            times = _measure(contenders, options.rounds)
        stock.close()
    print(
        f"{options.queries:,} queries x {options.features} features, {options.documents:,} documents, "
        f"k = {options.k}, {options.rounds} rounds after one to warm up; medians; x = stock / ours"
    )
    print(f"{'':<28}{'CPU ms/query':>14}{'x':>7}{'wall ms/query':>15}{'x':>7}")
    for name, label in (("stock", "LuceneImpactSearcher"), ("ours", "LuceneSearcher")):
        line = f"{label:<28}"
        for which, width in ((0, 14), (1, 15)):
            own = [round_[which] / options.queries * 1e3 for round_ in times[name]]
            ratio = paired([peer[which] for peer in times["stock"]], [mine[which] for mine in times[name]])
            line += f"{statistics.median(own):>{width}.2f}{ratio:>7.1f}"
        print(line)
    figure = Figure(
        what=f"search, {options.features} features, k = {options.k}, identical results, CPU time",
        against="stock `LuceneImpactSearcher`",
        ratio=[paired([peer[0] for peer in times["stock"]], [mine[0] for mine in times["ours"]])],
        unit=["x less"],
        aim=2,
        command="bench_lucene_search.py",
    )
    write_record(options, [figure])


def _measure(contenders: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """CPU and wall seconds of each contender in each round, the first round not counted."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        answers = {}
        for name, search in contenders.items():
            cpu, wall = time.process_time(), time.perf_counter()
            answers[name] = search()
            spent = time.process_time() - cpu, time.perf_counter() - wall
            if number:
                times[name].append(spent)
        _same(answers["stock"], answers["ours"])
    return times


def _same(stock: list[list[tuple[str, float]]], ours: list[list[tuple[str, float]]]) -> None:
    require_found("hits", sum(map(len, stock)))
    for theirs, mine in zip(stock, ours, strict=True):
        if [docid for docid, _ in theirs] != [docid for docid, _ in mine]:
            disagree("the searchers return different documents")
        if not np.array_equal(np.round([score for _, score in theirs]), [score for _, score in mine]):
            disagree("the searchers return different scores")


if __name__ == "__main__":
    main()
