"""Encoding SciFact documents on a CPU: SplareModel against sentence-transformers' SparseEncoder with the same weights.

The peer is built from stock modules only: the transformer, a Dense layer with the SAE's encoder, max pooling of
log1p(relu). Both sides pool special tokens and prompt, so that their vectors are the same; that is checked. They
run in turn in one process. Run ``python benchmarks/bench_encoding.py``.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

import torch
from scipy.sparse import csr_array

from splare_plugins.corpus import read_documents
from splare_plugins.model.splare import SplareModel

DATA = Path(__file__).parents[1] / "examples" / "data" / "scifact"


def stock_encoder(model: SplareModel, max_length: int):  # type: ignore[no-untyped-def]
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    with tempfile.TemporaryDirectory() as folder:
        model.backbone.save(Path(folder))
        transformer = Transformer(folder, max_seq_length=max_length)
    dense = Dense(
        model.head.state_size,
        model.config.width,
        activation_function=torch.nn.Identity(),
        module_input_name="token_embeddings",
        module_output_name="token_embeddings",
    )
    dense.linear.weight.data, dense.linear.bias.data = model.head.W.data, model.head.b.data
    return SparseEncoder(modules=[transformer, dense, SpladePooling("max")], device="cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32, help="of the peer; 32 is its default")
    options = parser.parse_args()
    loaded = SplareModel.from_pretrained(device="cpu")
    # The stock modules cannot leave tokens out of the pool; for equal vectors neither do we here.
    model = SplareModel(dataclasses.replace(loaded.config, pool_all_tokens=True), loaded.backbone, loaded.head)
    side = model.config.document
    texts = [document.content for document in islice(read_documents(DATA), options.documents)]
    peer = stock_encoder(model, side.max_length)

    def ours() -> csr_array:
        return model.encode_documents(texts)

    def theirs() -> csr_array:
        encoded = peer.encode(
            [side.prompt + text for text in texts],
            batch_size=options.batch_size,
            max_active_dims=side.top_k,
            show_progress_bar=False,
        )
        coo = encoded.coalesce().cpu()
        return csr_array((coo.values().numpy(), coo.indices().numpy()), shape=coo.shape)

    mine, others = ours(), theirs()
    difference = float(abs(mine - others).max())
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(options.rounds):
        for name, encode in (("ours", ours), ("theirs", theirs)):
            begin = time.perf_counter()
            encode()
            times[name].append(time.perf_counter() - begin)
    rates = {name: len(texts) / statistics.median(taken) for name, taken in times.items()}
    pairs = [second / first for first, second in zip(times["ours"], times["theirs"], strict=True)]
    print(f"splare-plugins        {rates['ours']:7.2f} documents a second")
    print(f"sentence-transformers {rates['theirs']:7.2f} documents a second, batch size {options.batch_size}")
    print(f"ratio {statistics.median(pairs):.2f} (pairs {', '.join(f'{pair:.2f}' for pair in pairs)})")
    print(f"largest difference of a weight {difference:.1e}; {mine.nnz} and {others.nnz} weights")


if __name__ == "__main__":
    main()
