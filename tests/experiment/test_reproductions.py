"""Reproduction pages and plots: made of a record, held against another run, refused where they cannot be."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from splare_plugins.errors import InputError
from splare_plugins.experiment.config import ExperimentConfig
from splare_plugins.experiment.pages import read_page
from splare_plugins.experiment.pictures import interval
from splare_plugins.experiment.results import read_results
from tests.experiment.conftest import tiny_settings
from tests.pages import ROOT, blocks, check, run_pages

PAGES = sorted((ROOT / "docs" / "reproductions").glob("*.md"))


@pytest.fixture(scope="module")
def finished(tiny_folder: Path, small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config, ``pairs.yaml``, and its experiment, ``pairs``: only read."""
    from splare_plugins.experiment.run import run_experiment

    folder, settings = tmp_path_factory.mktemp("finished"), tiny_settings(tiny_folder, small_data)
    english, german = (str(small_data / "xquad" / language) for language in ("en", "de"))
    settings["collections"] = [
        {"name": "xquad/en-en", "source": english},
        {"name": "xquad/de-en", "source": english, "queries": german},
        {"name": "xquad/en-de", "source": german, "queries": english},
    ]
    (folder / "pairs.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    run_experiment(ExperimentConfig.from_yaml(folder / "pairs.yaml"), folder / "pairs")
    return folder


@pytest.fixture
def here(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(finished, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_a_page_has_command_expected_and_observed(splare, here):
    assert splare("experiment", "page", "pairs", "pairs.yaml", "-o", "pairs.md").status == 0
    text = (here / "pairs.md").read_text(encoding="utf-8")
    assert "splare experiment run pairs.yaml -o pairs\nsplare experiment check pairs pairs.md" in text
    assert "splare experiment run pairs.yaml -o pairs --collection xquad/en-en" in text
    for block in blocks(here / "pairs.md"):
        check(block)
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert shown == (here / "pairs.yaml").read_text(encoding="utf-8")
    page, means = read_page(Path("pairs.md")), read_results("pairs").means()
    assert page.tolerance == 0.005
    assert page.expected == {names: round(value, 4) for names, value in means.items()} and len(means) == 24
    agrees = splare("experiment", "check", "pairs", "pairs.md")
    assert (agrees.status, agrees.out) == (0, "all figures agree with those of pairs.md\n")


def test_a_page_keeps_what_it_expects(splare, here):
    page = Path("pairs.md")
    splare("experiment", "page", "pairs", "pairs.yaml", "-o", page, "--tolerance", 0.01)
    made = page.read_text(encoding="utf-8")
    row = next(line for line in made.splitlines() if line.startswith("| xquad/de-en | dense "))
    figure = float(row.split("|")[4])

    def expect(value: float) -> None:
        page.write_text(made.replace(row, row.replace(f"{figure:.4f}", f"{value:.4f}", 1)), encoding="utf-8")

    expect(figure + 0.01)
    assert splare("experiment", "check", "pairs", page).status == 0
    expect(figure + 0.0101)
    differs = splare("experiment", "check", "pairs", page)
    assert differs.status == 1
    measure = row.split("|")[3].strip()
    assert f"{measure} of dense on xquad/de-en is {figure:.4f}, and {figure + 0.0101:.4f} is expected" in differs.out
    again = splare("experiment", "page", "pairs", "pairs.yaml", "-o", page)
    assert again.status == 1 and "1 of the figures differ" in again.out
    assert read_page(page).expected["xquad/de-en", "dense", measure] == pytest.approx(figure + 0.0101)
    assert f"{figure:.4f} |" in page.read_text(encoding="utf-8") and read_page(page).tolerance == 0.01
    assert splare("experiment", "page", "pairs", "pairs.yaml", "-o", page, "--renew").status == 0
    assert read_page(page).expected["xquad/de-en", "dense", measure] == figure


def test_one_collection_alone_is_checked_alone(splare, here):
    splare("experiment", "page", "pairs", "pairs.yaml", "-o", "pairs.md")
    run = ["experiment", "run", "pairs.yaml", "-o", "one", "--collection"]
    assert splare(*run, "xquad/en-de").status == 0
    assert {names[0] for names in read_results("one").means()} == {"xquad/en-de"}
    assert splare("experiment", "check", "one", "pairs.md").status == 0
    refused = splare(*run, "scifact")
    assert refused.status == 2
    assert "--collection names 'scifact', which is not a collection; there are xquad/en-en, xquad" in refused.err
    refused = splare("experiment", "page", "one", "pairs.yaml", "-o", "one.md")
    assert refused.status == 2 and "was run with other settings than pairs.yaml has; run it again" in refused.err
    assert not Path("one.md").exists()


def test_what_cannot_be_checked_is_refused(splare, here):
    splare("experiment", "page", "pairs", "pairs.yaml", "-o", "pairs.md")

    def refusal(*words: object) -> str:
        refused = splare("experiment", *words)
        assert refused.status == 2
        return " ".join(refused.err.split())

    assert "cannot read the page none.md: No such file" in refusal("check", "pairs", "none.md")
    Path("notes.md").write_text("| a | b |", encoding="utf-8")
    assert "notes.md is not a reproduction page" in refusal("check", "pairs", "notes.md")
    assert "notes.md is not a reproduction page" in refusal("page", "pairs", "pairs.yaml", "-o", "notes.md")
    text = Path("pairs.md").read_text(encoding="utf-8")
    Path("other.md").write_text(text.replace("xquad/", "other/"), encoding="utf-8")
    assert "has no figure of xquad/en-en, xquad/de-en, xquad/en-de; it is about other/" in refusal(
        "check", "pairs", "other.md"
    )
    Path("more.md").write_text(text.replace("| dense ", "| bm25  "), encoding="utf-8")
    assert "the experiment has no nDCG@10 of bm25 on xquad/en-en, which the page expects" in refusal(
        "check", "pairs", "more.md"
    )
    assert "holds no experiment; make one" in refusal("check", "nowhere", "pairs.md")


def test_plots(splare, here):
    drawn = splare("experiment", "show", "pairs", "--plots", "plots")
    assert drawn.status == 0, drawn.err
    files = sorted(path.name for path in (here / "plots").iterdir())
    names = [
        f"{kind}-{measure}" for kind in ("costs", "effectiveness", "languages") for measure in ("RR@10", "nDCG@10")
    ]
    assert files == [f"{name}{ending}" for name in names for ending in (".pdf", ".png")]
    first = {name: (here / "plots" / name).read_bytes() for name in files}
    splare("experiment", "show", "pairs", "--plots", "plots")
    assert first == {name: (here / "plots" / name).read_bytes() for name in files}


def test_intervals_are_those_of_the_mean():
    values = np.random.default_rng(0).random(400)
    low, high = interval(values, seed=1)
    error = values.std() / 20
    assert (values.mean() - low, high - values.mean()) == pytest.approx((1.96 * error, 1.96 * error), rel=0.1)
    assert interval(values, seed=1) == (low, high) and interval(np.ones(5), seed=1) == (1, 1)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_of_the_project_is_that_of_its_config(path):
    text = path.read_text(encoding="utf-8")
    (config,) = re.findall(r"^The config, `(.*)`:$", text, re.MULTILINE)
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert shown == (ROOT / config).read_text(encoding="utf-8")
    settings = ExperimentConfig.from_yaml(ROOT / config)
    systems, collections = ([each.name for each in group] for group in (settings.systems, settings.collections))
    expected = read_page(path).expected
    assert expected.keys() == {
        (collection, system, measure)
        for collection in collections
        for system in systems
        for measure in settings.measures
    }
    assert len(blocks(path)) == 1 + (len(collections) > 1)
    for block in blocks(path):
        check(block)
    for page in ("index.md", "experiments.md"):
        assert f"](reproductions/{path.name})" in (ROOT / "docs" / page).read_text(encoding="utf-8")


@pytest.mark.java
@pytest.mark.model
@pytest.mark.slow
def test_the_commands_of_the_smallest_page_give_what_it_expects(tmp_path):
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    # The last command ends with 1 if a figure differs by more than the page allows.
    assert run_pages("docs/reproductions/quick.md", folder=tmp_path, data=ROOT / "examples" / "data") == [2]
    record: dict[str, Any] = json.loads((tmp_path / "quick" / "record.json").read_text(encoding="utf-8"))
    assert len(record["runs"]) == 6


def test_a_page_that_is_not_one():
    with pytest.raises(InputError, match="is not a reproduction page"):
        read_page(ROOT / "docs" / "experiments.md")
