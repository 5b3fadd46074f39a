"""The model card: the header as the hub reads it, what is known, and nothing that is not."""

from __future__ import annotations

import dataclasses
import json
import logging

import pytest
import yaml
from huggingface_hub import ModelCard

from splare_plugins.config import HEAD_CARD, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.model.card import MARK, write_card
from splare_plugins.model.splare import SplareModel
from tests.model.test_splade import save_random
from tests.tiny import TEXTS, tiny_model

FIGURE = {"dataset": "XQuAD", "config": "de", "split": "test", "metric": "nDCG@10", "value": 0.879}


def test_a_saved_model_has_a_card_that_the_hub_can_read(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path / "folder", figures=[FIGURE], licence="apache-2.0", languages=["en", "de"])
    card = ModelCard.load(tmp_path / "folder" / "README.md")
    data = card.data
    assert (data.library_name, data.license, data.language) == ("splare-plugins", "apache-2.0", ["en", "de"])
    assert {"splare", "sparse-autoencoder"} <= set(data.tags)
    assert data.base_model is None
    (result,) = data.eval_results
    assert (result.dataset_name, result.dataset_config, result.metric_type) == ("XQuAD", "de", "ndcg_10")
    assert result.metric_value == 0.879
    config = model.config
    for known in (
        config.fingerprint(),
        config.index_fingerprint(),
        config.head_sha256,
        config.backbone_sha256,
        f"{config.query.scale:g}",
        f"{config.document.scale:g}",
        'from_pretrained("folder")',
        "| XQuAD de test | nDCG@10 | 0.879 |",
    ):
        assert known in card.text


def test_what_is_not_known_is_said(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "| licence of the backbone | unknown |" in text
    assert "| licence of the head | unknown |" in text
    assert "None were handed over" in text
    header = yaml.safe_load(text.split("---")[1])
    assert not {"license", "base_model", "model-index"} & set(header)


def test_a_hub_backbone_and_a_published_sae_are_named(tmp_path):
    config = SplareConfig(
        name="SPLARE-7B",
        revision="zero-shot",
        backbone="meta-llama/Llama-3.1-8B",
        backbone_revision="abc123",
        layer=26,
        width=131072,
        head_sha256="ff00",
    )
    about = {"source": "hf:fnlp/Llama3_1-8B-Base-LXR-32x#L26R", "licence": "apache-2.0", "source_sha256": "aa11"}
    (tmp_path / "head").mkdir()
    (tmp_path / "head" / HEAD_CARD).write_text(json.dumps(about))
    write_card(tmp_path, config)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.base_model == "meta-llama/Llama-3.1-8B"
    for words in ("`abc123`", "`aa11`", "after layer 26", "backbone | llama3.1 |", "head | apache-2.0 |", "131,072"):
        assert words in card.text


def test_a_backbone_on_disk_is_not_taken_for_the_one_that_the_sae_was_trained_on(tmp_path):
    config = dataclasses.replace(tiny_model().config, backbone=str(tmp_path / "mine"), backbone_sha256="ab12")
    (tmp_path / "model" / "head").mkdir(parents=True)
    about = {"base_model": "meta-llama/Llama-3.1-8B", "licence": "apache-2.0"}
    (tmp_path / "model" / "head" / HEAD_CARD).write_text(json.dumps(about))
    write_card(tmp_path / "model", config)
    card = ModelCard.load(tmp_path / "model" / "README.md")
    assert card.data.base_model is None
    for words in (
        "| the head was trained on | meta-llama/Llama-3.1-8B |",
        "backbone | unknown |",
        "mine` on the machine",
    ):
        assert words in card.text


def test_a_splade_model_names_its_source_and_its_licence(tmp_path):
    folder = save_random(tmp_path / "splade", "BertForMaskedLM")
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-sa-4.0\n---\nA model.\n")
    model = SplareModel.from_pretrained(folder, device="cpu")
    model.save_pretrained(tmp_path / "saved")
    card = ModelCard.load(tmp_path / "saved" / "README.md")
    assert "| licence of the head | cc-by-nc-sa-4.0 |" in card.text
    assert "splade" in card.data.tags
    assert "SPLADE" in card.text


@pytest.mark.parametrize("card", [b"---\nlicense: [a\n---\n", b"---\nlicense\n---\n", b"\xff", b"no header"])
def test_a_card_that_cannot_be_read_keeps_no_model_from_loading(card, tmp_path):
    folder = save_random(tmp_path / "splade", "BertForMaskedLM")
    (folder / "README.md").write_bytes(card)
    assert SplareModel.from_pretrained(folder, device="cpu").head.card["licence"] is None


def test_a_card_of_somebodys_own_is_kept(tmp_path, caplog):
    model = tiny_model()
    model.save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("my words")
    with caplog.at_level(logging.WARNING):
        SplareModel.from_pretrained(tmp_path, device="cpu").save_pretrained(tmp_path / "copy")
    assert (tmp_path / "copy" / "README.md").read_text() == "my words"
    assert "kept as it is" in caplog.text


def test_our_own_card_follows_the_model_and_keeps_licence_and_languages(tmp_path):
    tiny_model().save_pretrained(tmp_path / "a", licence="mit", languages=["en"], figures=[FIGURE])
    model = SplareModel.from_pretrained(tmp_path / "a", device="cpu")
    model.save_pretrained(tmp_path / "b")
    card = ModelCard.load(tmp_path / "b" / "README.md")
    assert (card.data.license, card.data.language) == ("mit", ["en"])
    assert card.data.eval_results[0].metric_value == 0.879
    model.calibrate(TEXTS[:2], TEXTS[:2], percentile=50)
    model.save_pretrained(tmp_path / "b")
    text = (tmp_path / "b" / "README.md").read_text()
    assert f"{model.config.query.scale:g}" in text
    assert MARK in text


def test_figures_of_another_model_are_left_out(tmp_path, caplog):
    tiny_model().save_pretrained(tmp_path, figures=[FIGURE])
    model = SplareModel.from_pretrained(tmp_path, device="cpu")
    model.config = dataclasses.replace(model.config, max_token_norm_ratio=3.0)
    with caplog.at_level(logging.WARNING):
        model.save_pretrained(tmp_path)
    assert "0.879" not in (tmp_path / "README.md").read_text()
    assert "another model" in caplog.text
    assert json.loads((tmp_path / "figures.json").read_text())[0]["value"] == 0.879


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        ({"dataset": "X", "metric": "nDCG@10"}, "a dataset, a metric and a value"),
        ({**FIGURE, "value": float("nan")}, "not a number"),
        ({**FIGURE, "value": "0.5"}, "not a number"),
        ("0.5", "a dataset, a metric and a value"),
    ],
)
def test_figures_that_are_none_are_refused(figure, words, tmp_path):
    with pytest.raises(InputError, match=words):
        tiny_model().save_pretrained(tmp_path, figures=[figure])


@pytest.mark.parametrize(("text", "words"), [("{", "not valid JSON"), ("{}", "must hold a list")])
def test_a_broken_file_of_figures_is_refused(text, words, tmp_path):
    tiny_model().save_pretrained(tmp_path)
    (tmp_path / "figures.json").write_text(text)
    with pytest.raises(InputError, match=words):
        SplareModel.from_pretrained(tmp_path, device="cpu").save_pretrained(tmp_path)
