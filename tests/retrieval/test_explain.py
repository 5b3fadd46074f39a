from __future__ import annotations

import pytest

from splare_plugins.retrieval.explain import _word, explain

QUERY = "the quick fox"
DOCUMENT = "A quick brown fox jumps over the lazy dog"


def test_shares_add_up_to_the_integer_dot_product(tiny):
    explanation = explain(tiny, QUERY, DOCUMENT, top=10_000)
    quantizer = tiny.quantizer
    one = quantizer.queries(tiny.encode_queries([QUERY])).impacts
    other = quantizer.documents(tiny.encode_documents([DOCUMENT])).impacts
    assert explanation.score == int((one @ other.T).toarray()[0, 0])
    assert sum(match.contribution for match in explanation.matches) == explanation.score
    assert sum(match.share for match in explanation.matches) == pytest.approx(1)
    assert len(explanation.matches) == explanation.shared_latents
    assert (explanation.query_latents, explanation.document_latents) == (one.nnz, other.nnz)


def test_matches_come_largest_first_and_are_cut(tiny):
    contributions = [match.contribution for match in explain(tiny, QUERY, DOCUMENT, top=5).matches]
    assert len(contributions) == 5
    assert contributions == sorted(contributions, reverse=True)


def test_words_are_words_of_the_texts(tiny):
    for match in explain(tiny, QUERY, DOCUMENT).matches:
        assert match.query_word in QUERY
        assert match.document_word in DOCUMENT


def test_texts_that_share_nothing(tiny):
    explanation = explain(tiny, "", DOCUMENT)
    assert explanation.score == 0
    assert explanation.matches == []


@pytest.mark.parametrize(
    ("text", "start", "end", "word"),
    [
        ("the retrieval model", 6, 9, "retrieval"),
        ("the retrieval model", 3, 7, "retrieval"),
        ("don't stop", 4, 5, "don't"),
        ("首都是北京", 3, 5, "北京"),
        ("a (b) c", 2, 3, "("),
    ],
)
def test_tokens_widen_to_words_where_words_are_written_apart(text, start, end, word):
    assert _word(text, start, end) == word
