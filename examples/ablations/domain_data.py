"""Two domains beside the general text: what an SAE learns from, what its statistics come from, what is searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from code_search import PACKAGES, functions, write_collection
from own_saes import Sample, write_corpus

from splare_plugins.corpus import read_documents, read_qrels, read_queries
from splare_plugins.experiment.config import CollectionSettings

Item = TypeVar("Item")


@dataclass(frozen=True)
class Domain:
    """A domain.

    Attributes:
        corpus: texts to learn from.
        sample: of the same texts, and questions that are not asked later.
        collection: held-out documents and questions.
    """

    corpus: Path
    sample: Sample
    collection: CollectionSettings


def code_domain(
    folder: Path,
    *,
    texts: int,
    sample: int,
    judged: int,
    asked: int,
    packages: Sequence[str] = PACKAGES,
    files: int | None = None,
) -> Domain:
    """Docstrings and bodies of installed packages; those of held-out files are searched.

    Args:
        folder: to write to.
        texts: functions to learn from.
        sample: of these, for statistics.
        judged: functions that are searched.
        asked: questions.
        packages: as :func:`code_search.functions` takes them, with ``files``.
        files: most of a package.
    """
    found = list(functions(packages, files=files))
    known = _spread([each for each in found if not each.held_out], texts)
    held_out = _spread([each for each in found if each.held_out], judged)
    corpus = write_corpus(folder / "code.jsonl", {each.name: f"{each.docstring}\n{each.body}" for each in known})
    seen = _spread(known, sample)
    return Domain(
        corpus=corpus,
        sample=Sample(name="code", queries=[each.question for each in seen], documents=[each.body for each in seen]),
        collection=CollectionSettings(
            name="code", source=str(write_collection(folder / "code-search", held_out)), limit=asked
        ),
    )


def medicine_domain(place: Path, folder: Path, *, texts: int, sample: int, asked: int) -> Domain:
    """MedQuAD's answers to learn from; PubMedQA's abstracts are searched.

    Args:
        place: has ``medquad`` and ``pubmedqa`` in the layout of BEIR.
        folder: to write to.
        texts: answers to learn from.
        sample: of these, for statistics.
        asked: questions.
    """
    training = read_qrels(place / "medquad", split="train")
    answered = {docid for each in training.values() for docid in each}
    answers = [each for each in read_documents(place / "medquad") if each.docid in answered]
    known = {each.docid: each.content for each in _spread(answers, texts)}
    questions = (each.text for each in read_queries(place / "medquad") if each.qid in training)
    return Domain(
        corpus=write_corpus(folder / "medicine.jsonl", known),
        sample=Sample(
            name="medicine",
            queries=list(islice(questions, sample)),
            documents=_spread(list(known.values()), sample),
        ),
        collection=CollectionSettings(name="medicine", source=str(place / "pubmedqa"), limit=asked),
    )


def _spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many, evenly over all."""
    step = max(1, len(items) / most)
    return [items[int(number * step)] for number in range(min(most, len(items)))]
