"""``splare sae label``, and the verbs that show labels."""

from __future__ import annotations

import pytest

from splare_plugins.heads.labels import LABELS
from splare_plugins.model.splare import SplareModel
from tests.heads.importers import replicas
from tests.heads.test_labels import labelled_model, record, write_lines
from tests.model.test_splade import save_random
from tests.tiny import save_tiny_model


@pytest.fixture
def labelled(tmp_path):
    return labelled_model(tmp_path / "model")


def test_the_verbs_show_labels(splare, labelled, tmp_path):
    shown = splare("explain", "fox", "fox", "-M", labelled, "--top", 1)
    assert "about f" in shown.out
    for verb in (["inspect"], ["sae", "inspect"]):
        assert "of 512 latents (me: " in splare(*verb, labelled, "--json").facts["labels"]


def test_the_verb_writes_labels_once(splare, tmp_path):
    folder = save_tiny_model(tmp_path / "model")
    export = write_lines(
        tmp_path / "batch-0.jsonl", *(record(1, "one", layer="1-x-res"), record(1, "uno", layer="1-x-res"))
    )
    for place in (folder, folder / "head"):
        outcome = splare("sae", "label", place, export, "--overwrite", "--json")
        assert outcome.status == 0, outcome.err
        assert (outcome.facts["labels"], outcome.facts["repeated"]) == (1, 1)
    assert SplareModel.from_pretrained(folder, device="cpu").head.name(1) == "one"
    again = splare("sae", "label", folder, export)
    assert (again.status, "--overwrite" in again.err) == (2, True)


def test_wrong_labels_leave_the_old_ones(splare, labelled, tmp_path):
    before = (labelled / "head" / LABELS).read_bytes()
    for each, words in (
        (record(512, "a", layer="1-x-res"), "only 512"),
        (record(1, "a", layer="26-x-res-131k"), "width"),
    ):
        export = write_lines(tmp_path / "e.jsonl", each)
        outcome = splare("sae", "label", labelled, export, "--overwrite")
        assert outcome.status == 2
        assert words in outcome.err
    assert (labelled / "head" / LABELS).read_bytes() == before


def test_a_vocabulary_takes_no_labels(splare, tmp_path):
    model = SplareModel.from_pretrained(save_random(tmp_path / "splade", "BertForMaskedLM"), device="cpu")
    model.save_pretrained(tmp_path / "saved")
    outcome = splare("sae", "label", tmp_path / "saved", write_lines(tmp_path / "e.jsonl", record(1, "a")))
    assert (outcome.status, "are tokens" in outcome.err) == (2, True)


def test_importing_over_a_labelled_head_says_that_its_labels_go(splare, tmp_path, caplog):
    source, head = replicas.sparsify(tmp_path / "published").folder, tmp_path / "head"
    assert splare("sae", "import", source, "-o", head).status == 0
    export = write_lines(tmp_path / "e.jsonl", record(1, "one", layer=f"{replicas.LAYER}-x-res"))
    assert splare("sae", "label", head, export).status == 0
    assert splare("sae", "import", source, "-o", head, "--overwrite").status == 0
    assert "label it again" in caplog.text
    assert not (head / LABELS).exists()
