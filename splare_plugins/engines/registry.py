"""Engines by name, found through entry points so that an adapter only has to be installed."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from splare_plugins.engines.base import Engine, TextEngine
from splare_plugins.errors import InputError, MissingPartError

GROUP = "splare_plugins.engines"


def engine_names() -> list[str]:
    """Names of all registered engines, sorted; nothing is imported."""
    return sorted(_registered())


def get_engine(name: str) -> Engine:
    """Import and return the engine called ``name``.

    Raises:
        InputError: if no installed package registers it.
        MissingPartError: if its package needs something that is not installed.
    """
    found = _registered().get(name)
    if found is None:
        raise InputError(f"there is no engine {name!r}; installed are: {', '.join(engine_names())}")
    try:
        engine: Engine = found.load()()
    except ImportError as error:
        raise MissingPartError(f"the engine {name!r} needs a package that is not installed: {error}") from error
    return engine


def get_text_engine(name: str) -> TextEngine:
    """The engine called ``name``, which has to rank by words too.

    Raises:
        InputError: if there is no such engine, or it ranks by latents only.
        MissingPartError: as :func:`get_engine`.
    """
    engine = get_engine(name)
    if not isinstance(engine, TextEngine):
        raise InputError(f"the engine {name!r} does not rank by words; lucene does")
    return engine


def _registered() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
