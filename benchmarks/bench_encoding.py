"""Encoding SciFact documents on one thread of a processor: each runtime of ours against sentence-transformers.

The peer is built from stock modules: transformer, a Dense layer with the SAE's encoder, max pooling of log1p(relu);
and the norm by which the model divides. Both sides pool special tokens and prompt, so that vectors are the same.
The second peer is the first with its transformer in int8 in OpenVINO and all else in torch, as its OpenVINO backend
runs it (whose own exporter needs another version of transformers than we do). All run in turn in one process; CPU
seconds, since the processor may be shared. Fails where two sides in float32 disagree.

Run ``python benchmarks/bench_encoding.py``.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Figure, add_options, disagree, paired, write_record
from scipy.sparse import csr_array
from torch import nn

from splare_plugins.corpus import read_documents
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.model.make_graph import make_graph
from splare_plugins.model.parts import Parts
from splare_plugins.model.splare import SplareModel
from splare_plugins.pooling.norms import scale_by_norm
from splare_plugins.retrieval.estimate import flops_per_token
from splare_plugins.runtime.graph import Graph

DATA = Path(__file__).parents[1] / "examples" / "data" / "scifact"
TOLERANCE = 1e-3


class Norm(nn.Module):
    """Divides as the model does."""

    def __init__(self, power: float) -> None:
        super().__init__()
        self.power = power

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        features["sentence_embedding"] = scale_by_norm(features["sentence_embedding"], self.power)
        return features


class GraphTransformer(nn.Module):
    """A transformer that OpenVINO runs, where a stock one stood."""

    def __init__(self, stock: nn.Module, graph: Graph) -> None:
        super().__init__()
        self.stock, self.graph = stock, graph

    def preprocess(self, *args: Any, **options: Any) -> Any:
        return self.stock.preprocess(*args, **options)

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        mask = features["attention_mask"].numpy()
        states = self.graph._session.run(features["input_ids"].numpy(), mask, mask > 0, "states")
        return {**features, "token_embeddings": torch.from_numpy(states)}

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("stock"), name)


def stock_encoder(model: SplareModel, graph: Graph | None = None):  # type: ignore[no-untyped-def]
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    with tempfile.TemporaryDirectory() as folder:
        model.backbone.save(Path(folder))
        transformer: nn.Module = Transformer(folder, max_seq_length=model.config.document.max_length)
    dense = Dense(
        model.head.state_size,
        model.config.width,
        activation_function=torch.nn.Identity(),
        module_input_name="token_embeddings",
        module_output_name="token_embeddings",
    )
    dense.linear.weight.data, dense.linear.bias.data = model.head.W.data, model.head.b.data
    if graph is not None:
        transformer = GraphTransformer(transformer, graph)
    modules = [transformer, dense, SpladePooling("max"), Norm(model.config.norm_power)]
    return SparseEncoder(modules=modules, device="cpu")


def graph_of(model: SplareModel, head: SparseAutoencoder, *, bfloat16: bool = False, int8: bool = False) -> Graph:
    config = dataclasses.replace(model.config, width=head.width)
    with tempfile.TemporaryDirectory() as folder:
        parts = Parts(config, model.backbone, head, None)
        make_graph(Path(folder), parts, "int8" if int8 else None, "openvino")
        return Graph(Path(folder), bfloat16=bfloat16, threads=torch.get_num_threads(), verify=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32, help="of the peer; 32 is its default")
    parser.add_argument("--threads", type=int, default=1)
    add_options(parser, {"documents": 16, "rounds": 1})
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    loaded = SplareModel.load("splare-e5-small", device="cpu")
    # The stock modules cannot leave tokens out of the pool; for equal vectors neither do we here.
    config = dataclasses.replace(loaded.config, pool_all_tokens=True)
    model = SplareModel(config, loaded.backbone, loaded.head)
    side = config.document
    texts = [document.content for document in islice(read_documents(DATA), options.documents)]
    head = model.head
    assert isinstance(head, SparseAutoencoder)
    # Its graph ends at the states; a few latents stand for the head.
    few = SparseAutoencoder(head.W[:8], head.b[:8], head.theta[:8])

    def ours(graph: Graph | None) -> Callable[[], csr_array]:
        running = SplareModel(config, loaded.backbone, loaded.head)
        running._graph = graph
        return lambda: running.encode_documents(texts)

    def theirs(graph: Graph | None) -> Callable[[], csr_array]:
        peer = stock_encoder(model, graph)

        def encode() -> csr_array:
            encoded = peer.encode(
                [side.prompt + text for text in texts],
                batch_size=options.batch_size,
                max_active_dims=side.top_k,
                show_progress_bar=False,
            )
            coo = encoded.coalesce().cpu()
            return csr_array((coo.values().numpy(), coo.indices().numpy()), shape=coo.shape)

        return encode

    contenders = {
        "sentence-transformers, torch float32": theirs(None),
        "sentence-transformers, OpenVINO int8": theirs(graph_of(model, few, int8=True, bfloat16=True)),
        "ours, torch float32": ours(None),
        "ours, OpenVINO float32": ours(graph_of(model, head)),
        "ours, OpenVINO bfloat16": ours(graph_of(model, head, bfloat16=True)),
        "ours, OpenVINO int8": ours(graph_of(model, head, int8=True, bfloat16=True)),
    }
    vectors: dict[str, csr_array] = {}
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name, encode in contenders.items():
            begin = time.process_time()
            vectors[name] = encode()
            taken[name].append(time.process_time() - begin)
    first, second = list(contenders)[:2]
    print(f"{len(texts)} documents, threads: {options.threads}; at the end, vectors beside those of the first")
    for name, seconds in taken.items():
        ratios = [paired(taken[peer], seconds) for peer in (first, second)]
        difference, cosine = compare(vectors[name], vectors[first])
        print(
            f"{name:38} {statistics.median(seconds):7.1f} s  {ratios[0]:5.2f} x  {ratios[1]:5.2f} x the int8 peer"
            f"  {difference:.1e}  {cosine:.4f}"
        )
        if "float32" in name and difference > TOLERANCE:
            disagree(f"{name} gives other vectors than {first}")
    quicker = {name.rpartition(" ")[2]: taken[name] for name in list(contenders)[3:]}
    tokens = sum(len(each.ids) for each in model._tokenize(texts, "document"))
    linear = sum(each.weight.numel() for each in model.backbone.modules() if isinstance(each, nn.Linear))
    flops = tokens * flops_per_token(config, linear, head.state_size)
    # What `splare estimate` goes by.
    rows = [
        {"way": way, "documents": len(texts), "tokens": tokens, "flops": flops, "seconds": statistics.median(seconds)}
        for way, seconds in {"torch": taken["ours, torch float32"], **quicker}.items()
    ]
    figure = {"what": f"encode {len(texts)} SciFact documents on a CPU", "command": "bench_encoding.py"}
    write_record(
        options,
        [
            Figure(
                **{**figure, "what": figure["what"] + ": same vectors; bfloat16; int8"},
                against="sentence-transformers `SparseEncoder`",
                ratio=[paired(taken[first], seconds) for seconds in quicker.values()],
                unit=["x faster"] * 3,
                aim=[2, 3.3, 4.5],
            ),
            Figure(
                **{**figure, "what": figure["what"] + ", int8"},
                against="the same with its transformer in OpenVINO in int8",
                ratio=[paired(taken[second], quicker["int8"])],
                unit=["x faster"],
                aim=1.6,
            ),
            Figure(
                **{**figure, "what": figure["what"] + ", torch, same vectors"},
                against="sentence-transformers `SparseEncoder`",
                ratio=[paired(taken[first], taken["ours, torch float32"])],
                unit=["x faster"],
            ),
        ],
        rows=rows,
    )


def compare(one: csr_array, other: csr_array) -> tuple[float, float]:
    """Largest difference of a weight that both kept, and mean cosine."""
    both = one.astype(bool).multiply(other.astype(bool))
    difference = float(abs((one - other).multiply(both)).max())
    lengths = np.sqrt(one.multiply(one).sum(1) * other.multiply(other).sum(1))
    return difference, float((one.multiply(other).sum(1) / lengths).mean())


if __name__ == "__main__":
    main()
