"""One explanation of a pair, of a ranking and of two documents, as JSON and as a page that stands alone."""

from __future__ import annotations

import json
import re
from copy import copy
from html.parser import HTMLParser

import pytest

from splare_plugins.errors import InputError
from splare_plugins.impacts import Quantizer, to_dicts
from splare_plugins.model.explanation import Comparison, Explainer, RankingExplanation, compare, explain
from splare_plugins.model.explanation.words import widen
from splare_plugins.steering import steer
from tests.tiny import random_table

QUERY = "the quick fox"
DOCUMENT = "A quick brown fox jumps over the lazy dog"
SCRIPT = "<script>alert(1)</script>"


def impacts(model, text, side):
    return model.quantizer.quantize(model.encode([text], side), side).impacts


def test_shares_add_up_to_the_integer_dot_product(tiny):
    told = explain(tiny, QUERY, DOCUMENT, top=10_000)
    one, other = impacts(tiny, QUERY, "query"), impacts(tiny, DOCUMENT, "document")
    assert told.score == int((one @ other.T).toarray()[0, 0])
    assert sum(match.contribution for match in told.matches) == told.score
    assert sum(match.share for match in told.matches) == pytest.approx(1)
    assert len(told.matches) == told.shared_latents
    assert (told.query_latents, told.document_latents) == (one.nnz, other.nnz)
    assert (told.query, told.document, told.docid) == (QUERY, DOCUMENT, None)


def test_matches_come_largest_first_and_are_cut(tiny):
    contributions = [match.contribution for match in explain(tiny, QUERY, DOCUMENT, top=5).matches]
    assert len(contributions) == 5
    assert contributions == sorted(contributions, reverse=True)


def test_what_is_missing_are_the_other_latents_of_the_query(tiny):
    told = explain(tiny, QUERY, DOCUMENT, top=10_000)
    one, other = impacts(tiny, QUERY, "query"), impacts(tiny, DOCUMENT, "document")
    missing = set(one.indices.tolist()) - set(other.indices.tolist())
    assert missing and {int(match.term[1:]) for match in told.missing} == missing
    values = dict(zip(one.indices.tolist(), one.data.tolist(), strict=True))
    assert [match.query_impact for match in told.missing] == sorted((values[each] for each in missing), reverse=True)
    assert {(match.contribution, match.document_impact) for match in told.missing} == {(0, 0)}


def test_every_word_on_which_a_latent_fired_is_named(tiny):
    """Against the weights of every token, latent by latent."""
    told = explain(tiny, QUERY, DOCUMENT, top=10_000)
    several = 0
    for side, text in (("query", QUERY), ("document", DOCUMENT)):
        states, spans = tiny.pooled_tokens(text, side)
        weights = tiny.head.activate(tiny.head.token_values(states))
        for match in told.matches:
            firings = getattr(match, f"{side}_words")
            own = weights[:, int(match.term[1:])]
            expected: dict[tuple[int, int], float] = {}
            for token in own.nonzero()[:, 0].tolist():
                word = widen(text, *spans[token].tolist())
                expected[word] = max(expected.get(word, 0), float(own[token] / own.max()))
            assert {(each.start, each.end) for each in firings} == set(expected)
            for each in firings:
                assert each.word == text[each.start : each.end]
                assert each.strength == pytest.approx(expected[each.start, each.end], abs=1e-3)
            assert [each.strength for each in firings] == sorted((each.strength for each in firings), reverse=True)
            assert firings[0].strength == 1
            several += len(firings) > 1
    assert several


def test_words_of_a_query_that_a_table_encodes_are_the_table_s(tiny):
    model = copy(tiny)
    model.static = random_table(tiny)
    explainer = Explainer(model, QUERY, top=None)
    (row,) = to_dicts(model.quantizer.queries(model.static.encode_queries([QUERY])).impacts)
    latents = explainer.latents()
    assert {each.term: each.query_impact for each in latents} == row
    for each in latents:
        # A word has a latent if one of its bytes has it.
        own = {
            word for word in QUERY.split() for byte in word if each.term in to_dicts(quantized(model.static, byte))[0]
        }
        assert own and own <= {firing.word for firing in each.query_words}
    assert explainer(DOCUMENT).matches[0].document_words


def quantized(table, text):
    return Quantizer(1e6, 1e6).queries(table.encode_queries([text], top_k=None)).impacts


def test_texts_that_share_nothing(tiny):
    told = explain(tiny, "", DOCUMENT)
    assert (told.score, told.matches, told.missing) == (0, [], [])
    assert "score 0" in told.to_html()


def test_a_text_that_is_cut_is_told(tiny):
    told = explain(tiny, "fox " * 100, DOCUMENT * 10)
    assert [note.split(" is longer")[0] for note in told.notes] == ["The query", "The document"]
    assert explain(tiny, QUERY, DOCUMENT).notes == []


def test_steering_changes_the_impacts_that_count(tiny):
    plain = explain(tiny, QUERY, DOCUMENT, top=10_000)
    off, up = plain.matches[0].term, plain.matches[1].term
    weights = {off: 0, up: 0.5, "f0": "@80", "f1": 3}
    told = explain(tiny, QUERY, DOCUMENT, top=10_000, weights=weights)
    one, other = steer(impacts(tiny, QUERY, "query"), weights), impacts(tiny, DOCUMENT, "document")
    assert told.score == int((one @ other.T).toarray()[0, 0]) != plain.score
    assert off not in {match.term for match in told.matches + told.missing}
    put_in = next(match for match in told.matches + told.missing if match.term == "f0")
    assert put_in.query_impact == 80
    assert told.steered == weights
    assert [note for note in told.notes if "lacks f1," in note] == told.notes
    assert f"{off} x 0" in told.to_html() and "f0 @80" in told.to_html()


def test_the_difference_of_two_documents_is_that_of_their_scores(tiny):
    other = "Ein Suchindex findet Dokumente."
    told = compare(tiny, QUERY, (other, DOCUMENT), docids=("b", "a"), top=3)
    scores = {docid: explain(tiny, QUERY, text).score for docid, text in (("a", DOCUMENT), ("b", other))}
    assert told.above.score == max(scores.values()) and told.below.score == min(scores.values())
    assert scores[told.above.docid] == told.above.score
    assert sum(row.difference for row in told.differences) == told.above.score - told.below.score
    assert len(told.above.matches) == len(told.below.matches) == 3
    gaps = [abs(row.difference) for row in told.differences]
    assert gaps == sorted(gaps, reverse=True)


def test_without_a_text_impacts_are_explained_and_without_those_the_score(tiny):
    explainer = Explainer(tiny, QUERY, top=10_000)
    whole = explainer(DOCUMENT, docid="d")
    told = explainer(None, docid="d", impacts=impacts(tiny, DOCUMENT, "document"))
    assert told.score == whole.score and told.document is None
    assert [match.contribution for match in told.matches] == [match.contribution for match in whole.matches]
    assert not any(match.document_words for match in told.matches) and told.matches[0].query_words
    assert "text of this document is not at hand" in told.notes[0]
    bare = explainer.scored("d", 12)
    assert (bare.score, bare.document_latents, bare.matches) == (12, None, [])
    for each in (told, bare):
        assert each.notes[-1].replace("'", "&#x27;") in each.to_html()
    with pytest.raises(InputError, match="text of a document or its impacts"):
        explainer(None)


def test_json_holds_all_of_it(tiny):
    told = explain(tiny, QUERY, DOCUMENT, docid="d", top=3, weights={"f0": "@80"})
    read = json.loads(json.dumps(told.to_dict()))
    assert read["docid"] == "d" and read["steered"] == {"f0": "@80"} and len(read["matches"]) == 3
    first = read["matches"][0]
    assert first["query_words"][0]["word"] == first["query_word"] == told.matches[0].query_word
    for each in (Comparison.of(told, told, top=2), RankingExplanation(query=QUERY, documents=[told])):
        assert json.loads(json.dumps(each.to_dict()))["query"] == QUERY


@pytest.mark.parametrize("top", [0, -1, 1.5])
def test_at_least_one_latent(tiny, top):
    with pytest.raises(InputError, match="number of latents to list"):
        explain(tiny, QUERY, DOCUMENT, top=top)


class Reader(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] != "style":
            self.text += data


def shown(tiny, **named) -> list[str]:
    """Each kind of explanation as a page, with markup wherever there can be some."""
    query, text, docid = f"the {SCRIPT} fox", f"A {SCRIPT} fox \" onclick='x' & </section>", f"d{SCRIPT}'\""
    told = explain(tiny, query, text, docid=docid, weights={"f0": "@80"})
    other = explain(tiny, query, DOCUMENT, docid=docid, weights={"f0": "@80"})
    ranking = RankingExplanation(query=query, documents=[told, other], notes=[SCRIPT])
    pages = [each.to_html() for each in (told, ranking, Comparison.of(told, other, top=5))]
    unmarked = explain(tiny, "", text, docid=docid)  # no latent fires, so no word is marked
    return [*pages, unmarked.to_html(), told._repr_html_()]


def test_markup_in_texts_ids_and_labels_is_shown_and_not_obeyed(tiny, monkeypatch):
    monkeypatch.setattr(type(tiny.head), "name", lambda self, latent: f'{SCRIPT}{latent}"')
    for content in shown(tiny):
        page = Reader(content)
        assert not {"script", "link", "img", "iframe", "a", "object"} & {tag for tag, _ in page.tags}
        assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
        assert page.text.count(SCRIPT) >= 2
        assert "url(" not in content and "@import" not in content and "http" not in re.sub("http-equiv", "", content)


def test_a_page_needs_no_script_and_both_texts_stand_in_it_word_for_word(tiny):
    told = explain(tiny, QUERY, DOCUMENT, docid="d1")
    page = Reader(told.to_html())
    policy = next(each["content"] for tag, each in page.tags if tag == "meta" and "http-equiv" in each)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    marked = [each for tag, each in page.tags if "data-all" in each]
    assert marked and all(each["tabindex"] == "0" for each in marked)
    listed = {match.term for match in told.matches + told.missing}
    assert {term for each in marked for term in (each["data-all"] or "").split()} <= listed
    # Without the tips, what is left of the two texts is the texts.
    bare = re.sub(r"<span class=tip .*?</span>", "", told.to_html(), flags=re.DOTALL)
    texts = re.findall(r"<p class=text dir=auto>(.*?)</p>", bare, flags=re.DOTALL)
    assert [re.sub("<[^>]+>", "", text) for text in texts] == [QUERY, DOCUMENT]


def test_a_notebook_shows_what_the_model_explains(tiny):
    told = tiny.explain(QUERY, DOCUMENT, top=3)
    assert told == explain(tiny, QUERY, DOCUMENT, top=3)
    content = told._repr_html_()
    assert content.startswith('<div class="splare-x ') and "<html" not in content
    # Two in one notebook do not mark each other's words.
    assert content.split()[2] != tiny.explain(QUERY, "fox")._repr_html_().split()[2]


@pytest.mark.parametrize(
    ("text", "start", "end", "word"),
    [
        ("the retrieval model", 6, 9, "retrieval"),
        ("the retrieval model", 3, 7, "retrieval"),
        ("don't stop", 4, 5, "don't"),
        ("首都是北京", 3, 5, "北京"),
        ("a (b) c", 2, 3, "("),
        ("special", 0, 0, ""),
    ],
)
def test_tokens_widen_to_words_where_words_are_written_apart(text, start, end, word):
    first, last = widen(text, start, end)
    assert text[first:last] == word
