"""Calls into Java from a second thread are refused."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyserini_splare import LuceneSearcher, LuceneWriter, ThreadError
from pyserini_splare.threads import ThreadClaim

from .conftest import impacts_of, write


def elsewhere(call: Callable[[], Any]) -> BaseException | None:
    """What ``call`` raises in another thread."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


@pytest.mark.java
def test_a_writer_refuses_other_threads(jvm: None, tmp_path: Path) -> None:
    with LuceneWriter(tmp_path / "index") as writer:
        for call in (lambda: writer.add(["x"], impacts_of({1: 1})), writer.commit, writer.abort):
            assert isinstance(elsewhere(call), ThreadError)
        writer.add(["d"], impacts_of({1: 1}))
    with LuceneSearcher(tmp_path / "index") as searcher:
        assert searcher.num_docs == 1


@pytest.mark.java
def test_a_searcher_refuses_other_threads(jvm: None, tmp_path: Path) -> None:
    write(tmp_path / "index", impacts_of({1: 1}))
    with LuceneSearcher(tmp_path / "index") as searcher:
        for call in (
            lambda: searcher.search(impacts_of({1: 1}), 1),
            lambda: searcher.document("d0"),
            lambda: searcher.vector("d0"),
            searcher.close,
        ):
            assert isinstance(elsewhere(call), ThreadError)
        assert isinstance(elsewhere(lambda: LuceneSearcher(tmp_path / "index")), ThreadError)
        assert isinstance(elsewhere(lambda: LuceneWriter(tmp_path / "other")), ThreadError)
    assert elsewhere(lambda: LuceneSearcher(tmp_path / "index").close()) is None


def test_claims_end_with_their_owner_or_their_thread() -> None:
    class Owner:
        claim: ThreadClaim

    def claim() -> Owner:
        owner = Owner()
        owner.claim = ThreadClaim(owner, "it")
        return owner

    first, second = claim(), claim()
    assert isinstance(elsewhere(claim), ThreadError)
    first.claim.release()
    first.claim.release()
    assert isinstance(elsewhere(claim), ThreadError)
    del second
    gc.collect()
    kept: list[Owner] = []
    assert elsewhere(lambda: kept.append(claim())) is None
    # That thread is gone, so its claim counts no longer.
    claim().claim.release()
