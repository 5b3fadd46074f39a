"""From a model and two texts to an explanation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from scipy.sparse import csr_array

from splare_plugins.config import TopK, check_count
from splare_plugins.errors import InputError
from splare_plugins.impacts import Quantizer, latent_term
from splare_plugins.machine import Progress
from splare_plugins.model.explanation.records import Comparison, Explanation, Firing, LatentMatch
from splare_plugins.model.explanation.words import fired_words
from splare_plugins.steering import Weights, steer, without_effect

if TYPE_CHECKING:
    from splare_plugins.config import Side


class Explainable(Protocol):
    """What is asked of a model: :class:`splare_plugins.model.encoder.Encoder`, or a table for its queries alone."""

    sides: ClassVar[tuple[Side, ...]]

    @property
    def head(self) -> Any:
        """Names latents."""

    @property
    def quantizer(self) -> Quantizer:
        """Of the model."""

    def token_weights(self, text: str, side: Side, latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What each token of a text gives of latents, and where it stands."""

    def encode(self, texts: Sequence[str], side: Side, *, top_k: TopK, on_truncated: Progress | None) -> csr_array:
        """Latent weights."""


class Explainer:
    """Explains any number of documents of one query, which is encoded once.

    Args:
        model: a model whose quantiser is calibrated.
        query: the query's text.
        top: most matches listed, and most missing latents; ``None`` lists all.
        query_top_k: latents kept of the query, where the index was searched with another number than the model's.
        document_top_k: likewise of the documents.
        weights: changes to latents of the query; see :data:`splare_plugins.steering.Weights`.

    Attributes:
        query: the query's text.
        impacts: of the query, after steering; int32, shape ``(1, width)``.
        notes: sentences about the query.
        encodes_documents: whether the model does, or is a table for its queries alone.

    Raises:
        InputError: for weights that cannot be, or a model that was never calibrated.
    """

    def __init__(
        self,
        model: Explainable,
        query: str,
        *,
        top: int | None = 10,
        query_top_k: TopK = "model",
        document_top_k: TopK = "model",
        weights: Weights | None = None,
    ) -> None:
        if top is not None:
            check_count(top, "the number of latents to list")
        self._model, self.query, self._top, self._top_k = model, query, top, document_top_k
        self.encodes_documents = "document" in model.sides
        self._steered = dict(weights or {})
        cut: list[int] = []
        encoded = model.encode([query], "query", top_k=query_top_k, on_truncated=cut.append)
        plain = model.quantizer.queries(encoded).impacts
        self.impacts = steer(plain, weights)
        self._words = dict(zip(self.impacts.indices.tolist(), self._fired(query, "query", self.impacts), strict=True))
        self.notes = ["The query is longer than the model reads; only its beginning counts."] if sum(cut) else []
        self.notes += [
            f"The query lacks {term}, so its factor changes nothing; {term}=@80 would put it in with the impact 80."
            for term in without_effect(plain, weights)
        ]

    def __call__(
        self, document: str | None, *, docid: str | None = None, impacts: csr_array | None = None
    ) -> Explanation:
        """Explain one document, by its text, by its impacts, or by both.

        Args:
            document: its text, as it was indexed (title and text joined by a blank); ``None`` where nobody has it.
            docid: its id.
            impacts: what is indexed of it, shape ``(1, width)``, where that is known, at least of the query's latents.

        Raises:
            InputError: if neither is given.
        """
        notes = list(self.notes)
        encoded = None
        if document is not None and self.encodes_documents:
            cut: list[int] = []
            weights = self._model.encode([document], "document", top_k=self._top_k, on_truncated=cut.append)
            encoded = self._model.quantizer.documents(weights).impacts
            if sum(cut):
                notes.append("The document is longer than the model reads; only its beginning counts.")
        elif document is not None:
            notes.append(
                "Words of the document are those on which the table of tokens fires, as its model is not loaded."
            )
        else:
            notes.append(
                "The text of this document is not at hand, so the words on which latents fired in it are not shown."
            )
        impacts = encoded if impacts is None else impacts
        if impacts is None and not self.encodes_documents:
            raise InputError(
                "a table encodes queries alone, so it explains documents of which the index gives the impacts, and "
                "this one gives none; ask for --query-encoder full"
            )
        if impacts is None:
            raise InputError("an explanation needs the text of a document or its impacts; give one of them")
        products = csr_array(self.impacts.astype(np.int64).multiply(impacts))
        order = np.argsort(-products.data, kind="stable")[: self._top]
        latents, score = products.indices[order], int(products.data.sum())
        theirs = dict(zip(impacts.indices.tolist(), impacts.data.tolist(), strict=True))
        words: Sequence[list[Firing]] = [[] for _ in latents]
        if document is not None:
            words = fired_words(self._model, document, "document", latents)
        return Explanation(
            score=score,
            query_latents=self.impacts.nnz,
            document_latents=(impacts if encoded is None else encoded).nnz,
            shared_latents=products.nnz,
            matches=[
                self._match(latent, theirs[latent], score, fired)
                for latent, fired in zip(latents.tolist(), words, strict=True)
            ],
            missing=self._lacking(theirs),
            query=self.query,
            document=document,
            docid=docid,
            steered=self._steered,
            notes=notes,
        )

    def scored(self, docid: str, score: int) -> Explanation:
        """What can be said of a document of which nothing but the score is known."""
        note = (
            "The index gives neither the text nor the impacts of this document, so nothing but its score is shown; "
            "name its corpus to have it explained."
        )
        return Explanation(
            score=score,
            query_latents=self.impacts.nnz,
            document_latents=None,
            shared_latents=0,
            matches=[],
            missing=[],
            query=self.query,
            document=None,
            docid=docid,
            steered=self._steered,
            notes=[*self.notes, note],
        )

    def latents(self) -> list[LatentMatch]:
        """The latents of the query, the largest impact first."""
        return self._lacking({})

    def _lacking(self, theirs: dict[int, int]) -> list[LatentMatch]:
        order = np.argsort(-self.impacts.data, kind="stable")
        latents = [latent for latent in self.impacts.indices[order].tolist() if latent not in theirs]
        return [self._match(latent, 0, 0, []) for latent in latents[: self._top]]

    def _match(self, latent: int, theirs: int, score: int, fired: list[Firing]) -> LatentMatch:
        mine = int(self.impacts.data[np.searchsorted(self.impacts.indices, latent)])
        return LatentMatch(
            term=latent_term(latent),
            name=self._model.head.name(latent),
            contribution=mine * theirs,
            share=mine * theirs / score if score else 0.0,
            query_impact=mine,
            document_impact=theirs,
            query_words=self._words[latent],
            document_words=fired,
        )

    def _fired(self, text: str, side: Side, impacts: csr_array) -> list[list[Firing]]:
        return fired_words(self._model, text, side, impacts.indices)


def explain(
    model: Explainable,
    query: str,
    document: str,
    *,
    docid: str | None = None,
    top: int = 10,
    query_top_k: TopK = "model",
    document_top_k: TopK = "model",
    weights: Weights | None = None,
) -> Explanation:
    """Take the score of a query and a document apart.

    Args:
        model: a model whose quantiser is calibrated.
        query: the query's text.
        document: the document's text, as it was indexed (title and text joined by a blank).
        docid: its id, to be shown.
        top: most matches listed, and most missing latents.
        query_top_k: as for :class:`Explainer`.
        document_top_k: likewise.
        weights: likewise.
    """
    options: dict[str, Any] = {"query_top_k": query_top_k, "document_top_k": document_top_k, "weights": weights}
    return Explainer(model, query, top=top, **options)(document, docid=docid)


def compare(
    model: Explainable,
    query: str,
    documents: tuple[str, str],
    *,
    docids: tuple[str, str] | None = None,
    top: int = 10,
    **options: Any,
) -> Comparison:
    """Why one of two documents stands above the other.

    Args:
        model: a model whose quantiser is calibrated.
        query: the query's text.
        documents: their texts, in either order.
        docids: their ids, to be shown.
        top: most latents that are listed of each document; the differences are all listed.
        **options: of :class:`Explainer`.
    """
    check_count(top, "the number of latents to list")
    explainer = Explainer(model, query, top=None, **options)
    one, other = (explainer(text, docid=docid) for text, docid in zip(documents, docids or (None, None), strict=True))
    return Comparison.of(one, other, top=top)
