"""The one Lucene document that a writer fills again and again."""

from __future__ import annotations

from typing import Any

from pyserini_splare.lucene import CONTENTS, ID, RAW, lucene

# pyjnius picks among overloaded constructors by guessing, unless it is told.
_TEXT_FIELD = "(Ljava/lang/String;Ljava/lang/CharSequence;Lorg/apache/lucene/index/IndexableFieldType;)V"
_STORED_FIELD = "(Ljava/lang/String;Ljava/lang/String;)V"


class ReusedDocument:
    """Fields as Anserini's searchers expect them.

    Lucene allows filling the same fields anew for each document, which is four calls into Java instead of ten.

    Args:
        store_vectors: also keep term vectors.
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
        self._bytes_ref = lucene("util.BytesRef")
        self._id = lucene("document.StringField")(ID, "", lucene("document.Field$Store").YES)
        # The searchers, Anserini's and ours, order ties by this value.
        self._id_value = lucene("document.BinaryDocValuesField")(ID, self._bytes_ref(b""))
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
        self._id_value.setBytesValue(self._bytes_ref(docid.encode()))
        self._contents.setStringValue(text)
        if raw is None:
            return self._plain
        self._raw.setStringValue(raw)
        return self._with_raw
