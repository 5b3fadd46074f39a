"""BM25 over the words of the texts, with Anserini's settings: the baseline that latents are compared with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any

import numpy as np

from pyserini_splare.hits import TopHitsReader
from pyserini_splare.jvm import java_class
from pyserini_splare.lucene import CONTENTS, ID, java_errors, lucene, open_searcher
from pyserini_splare.threads import ThreadClaim
from splare_plugins.engines.base import Hits
from splare_plugins.engines.checks import check_k
from splare_plugins.errors import InputError
from splare_plugins.machine import Progress

# pyjnius picks among overloaded constructors by guessing, unless it is told.
_TEXT_FIELD = "(Ljava/lang/String;Ljava/lang/String;Lorg/apache/lucene/document/Field$Store;)V"


def bm25_search(
    documents: Iterable[tuple[str, str]],
    queries: Mapping[str, str],
    k: int = 1000,
    language: str = "en",
    *,
    on_progress: Progress | None = None,
) -> dict[str, Hits]:
    """BM25's answers to queries over a small collection, as Anserini gives them by default: k1 is 0.9, b is 0.4.

    Args:
        documents: pairs of id and text, of a collection that fits into Java's memory.
        queries: text by query id.
        k: most documents per query.
        language: ISO code of the documents' language, which chooses Anserini's analyzer for them.
        on_progress: called after each query, with 1.

    Returns:
        Hits by query id, with Lucene's float32 scores; none for a query without a word of the collection.

    Raises:
        InputError: for a language without an analyzer.
        ThreadError: if another thread has a Lucene index open.
    """
    check_k(k)
    run: dict[str, Hits] = {}
    with closing(_Index(documents, language)) as index:
        for qid, text in queries.items():
            run[qid] = index.search(text, k)
            if on_progress is not None:
                on_progress(1)
    return run


class _Index:
    """Texts in a Lucene index in memory."""

    def __init__(self, documents: Iterable[tuple[str, str]], language: str) -> None:
        self._claim = ThreadClaim(self, "the BM25 index")
        analyzer = _analyzer(language)
        similarity = lucene("search.similarities.BM25Similarity")(0.9, 0.4)
        with java_errors("the texts cannot be indexed", "give Java more memory with start_jvm(memory=...)"):
            self._reader = lucene("index.DirectoryReader").open(_index(documents, analyzer, similarity))
        self._hits = TopHitsReader(open_searcher(self._reader, similarity))
        self._queries = lucene("util.QueryBuilder")(analyzer)

    def search(self, text: str, k: int) -> Hits:
        query = self._queries.createBooleanQuery(CONTENTS, text)
        if query is None:
            return Hits([], np.zeros(0))
        top = self._hits.top(query, k)
        return Hits(top.docids, top.scores)

    def close(self) -> None:
        self._reader.close()
        self._claim.release()


def _analyzer(language: str) -> Any:
    if language == "en":
        return java_class("io.anserini.analysis.DefaultEnglishAnalyzer").newDefaultInstance()
    known = java_class("io.anserini.analysis.AnalyzerMap")
    if not known.analyzerMap.containsKey(language):
        raise InputError(f"there is no analyzer for the language {language!r}; use a code such as en, de or zh")
    return known.getLanguageSpecificAnalyzer(language)


def _index(documents: Iterable[tuple[str, str]], analyzer: Any, similarity: Any) -> Any:
    config = lucene("index.IndexWriterConfig")(analyzer)
    config.setSimilarity(similarity)
    directory = lucene("store.ByteBuffersDirectory")()
    writer = lucene("index.IndexWriter")(directory, config)
    ref, stored = lucene("util.BytesRef"), lucene("document.Field$Store")
    id_values = lucene("document.BinaryDocValuesField")(ID, ref(b""))
    contents = lucene("document.TextField")(CONTENTS, "", stored.NO, signature=_TEXT_FIELD)
    document = lucene("document.Document")()
    document.add(id_values)
    document.add(contents)
    for docid, text in documents:
        id_values.setBytesValue(ref(docid.encode()))
        contents.setStringValue(text)
        writer.addDocument(document)
    writer.forceMerge(1)
    writer.close()
    return directory
