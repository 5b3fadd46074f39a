"""A model that loads once, shared by all transformers of a factory."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from splare_plugins.config import CONFIG_FILE, SplareConfig

if TYPE_CHECKING:
    from splare_plugins.model.encoder import Encoder


class LazyModel:
    """A model that loads when it is first used.

    Args:
        source: a name or folder, or a model that is loaded already.
        **options: of ``SplareModel.from_pretrained``.
    """

    def __init__(self, source: str | Path | Encoder, **options: Any) -> None:
        self._source = source
        self._options = options

    @cached_property
    def model(self) -> Encoder:
        """The model."""
        if not isinstance(self._source, str | Path):
            return self._source
        from splare_plugins.model import SplareModel

        return SplareModel.from_pretrained(self._source, **self._options)

    @property
    def config(self) -> SplareConfig:
        """Its configuration; only a SPLADE model, which has none on disk, is loaded for it."""
        # A model that is loaded may have been calibrated since.
        if isinstance(self._source, str | Path) and "model" not in vars(self):
            from splare_plugins.model.locate import locate_model

            folder = locate_model(str(self._source), revision=self._options["revision"])
            if (folder / CONFIG_FILE).is_file():
                return SplareConfig.load(folder)
        return self.model.config

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LazyModel) and (self._source, self._options) == (other._source, other._options)
