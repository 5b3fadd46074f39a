"""What an interrupted training leaves beside its output, and goes on from."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import torch

from splare_plugins.errors import InputError
from splare_plugins.machine.files import leftovers, replacing
from splare_plugins.training.autoencoder.settings import SaeSettings


class Unfinished:
    """One file beside ``output`` with all that the rest of a training depends on.

    Args:
        output: folder of the SAE to be.
        settings: of the training.
        data: hashes of what it is trained on, by what a message calls them.
        overwrite: whether another training's file may be replaced.

    Attributes:
        path: of the file.

    Raises:
        InputError: if the file is another training's, or damaged.
    """

    def __init__(self, output: Path, settings: SaeSettings, data: dict[str, str], *, overwrite: bool) -> None:
        output = output.resolve()
        self.path = output.with_name(f"{output.name}.unfinished")
        self._same = {"settings": dataclasses.asdict(settings), "data": data}
        self.state = self._read(settings, data, overwrite=overwrite) if self.path.exists() else None

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file by one of this moment."""
        with replacing(self.path) as beside:
            torch.save({**self._same, **state}, beside)

    def remove(self) -> None:
        """Once the SAE is there."""
        for file in (self.path, *leftovers(self.path.parent, [self.path.name])):
            file.unlink(missing_ok=True)

    def _read(self, settings: SaeSettings, data: dict[str, str], *, overwrite: bool) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
            what = settings.unlike(state["settings"])
            what = what or next((name for name, value in data.items() if state["data"].get(name) != value), None)
        except (OSError, RuntimeError, EOFError, KeyError, TypeError, AttributeError, pickle.UnpicklingError) as error:
            if overwrite:
                return None
            raise InputError(f"{self.path} is not an interrupted training of an SAE; remove it") from error
        if what is None:
            return state
        if overwrite:
            return None
        raise InputError(
            f"{self.path} is left of an interrupted training with another {what}; give the same options to go on with "
            "it, choose another output, or add --overwrite to start anew"
        )
