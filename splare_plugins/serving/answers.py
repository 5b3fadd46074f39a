"""What the tools of ``splare mcp`` answer, as plain values with a schema."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from splare_plugins.model.explanation import Explanation, Firing, LatentDifference, LatentMatch

_MOST_WORDS = 8


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A latent that query and document share.

    Attributes:
        latent: its id.
        label: what it is about, where that is known, else its id again.
        contribution: its part of the score.
        share: that part as a fraction of the score.
        query_words: words of the query on which it fired, strongest first.
        document_words: likewise of the document.
    """

    latent: str
    label: str
    contribution: int
    share: float
    query_words: list[str]
    document_words: list[str]


@dataclass(frozen=True, kw_only=True)
class Latent:
    """A latent of one text, or what is known of it by itself.

    Attributes:
        latent: its id.
        label: what it is about, where that is known, else its id again.
        impact: its whole weight in the text, 1 to 255.
        words: on which it fired, strongest first.
    """

    latent: str
    label: str
    impact: int | None = None
    words: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Result:
    """A document that was found.

    Attributes:
        rank: from 1.
        docid: its id.
        score: the whole number by which it is ranked.
        text: the beginning of its text; null where the index keeps none.
        cut: whether the text goes on.
        evidence: the latents that count most.
        notes: sentences about what is not shown, and why.
    """

    rank: int
    docid: str
    score: int
    text: str | None
    cut: bool
    evidence: list[Evidence]
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search answers.

    Attributes:
        results: the best first.
        query_latents: what the query was taken for: its latents, after steering, the heaviest first.
        notes: sentences about the search.
    """

    results: list[Result]
    query_latents: list[Latent]
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class Told:
    """Why a document has its score.

    Attributes:
        docid: of the document.
        score: its score.
        shared_latents: how many latents both have; their contributions add up to the score.
        evidence: the largest contributions.
        missing: latents of the query that the document lacks, the heaviest first.
        notes: sentences about what is not shown, and why.
    """

    docid: str
    score: int
    shared_latents: int
    evidence: list[Evidence]
    missing: list[Latent]
    notes: list[str]

    @classmethod
    def of(cls, told: Explanation, docid: str, **more: Any) -> Self:
        """From an explanation of the document of this id."""
        return cls(
            docid=docid,
            score=told.score,
            shared_latents=told.shared_latents,
            evidence=evidence_of(told.matches),
            missing=latents_of(told.missing),
            notes=told.notes,
            **more,
        )


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What one latent adds to the scores of two documents.

    Attributes:
        latent: its id.
        label: what it is about, where that is known, else its id again.
        above: its contribution to the document that stands above.
        below: likewise to the other.
        difference: the first without the second; negative where it speaks for the other.
    """

    latent: str
    label: str
    above: int
    below: int
    difference: int


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Why one of two documents stands above the other.

    Attributes:
        above: id of the document with the higher score.
        below: id of the other.
        difference: of their scores.
        differing_latents: how many latents add to either score; their differences add up to that of the scores.
        differences: the largest of them.
        against: why the document that was named second has its score.
    """

    above: str
    below: str
    difference: int
    differing_latents: int
    differences: list[Difference]
    against: Told


@dataclass(frozen=True, kw_only=True)
class Explained(Told):
    """Why a document has its score.

    Attributes:
        comparison: why it stands above or below the other document, where one was named.
    """

    comparison: Compared | None = None


def differences_of(rows: list[LatentDifference]) -> list[Difference]:
    """What latents add to two scores."""
    return [
        Difference(latent=row.term, label=row.name, above=row.above, below=row.below, difference=row.difference)
        for row in rows
    ]


def evidence_of(matches: list[LatentMatch]) -> list[Evidence]:
    """Latents of query and document."""
    return [
        Evidence(
            latent=match.term,
            label=match.name,
            contribution=match.contribution,
            share=round(match.share, 4),
            query_words=words_of(match.query_words),
            document_words=words_of(match.document_words),
        )
        for match in matches
    ]


def latents_of(matches: list[LatentMatch]) -> list[Latent]:
    """Latents of the query."""
    return [
        Latent(latent=each.term, label=each.name, impact=each.query_impact, words=words_of(each.query_words))
        for each in matches
    ]


def words_of(firings: list[Firing]) -> list[str]:
    """Each word once; special tokens have none."""
    return list(dict.fromkeys(each.word for each in firings if each.word))[:_MOST_WORDS]
