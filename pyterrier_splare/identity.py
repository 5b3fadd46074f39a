"""Where latents come from: the model that made them, and the text that it read.

Both stand on the row's dictionary itself. What pandas keeps beside a frame would be lost: streams of records have no
such place, and ``merge`` and ``concat`` drop it. A plain dictionary (from a file, from another encoder, made by hand)
says nothing, and is accepted as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from splare_plugins.config import SplareConfig
from splare_plugins.errors import IdentityError, InputError


class Origin(NamedTuple):
    """The model that made latents."""

    name: str
    fingerprint: str

    @classmethod
    def of(cls, config: SplareConfig) -> Origin:
        """That of a model's configuration."""
        return cls(config.describe(), config.index_fingerprint())


class Latents(dict[str, float]):
    """A cell of ``toks`` or ``query_toks``, ``{"f12345": 87}``, that knows where it comes from.

    Args:
        weights: by latent.
        origin: the model that made them.
        text: what they were made of; ``None`` where it is not known.
    """

    __slots__ = ("origin", "text")

    def __init__(self, weights: Mapping[str, float], origin: Origin, text: str | None = None) -> None:
        super().__init__(weights)
        self.origin = origin
        self.text = text


def is_stale(cell: object, text: object) -> bool:
    """Whether the latents of a row were made of another text than the one that stands beside them now."""
    return isinstance(cell, Latents) and cell.text is not None and isinstance(text, str) and text != cell.text


def require_same_model(
    cells: Iterable[object],
    config: SplareConfig | None,
    what: str,
    name: Callable[[int], str],
    way_out: str = "use that model, or encode and index again with this one",
) -> None:
    """Refuse latents that another model made.

    Args:
        cells: a column of latents.
        config: the model that is expected; without one, anything is accepted.
        what: what expects it, for the message.
        name: what the message calls the row at a position, for example ``"query '7'"``.
        way_out: what to do, for the message.

    Raises:
        IdentityError: naming both models.
    """
    expected = None if config is None else Origin.of(config)
    for number, cell in enumerate(cells):
        if expected and isinstance(cell, Latents) and cell.origin.fingerprint != expected.fingerprint:
            raise IdentityError(
                f"{what} was made with {expected.name}, but the latents of {name(number)} come from "
                f"{cell.origin.name}; {way_out}"
            )


def config_of(model: Any) -> SplareConfig | None:
    """The configuration of what a user may call a model.

    Args:
        model: a ``Splare``, a ``SplareModel``, a ``SplareConfig``, the name or folder of a model, or ``None``. No
            weights are loaded.

    Raises:
        InputError: if it is none of these, or there is no such model.
    """
    if model is None or isinstance(model, SplareConfig):
        return model
    if isinstance(model, str | Path):
        from splare_plugins.model.describe import describe_model

        return describe_model(model).config
    config = getattr(model, "config", None)
    if not isinstance(config, SplareConfig):
        raise InputError(f"{model!r} is not a SPLARE model; give a Splare, a SplareModel, or a model's name or folder")
    return config
