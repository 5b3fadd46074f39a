"""An index is there as a whole or not at all."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyterrier_splare import SplareIndex
from pyterrier_splare.indexes.place import BuildingPlace
from splare_plugins.errors import InputError
from tests.engines.test_full_disk import small_disk
from tests.pyserini_splare.conftest import ROOT
from tests.wheels import needs_seismic

from .kinds import KINDS, assert_exact, documents_of, make, queries_of, random_impacts

DOCUMENTS, QUERIES = random_impacts(60, 30), random_impacts(8, 20, seed=1)

BUILD = """
import sys, time
from pyterrier_splare import SplareIndex
def documents():
    for number in range(10):
        yield {"docno": str(number), "toks": {"f1": 1}}
    print("halfway", flush=True)
    time.sleep(60)
getattr(SplareIndex, sys.argv[1])(sys.argv[2]).indexer(batch_size=2, overwrite=True).index(documents())
"""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def failing(error: type[BaseException]) -> Iterator[dict[str, Any]]:
    yield from documents_of(DOCUMENTS).to_dict("records")
    raise error("in the middle")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failing_corpus_leaves_nothing(tmp_path: Path, kind: str, error: type[BaseException]) -> None:
    with pytest.raises(error):
        make(kind, tmp_path / "index").indexer(batch_size=7).index(failing(error))
    assert list(tmp_path.iterdir()) == []


def test_a_failing_corpus_leaves_the_old_index(tmp_path: Path, kind: str) -> None:
    index = make(kind, tmp_path / "index").index(documents_of(DOCUMENTS))
    with pytest.raises(RuntimeError):
        index.indexer(batch_size=7, overwrite=True).index(failing(RuntimeError))
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    assert len(make(kind, tmp_path / "index")) == 60


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pisa", pytest.param("seismic", marks=needs_seismic)])
def test_a_killed_build_is_cleared_by_the_next(tmp_path: Path, kind: str) -> None:
    index = make(kind, tmp_path / "index").index(documents_of(DOCUMENTS))
    process = subprocess.Popen(
        [sys.executable, "-c", BUILD, kind, str(tmp_path / "index")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "halfway\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert len(list(tmp_path.iterdir())) == 2
    assert len(make(kind, tmp_path / "index")) == 60
    index.indexer(overwrite=True).index(documents_of(DOCUMENTS))
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


@pytest.mark.slow
def test_an_interrupted_build_leaves_the_old_index(tmp_path: Path) -> None:
    make("pisa", tmp_path / "index").index(documents_of(DOCUMENTS))
    process = subprocess.Popen(
        [sys.executable, "-c", BUILD, "pisa", str(tmp_path / "index")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait() != 0
    process.stdout.close()
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


@pytest.mark.slow
def test_a_build_killed_between_the_two_renames(tmp_path: Path) -> None:
    """The one moment at which nothing stands at the place: the next build puts the old index back first."""
    index = SplareIndex.pisa(tmp_path / "index").index(documents_of(DOCUMENTS))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "index").rename(tmp_path / f".index.{socket.gethostname()}-{dead.pid}-0123abcd.old")
    with pytest.raises(InputError, match="exists already"):
        BuildingPlace(tmp_path / "index", overwrite=False)
    assert_exact(index.retriever()(queries_of(QUERIES)), QUERIES, DOCUMENTS, 1000)
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_what_others_are_building_is_left_alone(tmp_path: Path) -> None:
    own = tmp_path / f".index.{socket.gethostname()}-{os.getppid()}-0123abcd.building"
    elsewhere = tmp_path / ".index.another-machine-1-0123abcd.building"
    for folder in (own, elsewhere):
        folder.mkdir()
    BuildingPlace(tmp_path / "index", overwrite=False).discard()
    assert sorted(tmp_path.iterdir()) == sorted([own, elsewhere])


def test_a_place_that_is_taken_meanwhile(tmp_path: Path) -> None:
    place = BuildingPlace(tmp_path / "index", overwrite=False)
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not an index made here"):
        place.publish()
    assert (tmp_path / "index" / "thesis.tex").exists()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*file"):
        SplareIndex.pisa(tmp_path / "file" / "index").index(documents_of(DOCUMENTS))


@pytest.mark.parametrize("kind", ["pisa", pytest.param("seismic", marks=needs_seismic), "memory"])
def test_a_full_disk(tmp_path: Path, kind: str) -> None:
    many = documents_of(random_impacts(300, 100))
    with pytest.raises(InputError, match=r"cannot (be written|write)"), small_disk():
        make(kind, tmp_path / "index").index(many)
    assert list(tmp_path.iterdir()) == []
