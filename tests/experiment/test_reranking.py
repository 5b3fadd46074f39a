"""Second stages: by a tiny cross-encoder, by vectors and by impacts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

from splare_plugins.corpus import read_documents, read_queries, read_run
from splare_plugins.errors import InputError
from splare_plugins.experiment.config import ExperimentConfig
from splare_plugins.experiment.run import run_experiment, shown_tables
from splare_plugins.model.cross_encoder import CrossEncoderModel
from tests.experiment.conftest import tiny_settings
from tests.experiment.test_run import contents, stop_at
from tests.tiny import save_tiny_cross_encoder


@pytest.fixture(scope="session")
def cross(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_cross_encoder(tmp_path_factory.mktemp("cross") / "model")


def stages(tiny_folder: Path, data: Path, cross: Path) -> dict[str, Any]:
    """A short first stage, ranked anew in three ways."""
    settings, first, model = tiny_settings(tiny_folder, data), {"kind": "rerank", "of": ["short"]}, str(tiny_folder)
    settings["systems"] = [
        *settings["systems"][:3],
        {"name": "read", **first, "model": str(cross), "depth": 5, "batch": 2},
        {"name": "by-vectors", **first, "by": "dense", "model": model},
        {"name": "by-impacts", **first, "by": "splare", "model": model},
    ]
    return settings


@pytest.fixture
def staged(tiny_folder: Path, small_data: Path, cross: Path) -> dict[str, Any]:
    return stages(tiny_folder, small_data, cross)


@pytest.fixture(scope="module")
def folder(tiny_folder: Path, small_data: Path, cross: Path, tmp_path_factory) -> Path:
    """Only read, except in a copy."""
    path = tmp_path_factory.mktemp("staged") / "out"
    outcome = run_experiment(ExperimentConfig.from_dict(stages(tiny_folder, small_data, cross)), path)
    assert outcome.made == 12
    return path


def test_the_cross_encoders_order_is_that_of_its_logits(folder, cross, small_data):
    corpus = small_data / "xquad" / "en"
    texts = {document.docid: document.content for document in read_documents(corpus)}
    asked = dict(read_queries(corpus))
    model, tokenizer = (
        kind.from_pretrained(cross) for kind in (BertForSequenceClassification, PreTrainedTokenizerFast)
    )
    found, first = (read_run(folder / "runs" / "en" / f"{name}.trec") for name in ("read", "short"))
    assert found.keys() == first.keys()
    for qid in list(found)[:3]:
        docids, scores = found[qid]
        pairs = [texts[docid] for docid in first[qid].docids[:5]]
        tokens = tokenizer([asked[qid]] * len(pairs), pairs, truncation="longest_first", padding=True, max_length=64)
        with torch.inference_mode():
            logits = model.eval()(**{name: torch.tensor(values) for name, values in tokens.items()}).logits[:, 0]
        assert scores[:5] == pytest.approx(np.sort(logits.numpy())[::-1], abs=1e-5)
        assert docids[0] == first[qid].docids[int(logits.argmax())]
        assert docids[5:] == first[qid].docids[5:]  # what is below the depth keeps its order
    assert any(found[qid].docids[:5] != first[qid].docids[:5] for qid in found)


def test_vectors_and_impacts_rank_as_whole_searches_do(folder):
    runs = {
        name: read_run(folder / "runs" / "en" / f"{name}.trec")
        for name in ("own", "dense", "by-vectors", "by-impacts")
    }
    compared = 0
    for again, whole in (("by-vectors", "dense"), ("by-impacts", "own")):
        for qid, hits in runs[again].items():
            expected = dict(zip(*runs[whole][qid], strict=True))
            both = [docid for docid in hits.docids if docid in expected]
            scores = dict(zip(*hits, strict=True))
            compared += len(both)
            assert [scores[docid] for docid in both] == pytest.approx([expected[docid] for docid in both], abs=1e-6)
    assert compared > 4 * len(runs["own"])


def test_their_costs_are_those_of_the_stage(folder, cross):
    known = json.loads((folder / "runs" / "en" / "read.json").read_text(encoding="utf-8"))["costs"]
    assert 0 < known["median_ms"] <= known["p99_ms"] and known["index_bytes"] is None
    first = read_run(folder / "runs" / "en" / "short.trec")
    expected = np.mean([min(5, len(hits.docids)) for hits in first.values()])
    assert known["reranked"] == pytest.approx(expected, abs=0.5)
    assert "re-ranked" in shown_tables(folder) and "times are those of that stage" in shown_tables(folder)
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    assert record["models"][str(cross)]["fingerprint"] == CrossEncoderModel(str(cross)).fingerprint


def test_what_was_read_is_not_read_again(staged, folder, tmp_path):
    config = ExperimentConfig.from_dict(staged)
    again = run_experiment(config, folder, steps=lambda what: pytest.fail(what))
    assert (again.made, again.found) == (0, 12)
    within = "within the pairs of read on en"
    read: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, tmp_path / "other", steps=lambda what: stop_after(what, within, read, 20))
    assert len(list((tmp_path / "other").glob("encoded/cross-*/part-*.npz"))) == 1
    run_experiment(config, tmp_path / "other")
    assert contents(folder) == contents(tmp_path / "other")


def stop_after(what: str, where: str, read: list[int], most: int):
    """A step that ends in an interrupt after so many queries."""
    inner = stop_at("nothing")(what)

    def advance(number: int) -> None:
        inner(number)
        if what.endswith(where.removeprefix("within ")):
            read.append(number)
            if len(read) == most:
                raise KeyboardInterrupt

    return advance


def test_another_length_is_read_anew(staged, folder, tmp_path):
    folder = shutil.copytree(folder, tmp_path / "copy")
    staged["systems"][3]["max_length"] = 40
    assert run_experiment(ExperimentConfig.from_dict(staged), folder).made == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"of": ["own", "short"]}, "read: of must name the one system that is ranked anew, not ['own', 'short']"),
        ({"of": ["later"]}, "read: of names 'later', which is not a system above it; there are own, short, dense"),
        ({"model": None}, "read: the setting 'model' is missing, the folder or hub id of a cross-encoder"),
        ({"depth": 9}, "read: depth 9 is more than the 8 documents of a run; raise the depth of the experiment"),
        ({"batch": 0}, "read: batch must be a number from 1"),
        ({"max_length": -1}, "read: max_length must be a number from 1"),
        ({"by": "bm25"}, "by must be 'cross' or 'dense' or 'splare' or 'splade', not 'bm25'"),
        ({"by": "dense"}, "read: the kind rerank by dense has no setting 'batch'; it takes of, by, depth, model"),
        (
            {"query_top_k": 3},
            "read: the kind rerank by cross has no setting 'query_top_k'; it takes of, by, depth, model, batch",
        ),
        ({"method": "minmax"}, "read: the kind rerank by cross has no setting 'method'"),
    ],
)
def test_settings_that_cannot_be(staged, change, message):
    staged["systems"][3] |= change
    with pytest.raises(InputError) as refused:
        ExperimentConfig.from_dict(staged)
    assert message in str(refused.value)


def test_models_that_are_not_cross_encoders(staged, cross, tiny_folder, tmp_path):
    def refusal(model: Path | str, **more: object) -> str:
        staged["systems"][3] |= {"model": str(model), **more}
        with pytest.raises(InputError) as refused:
            run_experiment(ExperimentConfig.from_dict(staged), tmp_path / "out")
        assert not (tmp_path / "out").exists()  # before anything is encoded
        return str(refused.value)

    assert "there is no model folder 'nowhere'" in refusal("nowhere")
    assert "is not a cross-encoder" in refusal(tiny_folder) and "no config.json" in refusal(tiny_folder)
    assert "it holds BertModel" in refusal(next(tiny_folder.glob("*/config.json")).parent)
    assert "has 3 outputs" in refusal(save_tiny_cross_encoder(tmp_path / "three", outputs=3))
    assert "has 2 outputs" in refusal(save_tiny_cross_encoder(tmp_path / "two", outputs=2))
    assert "at most the 64 tokens" in refusal(cross, max_length=65)
    hollow = save_tiny_cross_encoder(tmp_path / "hollow")
    (hollow / "model.safetensors").unlink()
    assert "no weights in safetensors" in refusal(hollow, max_length=None)


def test_scores_that_are_not_finite_are_refused(tmp_path):
    folder = save_tiny_cross_encoder(tmp_path / "model")
    model = BertForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        model.classifier.bias.fill_(float("nan"))
    model.save_pretrained(folder)
    with pytest.raises(InputError, match="scores that are not finite for 'who'"):
        CrossEncoderModel(str(folder)).scores("who", ["somebody"], batch=1)


def test_one_of_a_hub_is_fetched_without_pickles(hub_server, cross):
    folder = shutil.copytree(cross, hub_server.root / "org" / "cross")
    (folder / "pytorch_model.bin").write_bytes(b"code")
    model = CrossEncoderModel("org/cross", max_length=32)
    assert model.fingerprint == CrossEncoderModel(str(cross)).fingerprint
    assert "org/cross/pytorch_model.bin" not in hub_server.served
    texts = ["somebody", "nobody at all"]
    expected = CrossEncoderModel(str(cross), max_length=32).scores("who", texts, batch=2)
    assert model.scores("who", texts, batch=2).tolist() == expected.tolist()
    with pytest.raises(InputError, match="no hub repository org/none"):
        CrossEncoderModel("org/none")
