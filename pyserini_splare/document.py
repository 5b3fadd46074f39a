"""Documents as Lucene takes them: impacts as a text such as ``f12|87 f904|3``, in fields that Anserini knows."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from pyserini_splare.jvm import java_class
from pyserini_splare.lucene import CONTENTS, ID, RAW, lucene
from splare_plugins.impacts import latent_terms

_DELIMITER = "|"
# Weights up to here come from a table; larger ones are rare and are formatted one by one.
_TABLE_SIZE = 1 << 16

# pyjnius picks among overloaded constructors by guessing, unless it is told.
_TEXT_FIELD = "(Ljava/lang/String;Ljava/lang/CharSequence;Lorg/apache/lucene/index/IndexableFieldType;)V"
_STORED_FIELD = "(Ljava/lang/String;Ljava/lang/String;)V"


def impact_analyzer() -> Any:
    """The Lucene analyzer that reads :func:`term_texts`: each weight is the frequency of its term."""
    options = java_class("java.util.HashMap")
    delimiter = options()
    delimiter.put("delimiter", _DELIMITER)
    analyzer = lucene("analysis.custom.CustomAnalyzer").builder().withTokenizer("whitespace", options())
    return analyzer.addTokenFilter("delimitedTermFrequency", delimiter).build()


class ReusedDocument:
    """The one Lucene document that a writer fills again and again, with fields as Anserini's searchers expect them.

    Lucene allows filling the same fields anew for each document, which is four calls into Java instead of ten.
    With ``store_vectors`` it keeps term vectors too.
    """

    def __init__(self, *, store_vectors: bool) -> None:
        kind = lucene("document.FieldType")()
        kind.setTokenized(True)
        kind.setStored(False)
        kind.setOmitNorms(True)
        # Frequencies without positions: Lucene takes frequencies from outside only then.
        kind.setIndexOptions(lucene("index.IndexOptions").DOCS_AND_FREQS)
        kind.setStoreTermVectors(store_vectors)
        kind.freeze()
        self._id = lucene("document.StringField")(ID, "", lucene("document.Field$Store").YES)
        # The searchers, Anserini's and ours, order ties by this value.
        self._id_value = lucene("document.BinaryDocValuesField")(ID, lucene("util.BytesRef")(b""))
        self._contents = lucene("document.Field")(CONTENTS, "", kind, signature=_TEXT_FIELD)
        self._raw = lucene("document.StoredField")(RAW, "", signature=_STORED_FIELD)
        self._plain = lucene("document.Document")()
        self._with_raw = lucene("document.Document")()
        for document in (self._plain, self._with_raw):
            for field in (self._id, self._id_value, self._contents):
                document.add(field)
        self._with_raw.add(self._raw)

    def fill(self, docid: str, text: str, raw: str | None) -> Any:
        """The Lucene document of these values; valid until the next call."""
        self._id.setStringValue(docid)
        self._id_value.setBytesValue(docid.encode())
        self._contents.setStringValue(text)
        if raw is None:
            return self._plain
        self._raw.setStringValue(raw)
        return self._with_raw


def term_texts(impacts: csr_array) -> list[str]:
    """One text for each row.

    The whole batch is laid out in one byte array of fixed-width cells, ``"  f12|87 "``: the whitespace tokenizer
    does not mind the padding, and nothing runs once per weight in Python.

    Args:
        impacts: int32, shape ``(n, width)``, values >= 1.

    Returns:
        ``n`` texts; an empty one for an empty row.
    """
    terms = _padded_terms(impacts.shape[1])
    weights = _padded_weights(impacts.data)
    cells = np.empty(impacts.nnz, dtype=[("term", terms.dtype), ("weight", weights.dtype)])
    cells["term"] = terms[impacts.indices]
    cells["weight"] = weights
    text = cells.tobytes().decode("ascii")
    bounds = (impacts.indptr.astype(np.int64) * cells.dtype.itemsize).tolist()
    return [text[start:end] for start, end in pairwise(bounds)]


@lru_cache(maxsize=4)
def _padded_terms(width: int) -> np.ndarray:
    terms = [f"{term}{_DELIMITER}" for term in latent_terms(width)]
    longest = max(map(len, terms), default=0)
    return np.array([term.rjust(longest).encode() for term in terms], dtype=f"S{longest}")


def _padded_weights(weights: np.ndarray) -> np.ndarray:
    largest = int(weights.max(initial=0))
    if largest < _TABLE_SIZE:
        return _weight_table(256 if largest < 256 else _TABLE_SIZE)[weights]
    distinct, positions = np.unique(weights, return_inverse=True)
    return _pad_right(distinct.tolist())[positions]


@lru_cache(maxsize=2)
def _weight_table(size: int) -> np.ndarray:
    return _pad_right(range(size))


def _pad_right(weights: Iterable[int]) -> np.ndarray:
    texts = np.array([str(weight) for weight in weights], dtype=bytes)
    # One blank more than the longest: it parts this weight from the next term.
    return np.char.ljust(texts, texts.dtype.itemsize + 1)
