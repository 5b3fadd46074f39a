"""Models of stock modules: loaded by sentence-transformers alone with our vectors, refused where they would differ."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

from splare_plugins.config import SideConfig, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.model.splare import SplareModel
from splare_plugins.st import export_stock
from tests.machine.failing import contents, fail_to_publish
from tests.model.test_splade import save_random
from tests.tiny import TEXTS, byte_tokenizer, tiny_model

LONG = [*TEXTS, "long " * 100]


def without_prompts(model: SplareModel, **changes: object) -> SplareModel:
    sides = {
        side: dataclasses.replace(getattr(model.config, side), prompt="", max_length=length)
        for side, length in (("query", 40), ("document", 120))
    }
    return SplareModel(dataclasses.replace(model.config, **{**sides, **changes}), model.backbone, model.head)


def require_same(model: SplareModel, folder: Path, texts: list[str] = LONG) -> None:
    from sentence_transformers import SparseEncoder

    kinds = [module["type"] for module in json.loads((folder / "modules.json").read_text())]
    assert all(kind.startswith("sentence_transformers.") for kind in kinds)  # so no trust_remote_code
    encoder = SparseEncoder(str(folder), device="cpu")
    for top_k in (None, 30):
        for ours, theirs in (
            (model.encode_queries, encoder.encode_query),
            (model.encode_documents, encoder.encode_document),
        ):
            found = theirs(texts, max_active_dims=top_k or model.config.width, convert_to_sparse_tensor=False).numpy()
            np.testing.assert_allclose(found, ours(texts, top_k=top_k).toarray(), atol=1e-5)


def test_a_relu_sae_without_prompts(tmp_path):
    model = without_prompts(tiny_model())
    export_stock(model, tmp_path / "stock")
    require_same(model, tmp_path / "stock", [*LONG, ""])  # special tokens are masked, so empty rows are empty
    card = (tmp_path / "stock" / "README.md").read_text(encoding="utf-8")
    assert "max_active_dims=20" in card
    assert "max_active_dims=60" in card
    assert [path.name for path in tmp_path.iterdir()] == ["stock"]


@pytest.mark.parametrize("family", ["LlamaForCausalLM", "Gemma2ForCausalLM"])
def test_a_decoder_cut_before_its_norm(family, tmp_path):
    whole, folder = save_random(tmp_path / "whole", family), tmp_path / "model"
    AutoModel.from_pretrained(whole).save_pretrained(folder / "backbone")
    byte_tokenizer().save_pretrained(folder / "backbone")
    (folder / "head").mkdir()
    torch.manual_seed(0)
    SparseAutoencoder(torch.randn(300, 32), torch.randn(300)).save(folder / "head")
    side = SideConfig(max_length=100, top_k=50)
    config = SplareConfig(
        name=family, revision="1", backbone="backbone", width=300, layer=0, query=side, document=side
    )
    config.save(folder)
    model = SplareModel.from_pretrained(folder, device="cpu")
    export_stock(model, tmp_path / "stock")
    require_same(model, tmp_path / "stock")
    from sentence_transformers import SparseEncoder

    assert SparseEncoder(str(tmp_path / "stock"), device="cpu").max_active_dims == 50  # both sides have the same


@pytest.mark.parametrize(
    "family", ["BertForMaskedLM", "ModernBertForMaskedLM", "LlamaForCausalLM", "CohereForCausalLM"]
)
def test_a_splade_model(family, tmp_path):
    model = SplareModel.from_pretrained(save_random(tmp_path / "splade", family), device="cpu")
    export_stock(model, tmp_path / "stock")
    require_same(model, tmp_path / "stock")


def test_a_saved_splade_model_with_an_adapter(tmp_path):
    from splare_plugins.st import SplareEncoder
    from tests.st.conftest import add_lora

    base = SplareModel.from_pretrained(save_random(tmp_path / "splade", "BertForMaskedLM"), device="cpu")
    base.save_pretrained(tmp_path / "base")
    encoder = SplareEncoder(tmp_path / "base", device="cpu")
    add_lora(encoder)
    encoder[0].save(str(tmp_path / "encoder"))
    adapted = SplareConfig.load(tmp_path / "base")
    (tmp_path / "encoder" / "adapter").rename(tmp_path / "base" / "adapter")
    dataclasses.replace(adapted, adapter="adapter").save(tmp_path / "base")
    model = SplareModel.from_pretrained(tmp_path / "base", device="cpu")
    assert abs(model.encode_documents(TEXTS) - base.encode_documents(TEXTS)).max() > 0.01
    export_stock(model, tmp_path / "stock")
    require_same(model, tmp_path / "stock")


def thresholds() -> SplareModel:
    model = without_prompts(tiny_model())
    head = SparseAutoencoder(model.head.W.data, model.head.b.data, torch.full((512,), 0.3))
    return SplareModel(model.config, model.backbone, head)


REFUSED = {
    "prompts are kept out of the pool": tiny_model,
    "k largest latents of each token": lambda: without_prompts(tiny_model(k=4)),
    "has thresholds": thresholds,
    "divided by their norm": lambda: without_prompts(tiny_model(), norm_power=0.5),
    "tokens with outlying norms": lambda: without_prompts(tiny_model(), max_token_norm_ratio=3.0),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_stock_modules_cannot_say_is_refused(reason, tmp_path):
    with pytest.raises(InputError, match=f"cannot be exported to stock modules exactly, because .*{reason}"):
        export_stock(REFUSED[reason](), tmp_path / "stock")
    assert not [*tmp_path.iterdir()]


def test_what_differs_after_all_is_refused(tmp_path, monkeypatch):
    """As if the special tokens of a tokenizer had been overlooked."""
    monkeypatch.setattr("splare_plugins.st.export._added_tokens", lambda _: [])
    with pytest.raises(InputError, match="their vectors differ by"):
        export_stock(without_prompts(tiny_model()), tmp_path / "stock")
    assert not [*tmp_path.iterdir()]


def test_an_export_stays_where_the_new_one_cannot_be_put(tmp_path, monkeypatch):
    model = without_prompts(tiny_model())
    export_stock(model, tmp_path / "stock")
    before = contents(tmp_path)
    fail_to_publish(monkeypatch)
    with pytest.raises(InputError, match=r"cannot write .*Input/output error"):
        export_stock(model, tmp_path / "stock", overwrite=True)
    assert contents(tmp_path) == before
    assert not [name for name in before if "transformer/" in name]


def test_soft_caps_and_taken_places_are_refused(tmp_path):
    model = SplareModel.from_pretrained(save_random(tmp_path / "splade", "Gemma2ForCausalLM"), device="cpu")
    with pytest.raises(InputError, match="soft-capped"):
        export_stock(model, tmp_path / "stock")
    exact = without_prompts(tiny_model())
    with pytest.raises(InputError, match="is not empty and holds no sparse encoder"):
        export_stock(exact, tmp_path)
    export_stock(exact, tmp_path / "stock")
    with pytest.raises(InputError, match="--overwrite"):
        export_stock(exact, tmp_path / "stock")
    export_stock(exact, tmp_path / "stock", overwrite=True)
    require_same(exact, tmp_path / "stock")
