"""What a backbone knows of each token."""

from __future__ import annotations

import numpy as np
import pytest

from splare_plugins.errors import InputError
from tests.backbone.families import load


@pytest.fixture
def backbone(family_folder):
    return load(family_folder("llama"), layer=0)


def test_tokens_know_their_prompt_specials_and_spans(backbone):
    (tokens,) = backbone.tokenize(["ab"], "query: ", 64)
    assert tokens.keep.tolist() == [False] * 8 + [True, True, False]
    assert tokens.spans[tokens.keep].tolist() == [[0, 1], [1, 2]]
    assert not tokens.truncated
    (cut,) = backbone.tokenize(["ab" * 50], "query: ", 64)
    assert cut.truncated
    assert len(cut.ids) == 64
    assert isinstance(cut.ids, np.ndarray)


def test_no_texts_are_no_tokens(backbone):
    assert backbone.tokenize([], "query: ", 64) == []


def test_a_lone_surrogate_is_named(backbone):
    with pytest.raises(InputError, match="text 1 has a lone surrogate at character 2"):
        backbone.tokenize(["a", "ab\ud800"], "", 64)
