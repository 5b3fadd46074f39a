"""What the project says about itself is true: its version, its targets, its changelog."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import splare_plugins

ROOT = Path(__file__).parents[1]
# Settings of a make that runs these tests would reach the one that they start.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "PYTHON")}


def make(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env={**ENVIRONMENT, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def listed_targets() -> list[str]:
    done = make("help")
    assert done.returncode == 0, done.stderr
    names = re.findall(r"^  make ((?:\S+ )+) ", done.stdout, re.MULTILINE)
    return [name for line in names for name in line.split()]


def test_one_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == splare_plugins.__version__


def test_help_lists_every_target():
    targets = listed_targets()
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert phony is not None
    assert sorted(targets) == sorted(phony.group(1).split())


def test_every_target_exists(tmp_path):
    # An environment of its own, so that nothing here is taken for made.
    done = make("--dry-run", f"VENV={tmp_path}/venv", *listed_targets())
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", ["demo", "test"])
def test_a_missing_python_is_one_sentence(target, tmp_path):
    done = make(target, "PYTHON=/nonexistent/python", f"VENV={tmp_path}/venv")
    assert done.returncode != 0
    sentence, *rest = done.stderr.splitlines()
    assert re.search(r"needs Python .*3\.11 3\.12 3\.13.*/nonexistent/python; install one, or name it", sentence)
    assert all(line.startswith("make:") for line in rest)
    assert list(tmp_path.iterdir()) == []


def test_a_python_that_does_not_work_is_passed_over(tmp_path):
    """As pyenv's shims, which stand on the path for versions that are not in use."""
    (tmp_path / "bin").mkdir()
    for version in ("3.11", "3.12", "3.13"):
        python = tmp_path / "bin" / f"python{version}"
        python.write_text(f"#!/bin/sh\necho {version} >> {tmp_path}/asked\nexit {127 if version != '3.12' else 0}\n")
        python.chmod(0o755)
    make(f"{tmp_path}/venv/.uv", f"VENV={tmp_path}/venv", PATH=f"{tmp_path}/bin:/usr/bin:/bin")
    # The last call would make the environment.
    assert (tmp_path / "asked").read_text(encoding="utf-8").split() == ["3.11", "3.12", "3.12"]


def test_the_changelog_has_a_place_for_what_is_next():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE)[0] == "Unreleased"
    unreleased = text.split("\n## ")[1]
    groups = re.findall(r"^### (.*)$", unreleased, re.MULTILINE)
    assert groups
    assert set(groups) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_map_of_contributing_is_true():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = re.search(r"^\| `splare_plugins/` .*?\n\n", text, re.MULTILINE | re.DOTALL)
    assert table is not None
    cells = [row.split("|")[1] for row in table.group().splitlines()[2:] if row]
    rooms = [name for cell in cells for name in re.findall(r"`(\w+)(?:/|\.py)`", cell)]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    assert rooms == [name for layer in reversed(layers) for name in layer.split(" | ")]
    for path in re.findall(r"`((?:splare_plugins|pyserini_splare|tests|docs|opensearch)/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path
