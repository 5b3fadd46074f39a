"""What the transformers of a factory have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyterrier as pt

from pyterrier_splare.columns import is_missing
from pyterrier_splare.settings import SplareSettings
from splare_plugins.backbone.texts import joined
from splare_plugins.config import Side
from splare_plugins.errors import InputError


class FactorySetting:
    """A setting of a transformer's factory, as an attribute of the transformer; tuning sets it for that one alone."""

    def __set_name__(self, owner: type[Role], name: str) -> None:
        self._name = name

    def __get__(self, role: Role | None, owner: type[Role]) -> Any:
        return self if role is None else getattr(role.splare, self._name)

    def __set__(self, role: Role, value: Any) -> None:
        role.splare = role.splare.apply_attributes(**{self._name: value})


class Bound(pt.Transformer):
    """What a method of its owner makes; those with the same owner and settings are equal."""

    _method: str
    """The owner's method that makes it."""
    _owner: str
    """The attribute that holds the owner."""

    def subtransformers(self) -> dict[str, Any]:
        """None: the owner is not a stage of the pipeline."""
        return {}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        own = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if name != self._owner)
        return f"{getattr(self, self._owner)!r}.{self._method}({own})"


class KeepsRows(pt.Transformer):
    """Adds columns, and leaves the rows and their ranks as they are."""

    def fuse_rank_cutoff(self, k: int) -> pt.Transformer:
        """``self % k`` without work on the rows that would be cut off."""
        return pt.RankCutoff(k) >> self


class Role(Bound):
    """One thing that a SPLARE model does in a pipeline.

    Args:
        splare: the factory, which holds the model and the settings.
    """

    _owner = "splare"

    def __init__(self, splare: SplareSettings) -> None:
        self.splare = splare

    @property
    def batch_size(self) -> int:
        """Texts taken together; an indexing pipeline hands over as many records at a time."""
        return self.splare.batch_size

    def _texts(self, side: Side, inp: Mapping[str, Any]) -> list[object]:
        """What is encoded of the rows of a frame: queries, or texts with their titles.

        Args:
            side: which of the two.
            inp: a frame, or columns by name.

        Raises:
            InputError: for a title that is not a string.
        """
        _, column = self._columns(side)
        texts = list(inp[column])
        title = self.splare.title_field
        if side == "query" or title is None or title == column or title not in inp:
            return texts
        titles = ["" if is_missing(each) else each for each in inp[title]]
        if wrong := next((each for each in titles if not isinstance(each, str)), None):
            raise InputError(
                f"the column {title!r} has {wrong!r}, which is not a text; drop it, or leave titles aside with "
                "Splare(..., title_field=None)"
            )
        return [
            joined(title, text) if isinstance(text, str) else text for title, text in zip(titles, texts, strict=True)
        ]

    def _columns(self, side: Side) -> tuple[str, str]:
        """The columns with the ids and the texts of a side."""
        return ("qid", "query") if side == "query" else ("docno", self.splare.text_field)


class RowRole(Role, KeepsRows):
    """A role that adds a column and leaves the rows and their ranks as they are."""
