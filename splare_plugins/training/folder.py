"""The folder of a run: its settings, its checkpoints, and the model at the end."""

from __future__ import annotations

import json
from pathlib import Path

from accelerate import PartialState  # type: ignore[import-untyped]

from splare_plugins.errors import InputError
from splare_plugins.machine.files import read_json, replacing, write_json
from splare_plugins.machine.folders import replacing_folder
from splare_plugins.training.config import RunSettings

CONFIG = "config.json"
TRAINED_ON = "trained_on.json"
MODEL = "model"
CHECKPOINTS = "checkpoints"
_STATE = "trainer_state.json"
# What may change between the parts of an interrupted run without changing its weights.
_FREE = ("log_every", "save_every", "keep", "dead_after", "drift_every", "guards", "name", "copy_backbone", "workers")


def last_checkpoint(output: Path) -> Path | None:
    """The last checkpoint that was written to its end."""
    found = [path.parent for path in (output / CHECKPOINTS).glob(f"checkpoint-*/{_STATE}")]
    return max(found, key=steps_of, default=None)


def steps_of(checkpoint: Path | None) -> int:
    """The steps that were done when it was written."""
    return 0 if checkpoint is None else int(checkpoint.name.rsplit("-", 1)[-1])


def begin(config: RunSettings, *, overwrite: bool) -> PartialState:
    """Make the folder of a run, or find it to go on with, unless it is to be thrown away; every process calls this.

    Raises:
        InputError: if the folder holds another run, a finished one, or something else, or the processes cannot share
            a batch.
    """
    state = PartialState(cpu=config.device == "cpu")
    with state.main_process_first():  # the others find its files
        if state.is_main_process:
            _open(config.to_json(), Path(config.output), overwrite=overwrite)
    if config.batch_size % state.num_processes:
        raise InputError(f"batch_size {config.batch_size} cannot be shared by {state.num_processes} processes")
    return state


def require_same_data(output: Path, hashes: dict[str, str]) -> None:
    """Remember what a run is trained on, or compare it with what its last checkpoint was trained on.

    Args:
        output: the run's folder.
        hashes: of contents, by what a message calls them; times and places of files do not count.

    Raises:
        InputError: if something changed since the checkpoint.
    """
    path = output / TRAINED_ON
    if last_checkpoint(output) is not None and path.is_file():
        before = read_json(path)
        changed = [name for name in {**before, **hashes} if before.get(name) != hashes.get(name)]
        if changed:
            raise InputError(
                f"{changed[0]} changed since the last checkpoint in {output}; restore what was there to go on, choose "
                "another output, or add --overwrite to start anew"
            )
        return
    with replacing(path) as beside:
        write_json(beside, hashes)


def _open(config: str, output: Path, *, overwrite: bool) -> None:
    path = output / CONFIG
    if output.exists() and any(output.iterdir()):
        if not path.is_file():
            raise InputError(f"{output} holds something that is not a training run; choose another output")
        before, now = json.loads(path.read_text(encoding="utf-8")), json.loads(config)
        changed = [name for name in now if name not in _FREE and now[name] != before.get(name)]
        begun = last_checkpoint(output) is not None or (output / MODEL).exists()
        if changed and begun and not overwrite:
            raise InputError(
                f"{output} holds a run with another {changed[0]}; choose another output, or add --overwrite to start "
                "anew"
            )
        if (output / MODEL).exists() and not overwrite:
            raise InputError(f"{output / MODEL} is trained already; choose another output, or add --overwrite")
        if changed or overwrite:  # what was refused before its first checkpoint is nobody's loss
            with replacing_folder(output) as made:
                (made / CONFIG).write_text(config, encoding="utf-8")
            return
    with replacing(path) as beside:
        beside.write_text(config, encoding="utf-8")
