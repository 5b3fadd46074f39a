"""``splare tune`` and ``splare search --setting``."""

from __future__ import annotations

import shlex

import pytest

from splare_plugins.corpus import read_run


@pytest.fixture
def index(splare, tiny_folder, small_data, tmp_path):
    built = splare("index", "pisa", small_data / "xquad" / "en", "-o", tmp_path / "an index", "-M", tiny_folder)
    assert built.status == 0, built.err
    return tmp_path / "an index"


def test_the_command_that_it_prints_gives_the_run_of_these_settings(splare, index, small_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    queries = small_data / "xquad" / "en"
    tuned = splare("tune", index, queries, "--recall", 1, "--sample", 7, "--cut", 3)
    assert tuned.status == 0, tuned.err
    command = shlex.split(tuned.out.splitlines()[-1].removeprefix("next: "))
    assert command[:3] == ["splare", "search", str(index)]
    assert splare(*command[1:]).status == 0
    assert splare("search", index, queries, "-o", tmp_path / "plain.run").status == 0
    scores = [
        {qid: dict(zip(*hits, strict=True)) for qid, hits in read_run(tmp_path / name).items()}
        for name in ("tuned.run", "plain.run")
    ]
    if "--top-k" not in command:
        assert scores[0] == scores[1]


def test_all_that_was_tried_is_in_the_json(splare, index, small_data):
    tuned = splare("tune", index, small_data / "xquad" / "en", "--sample", 7, "--cut", 3, "--json")
    facts = tuned.facts
    assert facts["queries"] <= 7
    assert facts["best"] in facts["trials"]
    assert {trial["top_k"] for trial in facts["trials"]} == {None, 3}
    assert {trial["settings"]["algorithm"] for trial in facts["trials"]} > {"wand", "maxscore"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--setting", "query_cut"], "takes NAME=VALUE, such as query_cut=20, not 'query_cut'"),
        (["--setting", "=3"], "takes NAME=VALUE"),
        (["--setting", "threads=1", "--setting", "threads=2"], "--setting threads is given twice"),
        (["--setting", "speed=9"], "searching with pisa has no setting 'speed'; it has threads, algorithm"),
        (["--setting", "algorithm=guess"], "PISA has no algorithm 'guess'"),
        (["--setting", "threads=2.5"], "the number of threads must be an integer, not 2.5"),
    ],
)
def test_settings_that_make_no_sense(splare, index, small_data, tmp_path, options, message):
    searched = splare("search", index, small_data / "xquad" / "en", "-o", tmp_path / "run", *options)
    assert searched.status == 2
    assert message in searched.err
    assert not (tmp_path / "run").exists()


def test_a_share_is_from_0_to_1(splare, index, small_data):
    tuned = splare("tune", index, small_data / "xquad" / "en", "--recall", 99)
    assert (tuned.status, "--recall is a share from 0 to 1, not 99.0" in tuned.err) == (2, True)
