"""What our PyTerrier stages cost beside the model and PISA: pipelines against PISA's own on ready dictionaries.

    python benchmarks/bench_pyterrier_overhead.py [--documents 5000] [--queries 1000] [--rounds 5]

Ours is ``doc_encoder() >> index.indexer()`` and ``query_encoder() >> index.retriever()``, with a model whose forward
pass is a look-up of vectors made before; the time of the look-up is taken off, so that what is left is everything
outside the model. The peer is pyterrier_pisa without any encoder: ``toks_indexer(scale=1.)`` and the compression that
its first search does, and ``quantized(toks_scale=1.)``, on dictionaries that are ready in memory. Both take turns;
ratios are medians over rounds. Both must return the same scores, or the script fails.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import Figure, add_options, require_found, require_same, write_record
from scipy.sparse import csr_array

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = 1.10


class LookUp:
    """Stands in for the forward pass: texts are row numbers of weights made before."""

    def __init__(self, weights: csr_array) -> None:
        self._weights = weights
        self.seconds = 0.0

    def __call__(self, texts: Sequence[str], **_: Any) -> csr_array:
        """The rows that the texts name."""
        begin = time.perf_counter()
        found = self._weights[[int(text) for text in texts]]
        self.seconds += time.perf_counter() - begin
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=5000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    add_options(parser, {"documents": 500, "queries": 100, "rounds": 2})
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    import pandas as pd
    import pyterrier as pt

    from pyterrier_splare import Splare, SplareIndex
    from splare_plugins.config import PLURALS
    from splare_plugins.impacts import Quantizer, to_dicts
    from tests.pyterrier_splare.vectors import WIDTH, topical_vectors
    from tests.tiny import tiny_model

    documents, queries = topical_vectors(options.documents, options.queries)
    model = tiny_model(width=WIDTH)
    scales = Quantizer.from_config(model.config)
    looked_up = {
        "documents": LookUp((documents / scales.document_scale).astype(np.float32)),
        "queries": LookUp((queries / scales.query_scale).astype(np.float32)),
    }
    model.encode = lambda texts, side, **options: looked_up[PLURALS[side]](texts, **options)  # type: ignore[method-assign]
    splare = Splare(model)
    corpus = [{"docno": f"d{row}", "text": str(row)} for row in range(options.documents)]
    ready = [{"docno": f"d{row}", "toks": toks} for row, toks in enumerate(to_dicts(documents))]
    topics = pd.DataFrame({"qid": [f"q{row}" for row in range(options.queries)]})
    asked, tokens = topics.assign(query=topics.index.astype(str)), topics.assign(query_toks=to_dicts(queries))

    times: dict[str, tuple[list[float], list[float]]] = {}
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            index = SplareIndex.pisa(Path(folder) / "ours", model=model)
            begin, looked_up["documents"].seconds = time.perf_counter(), 0.0
            (splare.doc_encoder() >> index.indexer()).index(corpus)
            ours = time.perf_counter() - begin - looked_up["documents"].seconds
            begin = time.perf_counter()
            with silence():
                peer = _peer(Path(folder) / "peer", ready)
                peer.quantized(toks_scale=1.0)
            _note(times, f"index {options.documents:,} documents", ours, time.perf_counter() - begin)
            for k in (10, 1000):
                pipeline = splare.query_encoder() >> index.retriever(num_results=k)
                bare = peer.quantized(num_results=k, toks_scale=1.0)
                pipeline(asked[:10]), bare(tokens[:10])
                begin, looked_up["queries"].seconds = time.perf_counter(), 0.0
                found = pipeline(asked)
                ours = time.perf_counter() - begin - looked_up["queries"].seconds
                begin = time.perf_counter()
                expected = bare(tokens)
                _note(times, f"search {options.queries:,} queries, k = {k}", ours, time.perf_counter() - begin)
                require_found("hits", len(expected))
                for column in ("qid", "score"):
                    require_same(f"columns {column}", found[column].tolist(), expected[column].tolist())
                # Where scores are tied, either may cut the list off or order it otherwise.
                pairs = [_above_the_last(frame) for frame in (found, expected)]
                require_same("documents above the last score", *pairs)
            index.close()
        if number == 0 and pt.java.started():
            raise SystemExit("something started Java")
    _show(times, options)


def _peer(path: Path, ready: list[dict[str, Any]]) -> Any:
    from pyterrier_pisa import PisaIndex

    # PISA alters nothing in the dictionaries.
    return PisaIndex(str(path), stemmer="none", stops="none").toks_indexer(scale=1.0).index(ready)


def _above_the_last(frame: Any) -> set[tuple[str, str]]:
    last = frame.groupby("qid")["score"].transform("min")
    kept = frame[frame["score"] > last]
    return set(zip(kept["qid"], kept["docno"], strict=True))


def _note(times: dict[str, tuple[list[float], list[float]]], name: str, ours: float, peer: float) -> None:
    own, other = times.setdefault(name, ([], []))
    own.append(ours)
    other.append(peer)


def _show(times: dict[str, tuple[list[float], list[float]]], options: argparse.Namespace) -> None:
    figures = []
    print(f"{'':<32}{'PISA s':>9}{'ours s':>9}{'ours / PISA':>13}")
    for name, (ours, peer) in times.items():
        ratio = statistics.median(own / other for own, other in zip(ours, peer, strict=True))
        verdict = "reached" if ratio <= ALLOWED else "not reached"
        print(
            f"{name:<32}{statistics.median(peer):>9.2f}{statistics.median(ours):>9.2f}{ratio:>13.2f}"
            f"   at most {ALLOWED:.2f}: {verdict}"
        )
        figures.append(
            Figure(
                what=f"PyTerrier with PISA, {name}, outside the model",
                against="PISA's own on ready dictionaries",
                ratio=[ratio],
                unit=["of its time"],
                aim=ALLOWED,
                at="most",
                command="bench_pyterrier_overhead.py",
            )
        )
    write_record(options, figures)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """PISA writes its progress past Python."""
    saved = os.dup(1), os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            for number, stream in enumerate(saved, start=1):
                os.dup2(stream, number)
                os.close(stream)


if __name__ == "__main__":
    main()
