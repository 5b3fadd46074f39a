"""What the transformers of a factory have in common."""

from __future__ import annotations

from typing import Any

import pyterrier as pt

from pyterrier_splare.settings import SplareSettings
from splare_plugins.config import Side


class FactorySetting:
    """A setting of a transformer's factory, as an attribute of the transformer; tuning sets it for that one alone."""

    def __set_name__(self, owner: type[Role], name: str) -> None:
        self._name = name

    def __get__(self, role: Role | None, owner: type[Role]) -> Any:
        return self if role is None else getattr(role.splare, self._name)

    def __set__(self, role: Role, value: Any) -> None:
        role.splare = role.splare.apply_attributes(**{self._name: value})


class Role(pt.Transformer):
    """One thing that a SPLARE model does in a pipeline.

    Args:
        splare: the factory, which holds the model and the settings.
    """

    _method: str
    """The factory's method that makes it."""

    def __init__(self, splare: SplareSettings) -> None:
        self.splare = splare

    @property
    def batch_size(self) -> int:
        """Texts taken together; an indexing pipeline hands over as many records at a time."""
        return self.splare.batch_size

    def _columns(self, side: Side) -> tuple[str, str]:
        """The columns with the ids and the texts of a side."""
        return ("qid", "query") if side == "query" else ("docno", self.splare.text_field)

    def subtransformers(self) -> dict[str, Any]:
        """None: the factory is not a stage of the pipeline."""
        return {}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        own = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if name != "splare")
        return f"{self.splare!r}.{self._method}({own})"


class RowRole(Role):
    """A role that adds a column and leaves the rows and their ranks as they are."""

    def fuse_rank_cutoff(self, k: int) -> pt.Transformer:
        """``self % k`` without work on the rows that would be cut off."""
        return pt.RankCutoff(k) >> self
