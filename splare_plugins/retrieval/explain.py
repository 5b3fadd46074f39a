"""Explanations of what an index answers; those of texts alone are made in :mod:`splare_plugins.model.explanation`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from splare_plugins.corpus import Document
from splare_plugins.errors import InputError
from splare_plugins.impacts import from_dicts
from splare_plugins.model.explanation import (
    Comparison,
    Explainer,
    Explanation,
    Firing,
    LatentDifference,
    LatentMatch,
    RankingExplanation,
    compare,
    explain,
)

if TYPE_CHECKING:
    from splare_plugins.engines.base import Searcher

__all__ = [
    "Comparison",
    "Explainer",
    "Explanation",
    "Firing",
    "LatentDifference",
    "LatentMatch",
    "RankingExplanation",
    "compare",
    "explain",
    "explain_hit",
    "explain_ranking",
    "require_told",
    "stored_text",
    "text_of_stored",
]

TextOf = Callable[[str], str | None]


def explain_ranking(
    searcher: Searcher, explainer: Explainer, *, k: int = 10, text_of: TextOf | None = None
) -> RankingExplanation:
    """The best documents of a query in an index, each taken apart.

    Args:
        searcher: an open index.
        explainer: of the query, with the model of the index and as many latents of a document as it keeps.
        k: most documents.
        text_of: gives the text of a document, where it is not the one that the index keeps.
    """
    (hits,) = searcher.search(explainer.impacts, k)
    pairs = zip(hits.docids, hits.scores.tolist(), strict=True)
    documents = [explain_hit(searcher, explainer, docid, score=int(score), text_of=text_of) for docid, score in pairs]
    return RankingExplanation(
        query=explainer.query,
        documents=documents,
        notes=[] if documents else ["The index has no document for this query."],
    )


def explain_hit(
    searcher: Searcher, explainer: Explainer, docid: str, *, score: int | None = None, text_of: TextOf | None = None
) -> Explanation:
    """One document of an index, taken apart as far as the index tells.

    From its text, or without one from its impacts, or without those no more than its score.

    Args:
        searcher: an open index.
        explainer: as for :func:`explain_ranking`.
        docid: of the document.
        score: that the index gave it.
        text_of: as for :func:`explain_ranking`.

    Raises:
        InputError: if nothing at all is known of the document.
    """
    text = text_of(docid) if text_of else stored_text(searcher, docid)
    vector = searcher.vector(docid)
    if vector is None and (text is None or not explainer.encodes_documents):
        if score is None:
            raise _nothing_known(docid)
        return explainer.scored(docid, score)
    # What is indexed counts; a text that is encoded anew may differ from it by roundings.
    impacts = None if vector is None else from_dicts([vector], explainer.impacts.shape[1])
    told = explainer(text, docid=docid, impacts=impacts)
    if score is not None and told.score != score:
        note = (
            f"The index scores this document {score:,}, and the text at hand {told.score:,}: a weight on the edge "
            "between two impacts may come out as either, and a larger gap means that another text was indexed."
        )
        return replace(told, notes=[*told.notes, note])
    return told


def require_told(searcher: Searcher, docid: str) -> None:
    """Refuse a document of which an index gives neither text nor impacts.

    Raises:
        InputError: naming it.
    """
    if searcher.document(docid) is None and searcher.vector(docid) is None:
        raise _nothing_known(docid)


def _nothing_known(docid: str) -> InputError:
    return InputError(
        f"the index keeps no text of a document {docid!r}, and gives no impacts; name its corpus with --corpus"
    )


def stored_text(searcher: Searcher, docid: str) -> str | None:
    """The text that an index keeps of a document, title and text joined as they were encoded."""
    raw = searcher.document(docid)
    return None if raw is None else text_of_stored(docid, raw)


def text_of_stored(docid: str, raw: str) -> str:
    """The text of what :meth:`Searcher.document` and :meth:`Searcher.documents` give."""
    values = json.loads(raw)
    text, title = values.get("text") or values.get("contents") or "", values.get("title") or ""
    return Document(docid, text, title).content
