"""A graph gives the vectors of torch, whatever the head, the pool, the family and the lengths in a batch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from splare_plugins.backbone.tokens import Tokens
from splare_plugins.errors import InputError
from splare_plugins.heads import Head, LanguageModelHead, MaskedLanguageModelHead, SparseAutoencoder
from splare_plugins.model.make_graph import make_graph
from splare_plugins.model.parts import Parts
from splare_plugins.model.splare import SplareModel
from splare_plugins.pooling.norms import drop_outliers, drop_padded_outliers
from splare_plugins.runtime.graph import Graph
from tests.backbone.families import FAMILIES, LAYER, load, save_family
from tests.tiny import TEXTS, tiny_model

WIDTH = 512
FORMATS = ("openvino", "onnx")


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


HEADS: dict[str, Head] = {
    "relu": SparseAutoencoder(_random(WIDTH, 32) * 0.3, _random(WIDTH) * 0.1 - 0.5),
    "jumprelu": SparseAutoencoder(_random(WIDTH, 32) * 0.3, _random(WIDTH) * 0.1, torch.rand(WIDTH)),
    "topk": SparseAutoencoder(_random(WIDTH, 32) * 0.3, _random(WIDTH) * 0.1, k=8),
    "topk of all": SparseAutoencoder(_random(WIDTH, 32) * 0.3, _random(WIDTH) * 0.1, k=2 * WIDTH),
    "lm": LanguageModelHead(_random(WIDTH, 32), _random(WIDTH), scale=0.5, softcap=2.0),
    "mlm": MaskedLanguageModelHead(
        _random(WIDTH, 16) * 0.3, _random(WIDTH) * 0.1, dense=_random(16, 32), norm=torch.rand(16)
    ),
}
POOLS = {
    "plain": {},
    "norm": {"norm_power": 0.5},
    "outliers": {"max_token_norm_ratio": 1.02},
    "all tokens": {"pool_all_tokens": True},
}


def model_of(head: Head, **options: object) -> SplareModel:
    plain = tiny_model()
    config = dataclasses.replace(plain.config, head_kind=head.kind, **options)
    return SplareModel(config, plain.backbone, head)


def parts_of(model: SplareModel) -> Parts:
    return Parts(model.config, model.backbone, model.head, None)


def in_torch(model: SplareModel, batch: list[Tokens]) -> np.ndarray:
    with torch.inference_mode():
        return model._weights(batch, "document").numpy()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("head", "pool"), [*((head, "norm") for head in HEADS), *(("relu", pool) for pool in POOLS if pool != "norm")]
)
def test_every_head_and_pool(tmp_path: Path, head: str, pool: str, format: str) -> None:
    model = model_of(HEADS[head], **POOLS[pool])
    make_graph(tmp_path, parts_of(model), None, format)  # type: ignore[arg-type]
    graph = Graph(tmp_path, bfloat16=False, threads=1)
    texts = [*TEXTS, "", " ", "bees " * 300]
    batch = graph.tokenize(texts, "d: ", 128)
    reference = model.backbone.tokenize(texts, "d: ", 128)
    for one, other in zip(batch, reference, strict=True):
        assert all(np.array_equal(left, right) for left, right in zip(one, other, strict=True))
    expected = in_torch(model, reference)
    assert (expected[:5] > 0).any(1).all()
    np.testing.assert_allclose(graph.weights(model.config, batch), expected, rtol=1e-4, atol=1e-5)
    # Alone, without padding.
    alone = np.vstack([graph.weights(model.config, [tokens]) for tokens in batch])
    np.testing.assert_allclose(alone, expected, rtol=1e-4, atol=1e-5)
    with torch.inference_mode():
        states, _ = model.backbone([reference[0]])
    np.testing.assert_allclose(graph.states(model.config, batch[0]), states.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_of_backbones(tmp_path: Path, family: str, format: str) -> None:
    backbone = load(save_family(family, tmp_path), layer=LAYER)
    plain = tiny_model()
    model = SplareModel(dataclasses.replace(plain.config, layer=LAYER), backbone, HEADS["relu"])
    (made := tmp_path / "graph").mkdir()
    make_graph(made, parts_of(model), None, format)  # type: ignore[arg-type]
    graph = Graph(made, bfloat16=False, threads=1)
    batch = graph.tokenize([text * 2 for text in TEXTS], "d: ", 100)
    np.testing.assert_allclose(graph.weights(model.config, batch), in_torch(model, batch), rtol=1e-3, atol=1e-4)


def test_a_tokenizer_that_cuts_at_the_left(tmp_path: Path) -> None:
    model = tiny_model()
    model.backbone.tokenizer.truncation_side = "left"
    make_graph(tmp_path, parts_of(model), None, "openvino")
    (cut,) = Graph(tmp_path, bfloat16=False, threads=1).tokenize(["abcdefghij"], "", 5)
    (reference,) = model.backbone.tokenize(["abcdefghij"], "", 5)
    assert cut.truncated
    assert np.array_equal(cut.ids, reference.ids)
    (right,) = tiny_model().backbone.tokenize(["abcdefghij"], "", 5)
    assert not np.array_equal(cut.ids, right.ids)


def test_a_graph_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    class Biased(SparseAutoencoder):
        """Its formula for graphs forgets the thresholds."""

        def token_values(self, states: torch.Tensor) -> torch.Tensor:
            return super().token_values(states) + 1

    head = HEADS["relu"]
    assert isinstance(head, SparseAutoencoder)
    with pytest.raises(InputError, match="gives other vectors than torch"):
        make_graph(tmp_path, parts_of(model_of(Biased(head.W, head.b))), None, "openvino")


@pytest.mark.parametrize("damage", ["", "x"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    make_graph(tmp_path, parts_of(tiny_model()), None, "openvino")
    if damage:
        with (tmp_path / "graph.bin").open("ab") as file:
            file.write(damage.encode())
    else:
        (tmp_path / "graph.bin").unlink()
    with pytest.raises(InputError, match=r"graph.bin is missing or damaged; remove"):
        Graph(tmp_path, bfloat16=False, threads=1)


@pytest.mark.parametrize("ratio", [None, 1.0, 1.3])
def test_outliers_of_padded_texts_are_those_of_packed_ones(ratio: float | None) -> None:
    generator = torch.Generator().manual_seed(3)
    states = torch.randn(4, 7, 3, generator=generator)
    states[1, 2, 0] = torch.nan
    keep = torch.rand(4, 7, generator=generator) > 0.3
    keep[3] = False
    offsets = torch.arange(0, 29, 7)
    packed = drop_outliers(states.flatten(0, 1), offsets, keep.flatten(), ratio)
    kept = drop_padded_outliers(states, keep, ratio)
    finite = states.isfinite().all(2)
    assert torch.equal(kept[finite], packed.view(4, 7)[finite])
    assert torch.equal(kept[[0, 2, 3]], packed.view(4, 7)[[0, 2, 3]])
    assert ratio is None or 0 < kept.sum() < keep.sum()
