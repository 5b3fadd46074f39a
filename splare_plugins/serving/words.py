"""BM25 over the texts of an index, which latents are compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from splare_plugins.latents.words import UNSPACED

# In scripts without blanks each character counts as a word.
_WORDS = rf"[{UNSPACED}]|[^\W{UNSPACED}]+"
MOST_DOCUMENTS = 200_000
"""More are not ranked by words: their index is made when it is first asked for, and held in memory."""


class WordIndex:
    """Ranks texts by BM25 (k1 0.9, b 0.4), by words as they stand, in any language.

    Args:
        docids: of the texts.
        texts: as they were encoded.
    """

    def __init__(self, docids: Sequence[str], texts: Sequence[str]) -> None:
        import bm25s

        self._tokenize = bm25s.tokenize
        self._docids = list(docids)
        self._index = bm25s.BM25(k1=0.9, b=0.4, method="lucene")
        self._index.index(self._words(texts), show_progress=False)

    def search(self, query: str, k: int) -> list[tuple[str, float]]:
        """Ids and scores of the best ``k`` texts that share a word with the query."""
        (words,) = self._words([query])
        known = [word for word in words if word in self._index.vocab_dict]
        if not known:
            return []
        scores = self._index.get_scores(known)
        best = np.argsort(-scores, kind="stable")[:k]
        return [(self._docids[place], float(scores[place])) for place in best.tolist() if scores[place] > 0]

    def _words(self, texts: Sequence[str]) -> list[list[str]]:
        options = {"token_pattern": _WORDS, "stopwords": [], "return_ids": False, "show_progress": False}
        words: list[list[str]] = self._tokenize(list(texts), **options)
        return words
