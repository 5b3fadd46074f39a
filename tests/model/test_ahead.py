"""What a GPU does while the processor works changes neither vectors nor their order, nor where an error stands."""

from __future__ import annotations

import threading

import pytest

from splare_plugins.errors import SplareError
from splare_plugins.model import encoder, running
from tests.tiny import TEXTS, tiny_model

MANY = [f"{text} {number}" for number, text in enumerate(TEXTS * 6)]


@pytest.fixture
def as_on_cuda(monkeypatch):
    monkeypatch.setattr(encoder, "_TOKENISED_AHEAD", ("cpu",))


def test_a_stream_that_tokenises_ahead_is_the_same_stream(monkeypatch):
    usual = list(tiny_model().stream_documents(MANY, window=7))
    monkeypatch.setattr(encoder, "_TOKENISED_AHEAD", ("cpu",))
    model = tiny_model()
    threads, tokenize = set(), model._tokenize
    monkeypatch.setattr(
        model, "_tokenize", lambda *given: (threads.add(threading.current_thread()), tokenize(*given))[1]
    )
    windows = list(model.stream_documents(iter(MANY), window=7))
    assert threads and threading.main_thread() not in threads
    for mine, theirs in zip(windows, usual, strict=True):
        assert mine.items == theirs.items
        assert (mine.truncated == theirs.truncated).all()
        assert (mine.weights != theirs.weights).nnz == 0


def test_queries_between_windows(as_on_cuda):
    """The tokenizer is set to another length and prompt for them while it makes the next window."""
    model = tiny_model()
    wanted = model.encode_queries(TEXTS)
    for _ in model.stream_documents(MANY * 5, window=3):
        assert (model.encode_queries(TEXTS) != wanted).nnz == 0


def test_an_error_of_the_reader_comes_behind_the_windows_before_it(as_on_cuda):
    def broken():
        yield from MANY[:6]
        raise OSError("the disk is gone")

    stream = tiny_model().stream_documents(broken(), window=3)
    assert [len(next(stream).items) for _ in range(2)] == [3, 3]
    with pytest.raises(OSError, match="the disk is gone"):
        next(stream)


def test_a_stream_that_is_given_up_ends_its_thread(as_on_cuda):
    before = threading.active_count()
    stream = tiny_model().stream_documents(MANY, window=2)
    next(stream)
    stream.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("ahead", [0, 1, 5])
@pytest.mark.parametrize("top_k", ["model", None])
def test_batches_ahead_of_their_results(monkeypatch, ahead, top_k):
    model = tiny_model()
    wanted = model.encode_documents(MANY, tokens_per_batch=100, top_k=top_k)
    monkeypatch.setattr(running, "_AHEAD", ahead)
    assert (model.encode_documents(MANY, tokens_per_batch=100, top_k=top_k) != wanted).nnz == 0


def test_the_text_that_is_not_finite_is_named(monkeypatch):
    model = tiny_model()
    weights = model._weights
    monkeypatch.setattr(model, "_weights", lambda batch, side: weights(batch, side) / (len(batch[0].ids) != 10))
    with pytest.raises(SplareError, match=r"the vector of text 3 \('12345'\)"):
        model.encode_documents(["a", "ab", "abc", "12345", "123456"], tokens_per_batch=1)
