"""What an explanation is: of one document, of a ranking, of two documents side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from splare_plugins.model.explanation.html import fragment, page


@dataclass(frozen=True, kw_only=True)
class Firing:
    """A word on which a latent fired.

    Attributes:
        start: first character of the word in its text.
        end: the character after its last.
        word: those characters; empty for a special token.
        strength: 1 for the word on which the latent fired most, else a fraction of that.
    """

    start: int
    end: int
    word: str
    strength: float


@dataclass(frozen=True, kw_only=True)
class LatentMatch:
    """One latent of the query, and of the document where that has it.

    Attributes:
        term: its pseudo-term in the index.
        name: its label, or the pseudo-term again.
        contribution: its part of the score, query impact times document impact.
        share: that part as a fraction of the score.
        query_impact: impact in the query, after steering.
        document_impact: impact in the document; 0 for a latent that the document lacks.
        query_words: every word of the query on which it fired, strongest first.
        document_words: likewise of the document.
    """

    term: str
    name: str
    contribution: int
    share: float
    query_impact: int
    document_impact: int
    query_words: list[Firing]
    document_words: list[Firing]

    @property
    def query_word(self) -> str:
        """The word of the query on which it fired most; empty where that was a special token."""
        return self.query_words[0].word if self.query_words else ""

    @property
    def document_word(self) -> str:
        """Likewise of the document."""
        return self.document_words[0].word if self.document_words else ""

    def to_dict(self) -> dict[str, Any]:
        """The match as JSON types."""
        return {**asdict(self), "query_word": self.query_word, "document_word": self.document_word}


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A score taken apart.

    Attributes:
        score: the integer dot product, which every exact engine returns.
        query_latents: latents of the query.
        document_latents: latents of the document; ``None`` where nothing but its score is known.
        shared_latents: latents of both; their contributions add up to the score.
        matches: the largest contributions, falling.
        missing: latents of the query that the document lacks, the largest impact first.
        query: the query's text.
        document: the document's text; ``None`` where the index keeps none.
        docid: the document's id, where it has one.
        steered: the weights that a person gave to latents of the query.
        notes: sentences about what is not shown, and why.
    """

    score: int
    query_latents: int
    document_latents: int | None
    shared_latents: int
    matches: list[LatentMatch]
    missing: list[LatentMatch]
    query: str
    document: str | None
    docid: str | None = None
    steered: dict[str, float | str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON types."""
        lists = {name: [match.to_dict() for match in getattr(self, name)] for name in ("matches", "missing")}
        return {**vars(self), **lists}

    def to_html(self) -> str:
        """A page that stands alone: no script, and nothing is loaded from elsewhere."""
        return page(self.query, [self.to_dict()])

    def _repr_html_(self) -> str:
        return fragment(self.query, [self.to_dict()])


@dataclass(frozen=True, kw_only=True)
class RankingExplanation:
    """The best documents of a query, each with its score taken apart.

    Attributes:
        query: the query's text.
        documents: best first.
        notes: sentences about what is not shown, and why.
    """

    query: str
    documents: list[Explanation]
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON types."""
        return {**vars(self), "documents": [document.to_dict() for document in self.documents]}

    def to_html(self) -> str:
        """As :meth:`Explanation.to_html`."""
        return page(self.query, self.to_dict()["documents"], notes=self.notes)

    def _repr_html_(self) -> str:
        return fragment(self.query, self.to_dict()["documents"], notes=self.notes)


@dataclass(frozen=True, kw_only=True)
class LatentDifference:
    """What one latent adds to two scores.

    Attributes:
        term: its pseudo-term in the index.
        name: its label, or the pseudo-term again.
        above: its contribution to the first document's score.
        below: its contribution to the second's.
    """

    term: str
    name: str
    above: int
    below: int

    @property
    def difference(self) -> int:
        """How far it puts the first above the second; negative where it speaks for the second."""
        return self.above - self.below


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Why one document stands above another.

    Attributes:
        query: the query's text.
        above: of the document with the higher score.
        below: of the other.
        differences: of all latents that add to either score, the largest difference first; they add up to the
            difference of the scores.
    """

    query: str
    above: Explanation
    below: Explanation
    differences: list[LatentDifference]

    @classmethod
    def of(cls, one: Explanation, other: Explanation, *, top: int) -> Comparison:
        """Compare two explanations of one query that list all their matches.

        Args:
            one: of a document.
            other: of another.
            top: most latents that both list afterwards.
        """
        above, below = (one, other) if one.score >= other.score else (other, one)
        names = {match.term: match.name for each in (above, below) for match in each.matches}
        parts = [{match.term: match.contribution for match in each.matches} for each in (above, below)]
        rows = [
            LatentDifference(term=term, name=name, above=parts[0].get(term, 0), below=parts[1].get(term, 0))
            for term, name in names.items()
        ]
        rows.sort(key=lambda row: -abs(row.difference))
        return cls(query=one.query, above=_cut(above, top), below=_cut(below, top), differences=rows)

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON types."""
        rows = [{**asdict(row), "difference": row.difference} for row in self.differences]
        return {
            "query": self.query,
            "above": self.above.to_dict(),
            "below": self.below.to_dict(),
            "differences": rows,
        }

    def to_html(self) -> str:
        """As :meth:`Explanation.to_html`."""
        return page(self.query, *self._shown())

    def _repr_html_(self) -> str:
        return fragment(self.query, *self._shown())

    def _shown(self) -> tuple[Sequence[dict[str, Any]], Sequence[dict[str, Any]]]:
        told = self.to_dict()
        return [told["above"], told["below"]], told["differences"]


def _cut(explanation: Explanation, top: int) -> Explanation:
    lists = {"matches": explanation.matches[:top], "missing": explanation.missing[:top]}
    return Explanation(**{**vars(explanation), **lists})
