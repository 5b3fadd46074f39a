"""The parts that labels are made with: words, contexts, names, neighbours and the forced choice."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from splare_plugins.errors import InputError
from splare_plugins.latents.contexts import LONGEST, Context, Source, sample_contexts, split
from splare_plugins.latents.examples import strongest
from splare_plugins.latents.firing import Firing
from splare_plugins.latents.judge import Choices, compare, decide, draw_choices, words_found
from splare_plugins.latents.naming import spell
from splare_plugins.latents.neighbours import co_firing
from splare_plugins.latents.words import word_around, words


def test_words_of_several_scripts():
    assert words("Don't stop: drei Äpfel") == ["don't", "stop", "drei", "äpfel"]
    assert words("三个人") == ["三个", "个人"]
    text = "unhappiness 三个人"
    assert [text[slice(*word_around(text, *span))] for span in ((2, 5), (12, 13), (11, 13))] == [
        "unhappiness",
        "三",
        "三",
    ]


def test_texts_are_split_into_contexts():
    parts = list(split("One. Two. " + "A long sentence with many words. " * 20 + "word " * 100))
    assert "".join(parts).count("many") == 20
    assert max(map(len, parts)) <= LONGEST
    assert parts[0].startswith("One. Two.")


def test_every_corpus_has_its_share_and_a_seed_draws_the_same():
    sources = [
        Source(name, "", lambda name=name: [(f"{name}{n}", f"a sentence {n} of {name}") for n in range(200)])
        for name in ("one", "two")
    ]
    drawn = sample_contexts(sources, count=20, seed=1)
    assert [sum(context.source == name for context in drawn) for name in ("one", "two")] == [10, 10]
    assert drawn == sample_contexts(sources, count=20, seed=1) != sample_contexts(sources, count=20, seed=2)
    with pytest.raises(InputError, match="has no text"):
        sample_contexts([Source("empty", "", lambda: [("1", "")])], count=5, seed=0)


def test_forms_of_a_concept_stand_together():
    alike = np.eye(4)
    alike[0, 2] = alike[2, 0] = alike[0, 3] = alike[3, 0] = 0.9
    assert spell(["three", "mountain", "drei", "三个"], [3, 2, 1, 1], alike) == "three · drei · 三个 / mountain"
    assert spell(["disease", "diseases"], [2, 1], np.ones((2, 2))) == "disease"


def test_contexts_are_of_different_documents_and_words():
    texts = [
        ("three dogs", "1", "en"),
        ("three cats", "2", "en"),
        ("drei Hunde", "1", "de"),
        ("drei Katzen", "3", "de"),
    ]
    contexts = [Context(text, docid, "news", language) for text, docid, language in texts]
    weights = csr_array(np.array([[4.0], [3.0], [2.0], [1.0]], np.float32))
    firing = Firing(weights, np.zeros(4, np.int32), np.array([5, 5, 4, 4], np.int32))
    shown = strongest(contexts, firing, np.arange(4), np.arange(4), count=4)
    assert [(each.text, each.word) for each in shown] == [("three dogs", "three"), ("drei Katzen", "drei")]


def test_neighbours_fire_together():
    fired = csr_array(np.array([[1, 1, 0], [1, 1, 0], [0, 1, 1]], np.float32))
    near = co_firing(fired, count=1)
    assert near[0] == [(1, pytest.approx(0.816, abs=1e-3))]
    assert near[2][0][0] == 1


def test_a_label_that_says_what_its_contexts_say_is_chosen():
    texts = ["three dogs bark", "a mountain of snow"]
    labels = ["three · drei", "snow / mountain", "unlike"]
    fired = csr_array(np.array([[1, 0, 0], [0, 1, 0]], np.float32))
    choices = draw_choices(fired, seed=0)
    assert choices.right.tolist() == [0, 1]
    assert not set(zip(choices.contexts, choices.wrong, strict=True)) & {(0, 0), (1, 1)}
    found = words_found(labels, texts)
    assert found.tolist() == [[1, 0, 0], [0, 2, 0]]
    assert decide(choices, found, np.zeros(2)).tolist() == [1, 1]
    swapped = Choices(choices.contexts, choices.wrong, choices.right)
    assert decide(swapped, found, np.zeros(2)).tolist() == [0, 0]
    # Without words, the nearer meaning; where both are as near, half.
    meanings = np.eye(3)
    nearer = compare(choices, meanings[:2], meanings)
    assert decide(choices, found * 0, nearer).tolist() == [1, 1]
    assert decide(choices, found * 0, nearer * 0).tolist() == [0.5, 0.5]
