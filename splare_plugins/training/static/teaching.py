"""What teachers say of the texts and documents that a table is trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from splare_plugins.errors import InputError, splare_command
from splare_plugins.training.config_parts import TeacherSettings
from splare_plugins.training.data.teachers import TeacherVectors, products
from splare_plugins.training.static.ranking import divergence


class Teaching:
    """Scores of documents for texts by a weighted sum of teachers, both given by their numbers.

    A teacher teaches the texts that its file has vectors of, so that one of English may teach some of them; documents
    it must have all.

    Args:
        teachers: by name.
        texts: of the training.
        documents: that it ranks.
        sources: of both, as ``splare train embed`` takes them.

    Raises:
        InputError: if a file is missing or damaged, lacks a document, or has a vector of no text.
    """

    def __init__(
        self,
        teachers: Mapping[str, TeacherSettings],
        texts: Sequence[str],
        documents: Sequence[str],
        *,
        sources: Sequence[str],
    ) -> None:
        self._teachers = []
        known = np.zeros(len(texts), dtype=bool)
        for each in teachers.values():
            vectors = TeacherVectors.load(Path(each.vectors), sources)
            queries, ranked = vectors.places("query", texts), vectors.places("document", documents)
            lacking = int((ranked < 0).sum())
            if lacking or (queries < 0).all():
                what = f"{lacking} of the {len(documents)} documents" if lacking else "any of the texts"
                command = splare_command("train", "embed", *sources, "--teacher", "TEACHER", "-o", each.vectors)
                raise InputError(
                    f"{each.vectors} lacks vectors of {what}; remove it and make it from those of this run: {command}"
                )
            known |= queries >= 0
            self._teachers.append((each.scale, vectors, queries, ranked))
        self.taught = int(known.sum())
        """Texts that a teacher knows."""

    def scores(self, texts: np.ndarray, documents: np.ndarray) -> np.ndarray:
        """What the teachers say, 0 where none knows a text; float32, shape ``[texts, documents]``."""
        total = np.zeros((len(texts), len(documents)), dtype=np.float32)
        for scale, vectors, queries, ranked in self._teachers:
            known = np.flatnonzero(queries[texts] >= 0)
            left, right = vectors.rows("query", queries[texts[known]]), vectors.rows("document", ranked[documents])
            total[known] += scale * products(left, right)
        return total

    def divergence(self, made: Tensor, texts: np.ndarray, documents: np.ndarray) -> Tensor:
        """Between the table's ranking and the teachers', over the texts of which they prefer some document.

        Args:
            made: the table's scores, shape ``[texts, documents]``.
            texts: their numbers.
            documents: likewise.
        """
        scores = self.scores(texts, documents)
        telling = np.flatnonzero(np.ptp(scores, axis=1) > 0)
        if not len(telling):
            return made.new_zeros(())
        return divergence(made[telling], torch.from_numpy(scores[telling])) * (len(telling) / len(texts))
