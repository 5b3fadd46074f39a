"""Texts and documents that nobody has paired: what a table is trained on, and what its teachers read."""

from __future__ import annotations

from collections.abc import Sequence

from splare_plugins.corpus import read_documents, read_queries


def read_queries_of(sources: Sequence[str]) -> list[str]:
    """The different texts of sources that ``splare search`` reads as queries, in their order."""
    return list(dict.fromkeys(query.text for source in sources for query in read_queries(source)))


def read_contents_of(sources: Sequence[str]) -> list[str]:
    """The different texts of documents of corpora, in their order; of documents with one id the first."""
    found = (read_documents(source, on_duplicate="first") for source in sources)
    return list(dict.fromkeys(document.content for source in found for document in source))
