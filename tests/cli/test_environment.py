"""The program as a process: other locales, pipes of any width, and ``python -m splare_plugins``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from splare_plugins import __version__
from splare_plugins.corpus import read_run
from splare_plugins.machine.java import utf8_locale

ROOT = Path(__file__).parents[2]
LOCALE = ("LC_ALL", "LC_CTYPE", "LANG", "PYTHONUTF8", "PYTHONIOENCODING")


# What the console script does, for one command after another: importing torch takes longer than any of them.
COMMANDS = """
import sys
from splare_plugins.cli.app import main

command = []
for word in sys.argv[1:]:
    if word != "--then":
        command.append(word)
        continue
    try:
        main(command)
    except SystemExit as stop:
        for stream in (sys.stdout, sys.stderr):
            stream.write(f"\\x1e{stop.code or 0}\\x1e")
            stream.flush()
    command = []
"""


def run(folder: Path, *words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """``python -m splare_plugins`` in ``folder``, in the environment of here without its locale."""
    return _python(folder, "-m", "splare_plugins", *words, **variables)


def run_all(folder: Path, *commands: Sequence[object], **variables: str) -> list[subprocess.CompletedProcess[str]]:
    """Several commands in one process of that kind, which writes to pipes; what each said."""
    words = [word for command in commands for word in (*command, "--then")]
    done = _python(folder, "-c", COMMANDS, *words, **variables)
    assert done.returncode == 0, done.stderr
    out, err = (stream.split("\x1e") for stream in (done.stdout, done.stderr))
    told = [
        subprocess.CompletedProcess(command, int(status), *said)
        for command, status, *said in zip(commands, out[1::2], out[::2], err[::2], strict=False)
    ]
    assert len(told) == len(commands), done.stderr
    return told


def _python(folder: Path, *words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in LOCALE}
    path = os.pathsep.join([str(ROOT), str(ROOT / "opensearch")])
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env={**kept, "PYTHONPATH": path, **variables},
        capture_output=True,
        encoding="utf-8",
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "variables"),
    [
        ("memory", {"LC_ALL": "C"}),
        pytest.param("lucene", {"LC_ALL": "C"}, marks=pytest.mark.java),
        pytest.param("terrier", {}, marks=pytest.mark.java),  # as in a container
    ],
)
def test_a_folder_with_an_umlaut_in_an_ascii_locale(tiny_folder, tmp_path, engine, variables):
    here = tmp_path / "Büro 中"
    (here / "Köln").mkdir(parents=True)
    (here / "Köln" / "größe.jsonl").write_text('{"_id": "ä1", "text": "one fox"}\n{"_id": "d2", "text": "two"}\n')
    (here / "fragen.tsv").write_text("ö1\tone fox\n", encoding="utf-8")
    (here / "urteile").write_text("ö1 0 ä1 1\n", encoding="utf-8")
    *done, missing = run_all(
        here,
        ["index", engine, "Köln", "-o", "übersicht", "-M", tiny_folder],
        ["search", "übersicht", "fragen.tsv", "-o", "läufe"],
        ["evaluate", "urteile", "läufe", "-m", "RR@10", "--json"],
        ["encode", "nichts-da-ß.jsonl", "-o", "x", "-M", tiny_folder],
        **variables,
    )
    for each in done:
        assert each.returncode == 0, each.stderr
    assert json.loads(done[-1].stdout)["RR@10"] == 1
    assert read_run(here / "läufe")["ö1"].docids[0] == "ä1"
    assert (missing.returncode, missing.stderr) == (2, "error: nichts-da-ß.jsonl does not exist\n")


@pytest.mark.parametrize(
    ("variables", "changed"),
    [
        ({}, True),
        ({"LANG": "C"}, True),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "POSIX"}, True),
        ({"LC_ALL": "", "LANG": "de_DE.UTF-8"}, False),
        ({"LC_ALL": "C.UTF-8"}, False),
        ({"LC_CTYPE": "de_DE.ISO-8859-1", "LANG": "C"}, False),
    ],
)
def test_the_locale_of_java(monkeypatch, variables, changed):
    for name in LOCALE:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert utf8_locale() == ({"LC_ALL": "C.UTF-8"} if changed else {})


@pytest.mark.slow
def test_a_pipe_has_no_width(tiny_folder, tmp_path):
    name = "long-name-" * 15
    (tmp_path / f"{name}.jsonl").write_text('{"_id": "d1", "text": "one fox"}\n')
    narrow = {"COLUMNS": "20", "LINES": "5", "TERM": "dumb"}
    word = "fox" * 40
    (tmp_path / "odd.tsv").write_text("no columns here\n")
    made, shown, table, listed, refused = run_all(
        tmp_path,
        ["index", "memory", f"{name}.jsonl", "-o", name, "-M", tiny_folder],
        ["inspect", name],
        ["explain", word, f"the {word}", "-M", tiny_folder, "--top", 2],
        ["sae", "list"],
        ["encode", tmp_path / "odd.tsv", "-o", "x", "-M", tiny_folder],
        **narrow,
    )
    assert made.stdout.splitlines()[0] == f"indexed into {name}"
    assert shown.stdout.splitlines()[0] == f"{name} is an index of the engine memory"
    assert "…" not in table.stdout and f" {word} " in table.stdout
    assert "fired in the document on" in table.stdout
    assert any(len(line) > 80 and "splare sae import" in line for line in listed.stdout.splitlines())
    assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1


@pytest.mark.slow
def test_the_package_is_the_program(tmp_path):
    assert run(tmp_path, "--version").stdout == f"splare {__version__}\n"
    assert "Usage: splare [OPTIONS]" in run(tmp_path, "--help").stdout
    failed = run(tmp_path, "inspect", "nowhere")
    assert (failed.returncode, failed.stderr.startswith("error: there is no model folder 'nowhere'")) == (2, True)
