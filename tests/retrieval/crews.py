"""What workers of the tests load, in a module that a new process imports in no time.

A process imports the module of what it is given, and test modules import torch, transformers and pytest.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from splare_plugins.errors import InputError
from tests.corpus.fake import FakeModel

if TYPE_CHECKING:
    from splare_plugins.model.encoder import Encoder

ODD = " 33"
"""How the text ends that some of these models cannot encode."""


def slow_tiny(folder: Path, pids: Path | None = None) -> Encoder:
    """The tiny model, at its work long enough to be killed at it; in ``pids`` its process can be found."""
    from splare_plugins.model.splare import SplareModel

    model = SplareModel.from_pretrained(folder, device="cpu")
    tokenize = model._tokenize

    def slowly(texts: Sequence[str], side: Any) -> Any:
        if pids is not None:
            (pids / str(os.getpid())).touch()
        time.sleep(0.2)
        return tokenize(texts, side)

    model._tokenize = slowly  # type: ignore[method-assign]
    return model


class Fatal(FakeModel):
    """Dies of one document."""

    def encode(self, texts: Sequence[str]) -> Any:
        if any(text.endswith(ODD) for text in texts):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(texts)


class Failing(FakeModel):
    """Cannot encode one document."""

    error: Exception = ZeroDivisionError("of one document")

    def encode(self, texts: Sequence[str]) -> Any:
        if any(text.endswith(ODD) for text in texts):
            raise self.error
        return super().encode(texts)


class Refusing(Failing):
    """Likewise, and says what to do."""

    error = InputError("document d33 cannot be encoded; remove it")


def unloadable(how: str) -> Encoder:
    if how == "dies":
        os._exit(7)
    raise InputError("there is no such model; choose another")


def other_each_time(folder: Path) -> Any:
    try:
        folder.mkdir()
    except FileExistsError:
        return FakeModel(scale=7.0)
    return Fatal()


def noting(folder: Path) -> Any:
    """Leaves a note of what the process was given."""
    import torch

    (folder / str(os.getpid())).write_text(f"{os.environ['CUDA_VISIBLE_DEVICES']} {torch.get_num_threads()}")
    return FakeModel()
