"""The texts of rows that name queries and documents by their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from splare_plugins.corpus import read_documents, read_queries
from splare_plugins.corpus.documents import plain_id
from splare_plugins.errors import InputError
from splare_plugins.training.data.files import Located
from splare_plugins.training.data.layouts import find_layout
from splare_plugins.training.data.values import ids_of


class TextsById:
    """Texts of queries and documents, as far as the rows of a source name them.

    Called with a kind and an id it gives the text. The first call reads all rows for their ids, and then the texts of
    these, which stay in memory.

    Args:
        rows: gives the rows, from the first one, each time it is called.
        queries: what ``read_queries`` takes; ``None`` where rows hold their queries' texts.
        corpus: what ``read_documents`` takes; ``None`` where rows hold their documents' texts.
    """

    def __init__(self, rows: Callable[[], Iterable[Located]], queries: str | None, corpus: str | None) -> None:
        self._rows = rows
        self._sources = {"query": queries, "document": corpus}
        self._texts: dict[str, dict[object, str]] | None = None

    def __call__(self, kind: str, wanted: Any) -> str:
        """The text of an id.

        Raises:
            InputError: if it is not there, or nothing says where such texts are.
        """
        source = self._sources[kind]
        if source is None:
            option = "queries" if kind == "query" else "corpus"
            raise InputError(
                f"the row has the id of a {kind}; name the file that holds its text, --{option} FILE (in a config: "
                f"{option})"
            )
        if self._texts is None:
            self._texts = self._read()
        text = self._texts[kind].get(plain_id(wanted))
        if text is None:
            raise InputError(f"{source} has no {kind} {wanted!r}")
        return text

    def _read(self) -> dict[str, dict[object, str]]:
        queries, documents = self._wanted()
        texts: dict[str, dict[object, str]] = {"query": {}, "document": {}}
        if (source := self._sources["query"]) is not None:
            texts["query"] = {query.qid: query.text for query in read_queries(source) if query.qid in queries}
        if (source := self._sources["document"]) is not None:
            found = (document for document in read_documents(source) if document.docid in documents)
            texts["document"] = {document.docid: document.content for document in found}
        return texts

    def _wanted(self) -> tuple[set[object], set[object]]:
        queries: set[object] = set()
        documents: set[object] = set()
        for where, row, _ in self._rows():
            try:
                layout = find_layout(row, where)
                columns = (layout.positives, *layout.negatives) if layout.by_id else ()
                found = [plain_id(each) for column in columns for each in ids_of(row, column, where)]
            except InputError:
                continue  # told, or skipped, when its turn comes
            queries.add(plain_id(row[layout.query]))
            documents.update(found)
        return queries, documents
