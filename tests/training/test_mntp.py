"""Masked (next) token prediction: its loss against transformers' own, and whole runs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from splare_plugins.cli.app import main
from splare_plugins.errors import InputError
from splare_plugins.model.splare import SplareModel
from splare_plugins.training.average import merge_model
from splare_plugins.training.language import load_language_model
from splare_plugins.training.masking import IGNORED, MaskedTexts, mask_id, masked_loss
from splare_plugins.training.mntp import MntpConfig, mntp
from tests.backbone.families import save_family
from tests.tiny import TEXTS
from tests.training.conftest import WORDS
from tests.training.test_papers_models import sae_model


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    rows = [{"_id": f"d{n}", "text": f"a text about {word} and {word}"} for n, word in enumerate(WORDS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"_id": "short", "text": "a"}]))
    return path


def config(model: Path, texts: Path, output: Path, **options: Any) -> MntpConfig:
    return MntpConfig(
        **{
            "model": str(model),
            "texts": str(texts),
            "output": str(output),
            "length": 32,
            "steps": 6,
            "batch_size": 4,
            "learning_rate": 5e-3,
            "device": "cpu",
            "save_every": 2,
            "log_every": 1,
            **options,
        }
    )


def masked_texts(folder: Path, share: float = 0.2) -> tuple[Any, MaskedTexts]:
    language = load_language_model(str(folder), attention="auto", dtype=torch.float32)
    hidden = mask_id(language.backbone, "_")
    options = {"length": 64, "share": share, "mask_id": hidden, "items": 60, "seed": 1}
    return language, MaskedTexts(TEXTS, language.backbone, **options)


@pytest.mark.parametrize("family", ["llama", "gemma2", "bert"])
def test_the_loss_is_that_of_transformers_on_masked_positions(family: str, tmp_path: Path) -> None:
    folder = save_family(family, tmp_path) / "backbone"
    language, data = masked_texts(folder)
    batch = data.collate([data[number] for number in range(4)])
    labels = batch.pop("labels")
    with torch.no_grad():
        states = language.backbone.model(**batch).last_hidden_state
        ours = masked_loss(states, labels, language.head, decoder=language.decoder)
        kind = AutoModelForMaskedLM if family == "bert" else AutoModelForCausalLM
        whole = kind.from_pretrained(folder, dtype=torch.float32).eval()
        if family != "bert":
            whole.config.is_causal = False
        theirs = whole(**batch, labels=labels).loss
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_a_share_of_the_texts_own_tokens_is_masked(tmp_path: Path) -> None:
    language, data = masked_texts(save_family("llama", tmp_path) / "backbone", share=0.25)
    fates = {"hidden": 0, "left": 0, "replaced": 0}
    for number in range(60):
        item = data[number]
        again = data[number]
        assert all(torch.equal(item[name], again[name]) for name in item)
        masked = item["labels"] != IGNORED
        assert not masked[0] and not masked[-1]  # special tokens
        assert int(masked.sum()) == max(1, round(0.25 * (len(masked) - 2)))
        ids, labels = item["input_ids"][masked], item["labels"][masked]
        fates["hidden"] += int((ids == data.mask_id).sum())
        fates["left"] += int((ids == labels).sum())
        fates["replaced"] += int(((ids != labels) & (ids != data.mask_id)).sum())
    total = sum(fates.values())
    assert fates["hidden"] / total == pytest.approx(0.8, abs=0.08)
    assert fates["left"] / total == pytest.approx(0.1, abs=0.06)
    # Every text once an epoch, and then again with other masks.
    firsts = [data[number]["input_ids"].numel() for number in range(5)]
    assert sorted(firsts) == sorted(len(each.ids) for each in language.backbone.tokenize(TEXTS, "", 64))
    assert not all(torch.equal(data[n]["labels"], data[n + 5]["labels"]) for n in range(5))


@pytest.mark.slow
def test_a_decoder_learns_and_keeps_the_layers_that_its_model_has(texts: Path, tmp_path: Path) -> None:
    base = sae_model("llama", tmp_path / "base")
    saved = mntp(config(base, texts, tmp_path / "run", steps=30, learning_rate=2e-2))
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in log if "loss" in row]
    assert len(losses) == 30 and np.mean(losses[-5:]) < 0.95 * np.mean(losses[:5])
    folder = tmp_path / "run" / "model"
    names = load_file(folder / "adapter" / "adapter_model.safetensors").keys()
    assert {name.split("layers.")[1][0] for name in names} == {"0", "1", "2"}  # of four
    model = SplareModel.from_pretrained(folder, device="cpu")
    assert model.config == saved and saved.layer == 2
    # What was trained at full depth gives the same states at layer 2.
    merge_model(folder, tmp_path / "merged")
    merged = SplareModel.from_pretrained(tmp_path / "merged", device="cpu")
    before, after, again = (
        each.encode_documents(TEXTS, top_k=None).toarray()
        for each in (SplareModel.from_pretrained(base, device="cpu"), model, merged)
    )
    assert np.abs(after - before).max() > 1e-2
    np.testing.assert_allclose(after, again, atol=1e-4)


@pytest.mark.slow
def test_the_trained_layers_give_the_same_states_as_in_training(texts: Path, tmp_path: Path) -> None:
    base = save_family("llama", tmp_path / "base") / "backbone"
    run = config(base, texts, tmp_path / "run")
    mntp(run)
    loaded = SplareModel.from_pretrained(tmp_path / "run" / "model", device="cpu")
    assert loaded.config.bidirectional and loaded.config.head_kind == "lm"
    language = load_language_model(str(base), attention="auto", dtype=torch.float32)
    language.backbone.model.load_adapter(str(tmp_path / "run" / "model" / "adapter"))
    language.backbone.model.eval()
    tokens = loaded.backbone.tokenize(TEXTS, "", 32)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.backbone(tokens)[0], language.backbone(tokens)[0], rtol=1e-4, atol=1e-4)


class Stop(TrainerCallback):
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step == 5:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_weights(texts: Path, tmp_path: Path) -> None:
    base = save_family("bert", tmp_path / "base") / "backbone"
    with pytest.raises(KeyboardInterrupt):
        mntp(config(base, texts, tmp_path / "parts"), callbacks=[Stop()])
    assert not (tmp_path / "parts" / "model").exists()
    mntp(config(base, texts, tmp_path / "parts"))
    mntp(config(base, texts, tmp_path / "whole"))
    ours, theirs = (
        load_file(tmp_path / name / "model" / "adapter" / "adapter_model.safetensors") for name in ("parts", "whole")
    )
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_the_program_runs_it_and_names_mistakes(
    texts: Path, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = save_family("bert", tmp_path / "base") / "backbone"
    path = tmp_path / "mntp.yaml"

    def run(**options: Any) -> tuple[int, str, str]:
        values = {**dataclasses.asdict(config(base, texts, tmp_path / "run")), **options}
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        with pytest.raises(SystemExit) as stop:
            main(["train", "mntp", str(path), "--json"])
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, " ".join(captured.err.split())

    for options, message in (
        ({"model": str(tiny_folder)}, "prediction of tokens needs its head and all its layers"),
        ({"batch_size": 99}, "fewer than batch_size"),
        ({"mask_token": "no such token"}, "has no token 'no such token' to mask with"),
        ({"lora": {"targets": ["nothing"]}}, "no adapter can be put on nothing"),
    ):
        status, _, error = run(**{"output": str(tmp_path / "refused" / message[:9]), **options})
        assert (status, message in error) == (2, True), error
    status, printed, error = run()
    assert status == 0, error
    assert json.loads(printed)["folder"] == str(tmp_path / "run" / "model")
    with pytest.raises(InputError, match="'mask' is a share"):
        config(base, texts, tmp_path / "x", mask=1.5)
