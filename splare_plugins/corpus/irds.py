"""Corpora and queries of the ``ir_datasets`` catalogue, as ``irds:NAME``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from splare_plugins.config import Side
from splare_plugins.corpus.sources import IRDS_PREFIX
from splare_plugins.errors import InputError, MissingPartError


def irds_records(source: str, side: Side) -> Iterator[tuple[str, Any, Any, Any]]:
    """Position, id, title and text of everything that ``irds:NAME`` holds.

    The data set is opened at once; what it has to download, it downloads when the first record is asked for.

    Raises:
        MissingPartError: if ``ir_datasets`` is not installed.
        InputError: if the catalogue has no such data set, or it has no documents (or queries).
    """
    dataset = open_irds(source)
    name = source.removeprefix(IRDS_PREFIX)
    if side == "document":
        if not dataset.has_docs():
            raise InputError(f"the ir_datasets data set {name!r} has no documents")
        return ((f"{source}, document {n}", *_document(doc)) for n, doc in enumerate(dataset.docs_iter(), start=1))
    if not dataset.has_queries():
        raise InputError(
            f"the ir_datasets data set {name!r} has no queries; name one of its parts, such as {name}/test"
        )
    return (
        (f"{source}, query {n}", query.query_id, "", query.default_text())
        for n, query in enumerate(dataset.queries_iter(), start=1)
    )


def irds_qrels(source: str) -> dict[str, dict[str, int]]:
    """The judgements of ``irds:NAME``: relevance by query and document, the highest grade of one judged twice.

    Raises:
        MissingPartError: if ``ir_datasets`` is not installed.
        InputError: if the catalogue has no such data set, or it has no judgements.
    """
    dataset = open_irds(source)
    if not dataset.has_qrels():
        name = source.removeprefix(IRDS_PREFIX)
        raise InputError(
            f"the ir_datasets data set {name!r} has no judgements; name one of its parts, such as {name}/test"
        )
    qrels: dict[str, dict[str, int]] = {}
    for each in dataset.qrels_iter():
        judged = qrels.setdefault(each.query_id, {})
        judged[each.doc_id] = max(int(each.relevance), judged.get(each.doc_id, int(each.relevance)))
    return qrels


def open_irds(source: str) -> Any:
    """The data set that ``irds:NAME`` names, as ``ir_datasets`` opens it.

    Raises:
        MissingPartError: if ``ir_datasets`` is not installed.
        InputError: if its catalogue has no such data set.
    """
    try:
        import ir_datasets
    except ImportError as error:
        raise MissingPartError(
            f"{source} needs ir_datasets; install it with: pip install 'splare-plugins[datasets]'"
        ) from error
    name = source.removeprefix(IRDS_PREFIX)
    try:
        return ir_datasets.load(name)
    except KeyError as error:
        raise InputError(
            f"ir_datasets does not know the data set {name!r}; its catalogue is at https://ir-datasets.com"
        ) from error


def _document(doc: Any) -> tuple[str, str, str]:
    if hasattr(doc, "title") and hasattr(doc, "text"):
        return doc.doc_id, doc.title or "", doc.text
    return doc.doc_id, "", doc.default_text()
