"""What messages tell people to run is what a shell takes, also where the names of folders have blanks in them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.heads.labels import read_labels
from splare_plugins.model.card import write_card
from splare_plugins.training.data.teachers import TeacherVectors
from splare_plugins.training.language import load_language_model
from tests.cli.test_assemble import corpus
from tests.heads.importers import replicas
from tests.model.test_assemble import save_llama
from tests.pages import _check_command
from tests.tiny import save_tiny_model
from tests.training.conftest import rows
from tests.training.test_papers_models import sae_model

__all__ = ["corpus"]


def commands_in(text: str) -> Iterator[list[str]]:
    """The words of the commands of a message: to the end of their line, or to the mark that closes them."""
    for command in re.findall(r"\bsplare (?:[a-z]+ )+[^`\n]+", text):
        yield shlex.split(command)


def parsed(text: str, *names: Path | str) -> None:
    """The one command of a text, which the parser takes, and which names these places as one word each."""
    (words,) = commands_in(text)
    _check_command(words)
    assert {str(name) for name in names} <= set(words), words


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a blank and a quotation mark in its name."""
    folder = tmp_path / "it's my folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SPLARE_CACHE", str(folder / "cache"))
    return folder


def test_what_to_do_next(splare, here, corpus):
    backbone, sae = save_llama(here / "backbone"), replicas.llama_scope(here / "published").folder
    made = splare("assemble", "--backbone", backbone, "--sae", sae, "-o", here / "a model", "--json")
    parsed(made.facts["next"], here / "a model")
    early = splare("index", "memory", corpus, "-o", here / "index", "-M", here / "a model")
    parsed(early.err, here / "a model")
    ready = shlex.split(made.facts["next"].replace("BEIR-FOLDER", shlex.quote(str(corpus))))
    assert splare(*ready[1:]).status == 0
    assert splare("index", "memory", corpus, "-o", here / "index", "-M", here / "a model").status == 0
    mined = splare("train", "mine", corpus, "--index", here / "index", "-o", here / "mined rows", "--json")
    assert mined.status == 2  # there are no judgements
    (corpus / "qrels").mkdir()
    (corpus / "qrels" / "train.tsv").write_text("q0\td1\t1\n")
    mined = splare("train", "mine", corpus, "--index", here / "index", "-o", here / "mined rows", "--json")
    parsed(mined.facts["next"], here / "mined rows")
    write_card(here / "a model", SplareConfig.load(here / "a model"))
    parsed((here / "a model" / "README.md").read_text(encoding="utf-8"), "a model")
    exported = splare("export", here / "a model", "-o", here / "a graph", "--json")
    parsed(exported.facts["next"], here / "a graph")


def test_of_a_training(splare, here):
    (here / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(8)), encoding="utf-8")
    base = save_tiny_model(here / "a base", max_length=64)
    settings = {
        "model": str(base),
        "data": [{"source": "rows.jsonl"}],
        **{"negatives": 3, "batch_size": 4, "steps": 1, "device": "cpu", "lora": {"rank": 2}},
        **{"query_length": 16, "document_length": 16},
    }
    for name in ("one run", "two runs"):
        (here / "run.yaml").write_text(yaml.safe_dump({**settings, "output": name}), encoding="utf-8")
        parsed(splare("train", "run.yaml", "--json").facts["next"], f"{name}/model")
    mean = splare("train", "average", "one run/model", "two runs/model", "-o", "the mean", "--json")
    parsed(mean.facts["next"], "the mean")
    again = {**settings, "model": "one run/model", "output": "again"}
    (here / "run.yaml").write_text(yaml.safe_dump(again), encoding="utf-8")
    refused = splare("train", "run.yaml")
    assert refused.status == 2
    parsed(refused.err, "one run/model")
    with pytest.raises(InputError, match="adapter already") as caught:
        load_language_model("one run/model", attention="auto", dtype="float32")
    parsed(str(caught.value), "one run/model")
    (here / "no vectors").write_bytes(b"something else")
    with pytest.raises(InputError, match="remove it and make them") as caught:
        TeacherVectors.load(here / "no vectors")
    parsed(str(caught.value), here / "no vectors")


def test_of_masked_prediction(splare, here):
    sae_model("llama", here / "a base")
    texts = [{"_id": f"d{number}", "text": row["positive"]} for number, row in enumerate(rows(8))]
    (here / "texts.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
    settings = {"model": "a base", "texts": "texts.jsonl", "output": "a run", "length": 16, "steps": 1}
    settings |= {"batch_size": 2, "device": "cpu"}
    (here / "mntp.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    done = splare("train", "mntp", "mntp.yaml", "--json")
    assert done.status == 0, done.err
    parsed(done.facts["next"], "a run/model")
    merging = shlex.split(done.facts["next"])
    assert splare(*merging[1:]).status == 0


def test_of_corpora(splare, here, tiny_folder):
    model = shutil.copytree(tiny_folder, here / "a model")
    (here / "c one.jsonl").write_text('{"_id": "d1", "text": "one"}\n{"_id": "d2", "text": "two"}\n')
    (here / "c'two.jsonl").write_text('{"_id": "d3", "text": "one"}\n{"_id": "d4", "text": "two"}\n')
    files, place = ["c one.jsonl", "c'two.jsonl"], here / "encoded here"
    made = splare("encode", *files, "-o", place, "-M", model, "--part-size", 1, "--shard", "1/2")
    assert made.status == 0, made.err
    unfinished = splare("index", "memory", place, "-o", here / "index")
    parsed(unfinished.err, *files, place, model)
    (words,) = commands_in(unfinished.err)
    assert splare(*words[1:]).status == 0
    without = splare("index", "anserini", place, "-o", here / "index", "--top-k", 3)
    assert "encode again" in without.err
    taken = splare("index", "lucene", place, "-o", here / "index", "--store-text")
    parsed(taken.err, *files, model, "--store-text", "FOLDER")
    (words,) = commands_in(taken.err)
    assert splare(*words[1:]).status == 0
    assert splare("inspect", "FOLDER", "--json").facts["text stored"]


def test_of_labels(here):
    (here / "labels.parquet").write_bytes(b"something else")
    with pytest.raises(InputError) as caught:
        read_labels(here / "labels.parquet", 8)
    parsed(str(caught.value), here, "--overwrite")


@pytest.mark.parametrize("cells", [3, 4, 6])
@pytest.mark.parametrize("verb", ["encode", "search"])
def test_the_columns_of_a_message(splare, here, tiny_folder, verb, cells):
    name = "wide.tsv"
    (here / name).write_text("\t".join(f"cell{number}" for number in range(cells)) + "\n")
    (here / "c.jsonl").write_text('{"_id": "d1", "text": "one"}\n')
    assert splare("index", "memory", "c.jsonl", "-o", "index", "-M", tiny_folder).status == 0
    command = ["encode", name, "-o", "encoded", "-M", tiny_folder] if verb == "encode" else ["search", "index", name]
    command += ["-o", "run"] if verb == "search" else []
    refused = splare(*command)
    columns = re.search(r"--columns (\S+),? or", refused.err)
    assert refused.status == 2 and columns, refused.err
    assert splare(*command, "--columns", columns[1].rstrip(",")).status == 0


def test_a_model_that_is_not_there_is_told_so(splare, here, corpus):
    missing = splare("calibrate", "MISSING", corpus)
    assert missing.status == 2 and "there is no model folder 'MISSING'" in missing.err
    misspelt = splare("calibrate", "models/typo", corpus)
    assert misspelt.status == 2 and "correct the name, or add -o FOLDER" in misspelt.err
