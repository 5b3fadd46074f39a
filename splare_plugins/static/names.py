"""What latents are called, where there is a table and not the model's head."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from splare_plugins.config import SplareConfig
from splare_plugins.heads.labels import IDENTITY, Label, about_labels, read_labels, require_own_labels
from splare_plugins.impacts import latent_term


class LatentNames:
    """The labels of a model's latents, read when the first is asked for.

    Args:
        config: of the model.
        table: of labels, which need not be there.
    """

    def __init__(self, config: SplareConfig, table: Path | None) -> None:
        self._config, self.table = config, table

    def name(self, latent: int) -> str:
        """What a person may call the latent; its pseudo-term where nothing better is known.

        Raises:
            InputError: if the table of labels is damaged.
            IdentityError: if it is another model's.
        """
        label = self._labels.get(latent)
        return latent_term(latent) if label is None else label.text

    @cached_property
    def _labels(self) -> dict[int, Label]:
        if self.table is None or not self.table.is_file():
            return {}
        require_own_labels(about_labels(self.table).get(IDENTITY), self._config, self.table)
        return read_labels(self.table, self._config.width)
