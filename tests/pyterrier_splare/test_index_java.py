"""Java and no Java in one process, in whatever order it is started."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_splare import SplareIndex
from pyterrier_splare.terrier_java import downloaded_jars
from tests.pyserini_splare.conftest import python

from .kinds import assert_exact, documents_of, queries_of, random_impacts

DOCUMENTS, QUERIES = random_impacts(60, 30), random_impacts(8, 20, seed=1)

COMMON = """
import sys
import pandas as pd
from pyterrier_splare import SplareIndex
folder = sys.argv[1]

def check(kind):
    documents = [{"docno": "a", "toks": {"f1": 3, "f2": 4}}, {"docno": "b", "toks": {"f2": 200}}]
    index = getattr(SplareIndex, kind)(f"{folder}/{kind}").index(documents)
    found = index.retriever()(pd.DataFrame({"qid": ["q"], "query_toks": [{"f1": 1, "f2": 5}]}))
    assert found["score"].tolist() == [1000, 23], found
    return index

def stock_terrier():
    import pyterrier as pt
    reference = pt.IterDictIndexer(f"{folder}/stock").index([{"docno": "a", "text": "hello world"}])
    assert pt.terrier.Retriever(reference).search("hello")["docno"].tolist() == ["a"]

def stock_lucene():
    from pyserini_splare import start_jvm
    start_jvm()
"""


@pytest.mark.slow
def test_pisa_seismic_and_memory_never_start_java(tmp_path: Path) -> None:
    done = python(
        COMMON
        + """
for kind in ("pisa", "seismic", "memory"):
    check(kind)
import pyterrier as pt
assert not pt.java.started()
assert "jnius" not in sys.modules and "torch" not in sys.modules
print("done")
""",
        str(tmp_path),
        env={**os.environ, "JAVA_HOME": str(tmp_path / "no java")},
    )
    assert done.stdout == "done\n", done.stderr


ORDERS = {
    "lucene first": "check('anserini'); check('terrier'); stock_terrier()",
    "terrier first": "check('pisa'); check('terrier'); check('seismic'); check('anserini')",
    "only started": "stock_lucene(); stock_terrier(); check('terrier'); check('anserini')",
}


@pytest.mark.java
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_orders(order: str, tmp_path: Path) -> None:
    done = python(COMMON + order + "\nassert 'pyserini.search' not in sys.modules\nprint('done')", str(tmp_path))
    assert done.stdout.splitlines()[-1:] == ["done"], done.stderr


@pytest.mark.java
@pytest.mark.slow
def test_pyterrier_first(tmp_path: Path) -> None:
    """PyTerrier starts Java itself, on a machine that has none but pip's, and imports all of pyserini."""
    environment = {name: value for name, value in os.environ.items() if name not in ("JAVA_HOME", "OPENAI_API_KEY")}
    code = COMMON + "stock_terrier(); check('anserini'); check('terrier'); print('done')"
    done = python(code, str(tmp_path), env={**environment, "PATH": ""})
    assert done.stdout.splitlines()[-1:] == ["done"], done.stderr


@pytest.mark.java
def test_terrier_that_was_not_there_when_java_started(tmp_path: Path) -> None:
    code = (
        COMMON
        + """
from splare_plugins.errors import SplareError
check("anserini")
for attempt in (lambda: check("terrier"), stock_terrier):
    try:
        attempt()
    except SplareError as error:
        print(error)
check("pisa")
"""
    )
    done = python(code, str(tmp_path), env={**os.environ, "PYTERRIER_HOME": str(tmp_path / "empty")})
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    assert all("call pyterrier_splare.start_terrier() in a new process" in line for line in lines)


@pytest.mark.slow
def test_jars_without_a_network(tmp_path: Path) -> None:
    code = """
import urllib.request
from pyterrier_splare.terrier_java import terrier_jars
def refuse(*_, **__):
    raise urllib.error.URLError("no network")
urllib.request.urlopen = refuse
terrier_jars()
"""
    done = python(code, env={**os.environ, "PYTERRIER_HOME": str(tmp_path)})
    assert "MissingPartError: Terrier's jars are not on this machine and cannot be fetched" in done.stderr


def test_the_newest_jars_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTERRIER_HOME", str(tmp_path))
    monkeypatch.delenv("TERRIER_VERSION", raising=False)
    monkeypatch.delenv("TERRIER_HELPER_VERSION", raising=False)
    assert downloaded_jars() == []
    for version in ("5.9", "5.11"):
        (tmp_path / f"terrier-assemblies-{version}-jar-with-dependencies.jar").touch()
    assert downloaded_jars() == []
    (tmp_path / "terrier-python-helper-0.0.8.jar").touch()
    assert [Path(jar).name for jar in downloaded_jars()] == [
        "terrier-assemblies-5.11-jar-with-dependencies.jar",
        "terrier-python-helper-0.0.8.jar",
    ]
    monkeypatch.setenv("TERRIER_VERSION", "5.9")
    assert "5.9" in downloaded_jars()[0]


@pytest.mark.java
def test_terrier_scores_are_multiplied_back(tmp_path: Path) -> None:
    index = SplareIndex.terrier(tmp_path / "index").index(documents_of(DOCUMENTS))
    ours = index.retriever()(queries_of(QUERIES))
    assert_exact(ours, QUERIES, DOCUMENTS, 1000)
    stock = pt.terrier.Retriever(index.native(), wmodel="Tf")(queries_of(QUERIES[:1]))
    largest = max(stock["query_toks"].iloc[0].values())
    first = ours[ours["qid"] == "q0"]
    assert stock["docno"].tolist() == first["docno"].tolist()
    assert stock["score"].tolist() == pytest.approx((first["score"] / largest).tolist())
    assert largest > 1


@pytest.mark.java
def test_terrier_docnos_of_any_length(tmp_path: Path) -> None:
    docnos = ["a" * 2000, "a" * 1999, "文書" * 300, "short"]
    documents = [{"docno": docno, "toks": {"f1": number + 1}} for number, docno in enumerate(docnos)]
    index = SplareIndex.terrier(tmp_path / "index").index(documents)
    found = index.retriever()(pd.DataFrame({"qid": ["q"], "query_toks": [{"f1": 1}]}))
    assert found["docno"].tolist() == docnos[::-1]


@pytest.mark.java
@pytest.mark.slow
def test_pyterrier_anserini_searches_ours_unmodified(tmp_path: Path) -> None:
    index = SplareIndex.anserini(tmp_path / "index").index(documents_of(DOCUMENTS))
    queries = queries_of(QUERIES)
    ours = index.retriever(num_results=30)(queries)
    theirs = index.native().impact(num_results=30)(queries)
    assert theirs["score"].round().tolist() == ours["score"].tolist()
    assert theirs["docno"].tolist() == ours["docno"].tolist()


OPTIONS = """
import sys
folder, documents = sys.argv[1], [{"docno": "a", "toks": {"f1": 5}}]
import pyterrier as pt
from pyterrier_splare import SplareIndex, start_terrier
from pyserini_splare import start_jvm
from splare_plugins.errors import SplareError

def tell():
    pt.java.set_memory_limit(300)
    pt.java.add_option("-Dtold=yes")
    pt.java.add_jar("/somewhere/else.jar")

def facts():
    import jnius
    system = jnius.autoclass("java.lang.System")
    heap = jnius.autoclass("java.lang.Runtime").getRuntime().maxMemory() >> 20
    return heap, system.getProperty("told"), "/somewhere/else.jar" in system.getProperty("java.class.path")
"""


@pytest.mark.java
@pytest.mark.parametrize(
    ("code", "printed"),
    [
        ("tell(); SplareIndex.terrier(folder + '/a').index(documents); print(facts())", "(300, 'yes', True)"),
        ("tell(); SplareIndex.anserini(folder + '/b').index(documents); print(facts())", "(300, 'yes', True)"),
        ("tell(); pt.java.init(); print(facts())", "(300, 'yes', True)"),
        ("tell(); start_terrier('400m'); print(facts())", "(400, 'yes', True)"),
        ("start_terrier(); print(facts())", "(2048, None, False)"),
        (
            "import jnius_config as told; told.add_options('-Xmx350m'); start_jvm(); print(facts())",
            "(350, None, False)",
        ),
    ],
)
def test_what_java_was_told_before_it_starts_holds(tmp_path: Path, code: str, printed: str) -> None:
    assert python(OPTIONS + code, str(tmp_path)).stdout.strip() == printed


@pytest.mark.java
def test_what_java_is_told_too_late_is_refused(tmp_path: Path) -> None:
    code = """
start_jvm("600m")
start_jvm()
start_jvm("600m")
for late in (lambda: start_jvm("700m"), lambda: (tell(), start_terrier())):
    try:
        late()
    except SplareError as error:
        print(error)
pt.java.configure(mem=None, options=[], jars=[])
start_terrier("600m")
print(facts()[0])
"""
    lines = python(OPTIONS + code, str(tmp_path)).stdout.splitlines()
    refused = "Java runs in this process already, without {}: ask for that before anything starts Java"
    assert lines == [refused.format("-Xmx700m"), refused.format("-Xmx300m"), "600"]


def test_a_version_of_terrier_and_a_java_that_were_named(tmp_path: Path) -> None:
    code = """
for late in (lambda: pt.terrier.set_version("5.0"), lambda: pt.java.set_java_home("/no/java")):
    late()
    try:
        start_terrier()
    except SplareError as error:
        print(error)
    pt.terrier.set_version(None)
"""
    first, second = python(OPTIONS + code, str(tmp_path)).stdout.splitlines()
    assert "Terrier's jars are not on this machine" in first
    assert "Java 21 or newer is needed and was not found" in second
