"""The paper in miniature, from a tiny random language model to its table: every step, each as short as it can be."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

from splare_plugins.config import SplareConfig
from tests.cli.conftest import DATA, cut
from tests.tiny import byte_tokenizer

FOLDER = DATA.parent / "miniature"
SIZES = {"vocab_size": 260, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
TINY = {
    **{"layer": 1, "latents": 256, "k": 8, "queries": 24, "texts": 12_000, "length": 32},
    **{"steps_mntp": 2, "batch_mntp": 4, "steps_sae": 10, "batch_sae": 4, "steps_train": 3},
    **{"test_queries": 4, "test_documents": 8, "max_length": 64},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("miniature") / "data"
    cut(DATA / "scifact", folder / "scifact", 400)
    for language in ("en", "de", "es", "ru", "zh", "ar"):
        cut(DATA / "xquad" / language, folder / "xquad" / language, 10)
    return folder


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three layers of Llama over bytes."""
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SIZES, num_hidden_layers=3, max_position_embeddings=512)).save_pretrained(folder)
    byte_tokenizer(512).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(1)
    BertModel(BertConfig(**SIZES, num_hidden_layers=1, max_position_embeddings=64)).save_pretrained(folder / "bert")
    byte_tokenizer(64).save_pretrained(folder / "bert")
    transformer = Transformer(str(folder / "bert"), max_seq_length=64)
    SentenceTransformer(modules=[transformer, Pooling(32)], device="cpu").save(str(folder / "made"))
    return folder / "made"


@pytest.fixture(scope="module")
def miniature() -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    try:
        return import_module("miniature")
    finally:
        sys.path.remove(str(FOLDER))


@pytest.mark.java
@pytest.mark.slow
def test_every_step_is_done_once_and_ends_in_the_table(
    miniature: ModuleType,
    data: Path,
    backbone: Path,
    teacher: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    work = tmp_path / "work"
    places = ["--data", str(data), "--backbone", str(backbone), "--teacher", str(teacher)]
    sizes = [text for name, value in TINY.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    arguments = [str(work), "--short", "--together", *places, *sizes]
    miniature.main(arguments)
    result: dict[str, Any] = json.loads((work / "results.json").read_text())
    assert [(row["model"], row["top_k"]) for row in result["table"]] == [
        *(("splare", "all"), ("splade", "all")),
        *(("splare", "40/400"), ("splade", "40/400")),
    ]
    assert all(
        0 <= row[name] <= 100 for row in result["table"] for name in ("scifact", "xquad-ar-en", "cross-lingual")
    )
    assert result["table"][0]["latents"][0] > 0
    assert result["settings"]["latents"] == 256

    splare, splade = (SplareConfig.load(work / f"train-{method}" / "model") for method in ("splare", "splade"))
    assert (splare.layer, splare.head_kind, splare.width, splare.bidirectional) == (1, "sae", 256, True)
    assert (splade.layer, splade.head_kind, splade.width, splade.bidirectional) == (None, "lm", 260, True)
    runs = [json.loads((work / f"train-{method}.yaml").read_text()) for method in ("splare", "splade")]
    same = ("data", "steps", "batch_size", "negatives", "lora", "seed", "learning_rate", "document_length")
    assert [runs[0][name] for name in same] == [runs[1][name] for name in same]

    models = sorted(path for path in work.rglob("*.safetensors"))
    before = {path: path.stat().st_mtime_ns for path in models}
    capsys.readouterr()
    miniature.main(arguments)  # every step is there
    assert {path: path.stat().st_mtime_ns for path in models} == before
    assert "SPLADE" in capsys.readouterr().out


def test_what_the_data_lack_is_named_first(
    miniature: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        miniature.main([str(tmp_path / "work"), "--data", str(tmp_path)])
    assert "has no scifact/qrels/train.tsv" in capsys.readouterr().err
    assert not (tmp_path / "work").exists()
