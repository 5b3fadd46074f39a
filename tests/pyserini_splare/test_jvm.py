"""How Java is started, and what happens when it cannot be."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from pyserini_splare import jvm as java
from splare_plugins.errors import MissingPartError, SplareError

from .conftest import python


@pytest.mark.java
def test_a_running_machine_is_adopted(jvm: None) -> None:
    java.start_jvm()
    with pytest.raises(SplareError, match=r"terrier\.jar"):
        java.start_jvm(extra_jars=["/somewhere/terrier.jar"])


@pytest.mark.java
def test_a_machine_without_anserini_is_refused() -> None:
    code = """
import os, jnius_config
from pyserini_splare.jvm import start_jvm
from splare_plugins.machine.java import find_java
os.environ["JAVA_HOME"] = str(find_java().home)
jnius_config.set_classpath("elsewhere.jar")
import jnius
from splare_plugins.errors import SplareError
try:
    start_jvm()
except SplareError as error:
    print(error)
"""
    assert "without Anserini's jar" in python(code).stdout


@pytest.mark.java
def test_starting_leaves_the_environment_and_ctrl_c_to_python() -> None:
    code = """
import os, signal, sys, time
os.environ.pop("JAVA_HOME", None)
from pyserini_splare import start_jvm
start_jvm(memory="256m")
assert "JAVA_HOME" not in os.environ
assert "torch" not in sys.modules and "pyserini" not in sys.modules
import jnius
print(jnius.autoclass("java.lang.Runtime").getRuntime().maxMemory() >> 20)
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = python(code)
    assert done.stdout.split() == ["256", "interrupted"]
    assert done.stderr == ""


@pytest.mark.slow
def test_importing_the_package_starts_neither_java_nor_torch() -> None:
    code = """
import sys
import pyserini_splare, pyserini_splare.engine, pyserini_splare.expansion, pyserini_splare.vectors
assert not {"torch", "transformers", "jnius", "pyserini"} & set(sys.modules), set(sys.modules)
assert set(pyserini_splare.__all__) <= set(dir(pyserini_splare))
"""
    assert python(code).stderr == ""


@pytest.mark.java
@pytest.mark.parametrize("asked", [None, "debug"])
def test_java_tells_warnings_only_unless_asked(tmp_path: Path, asked: str | None) -> None:
    code = """
from pyserini_splare import start_jvm
start_jvm()
import jnius
logger = jnius.autoclass("org.apache.logging.log4j.LogManager").getLogger("io.anserini.index")
print(logger.getLevel().toString().lower())
"""
    if asked:
        config = tmp_path / "log4j2.xml"
        config.write_text(f'<Configuration><Loggers><Root level="{asked}"/></Loggers></Configuration>')
        option = f"-Dlog4j2.configurationFile={config}"
        code = f"import jnius_config; jnius_config.add_options({option!r})" + code
    assert python(code).stdout.split() == [asked or "warn"]


def test_without_pyserini_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANSERINI_CLASSPATH", str(tmp_path))
    with pytest.raises(MissingPartError, match="install pyserini again"):
        java._anserini_jar()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPartError, match=r"splare-plugins\[pyserini\]"):
        java._anserini_jar()


def test_modules_that_moved_answer_to_their_old_names(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyserini_splare import expansion

    for old in ("pyserini_splare.java", "pyserini_splare.feedback"):
        monkeypatch.delitem(sys.modules, old, raising=False)  # another test may have imported it
    with pytest.warns(DeprecationWarning, match=r"pyserini_splare\.java is pyserini_splare\.jvm now"):
        assert importlib.import_module("pyserini_splare.java") is java
    with pytest.warns(DeprecationWarning):
        assert importlib.import_module("pyserini_splare.feedback") is expansion


@pytest.mark.java
def test_a_pyserini_that_wants_the_network_to_be_imported() -> None:
    code = """
import sys
from urllib.error import URLError
from pyserini_splare import start_jvm
from splare_plugins.errors import MissingPartError

class Offline:
    def find_spec(self, name, *_):
        if name == "pyserini.encode":
            raise URLError("no route")

start_jvm()
sys.meta_path.insert(0, Offline())
try:
    from pyserini_splare import SplareQueryEncoder
except MissingPartError as error:
    print(error)
"""
    assert "(no route)" in python(code).stdout
