"""A finished experiment, read from its folder."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from splare_plugins.errors import InputError, splare_command
from splare_plugins.experiment.config import ExperimentConfig
from splare_plugins.experiment.systems import Costs
from splare_plugins.machine.files import read_json

CONFIG_FILE = "settings.json"
RECORD_FILE = "record.json"
PER_QUERY_FILE = "per_query.tsv"
_NAMES = ("collection", "system", "query")


@dataclass(frozen=True, kw_only=True)
class Results:
    """What an experiment found.

    Attributes:
        config: as it was run.
        record: of versions, machine and the like.
        values: of each query by measure, by collection and system.
        costs: by collection and system.
    """

    config: ExperimentConfig
    record: dict[str, Any]
    values: dict[tuple[str, str], dict[str, np.ndarray]]
    costs: dict[tuple[str, str], Costs]

    def means(self) -> dict[tuple[str, str, str], float]:
        """By collection, system and measure."""
        return {
            (*names, measure): float(values.mean())
            for names, measures in self.values.items()
            for measure, values in measures.items()
        }


def require_finished(folder: Path) -> None:
    """Raise an ``InputError`` for a folder that holds no finished experiment."""
    if not (folder / RECORD_FILE).is_file():
        if (folder / CONFIG_FILE).is_file():
            raise InputError(f"the experiment in {folder} was not finished; give its command again")
        command = splare_command("experiment", "run", "CONFIG.yaml", "-o", folder)
        raise InputError(f"{folder} holds no experiment; make one: {command}")


def read_results(folder: str | Path) -> Results:
    """Read the folder of a finished experiment.

    Raises:
        InputError: if it holds none.
    """
    folder = Path(folder)
    require_finished(folder)
    record = read_json(folder / RECORD_FILE)
    config = ExperimentConfig.from_dict(record["settings"], str(folder / RECORD_FILE))
    found: dict[tuple[str, str], list[list[float]]] = {}
    with (folder / PER_QUERY_FILE).open(encoding="utf-8", newline="") as stream:
        head, *rows = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
    for collection, system, _, *figures in rows:
        found.setdefault((collection, system), []).append([float(figure) for figure in figures])
    measures = head[len(_NAMES) :]
    values = {names: dict(zip(measures, np.array(rows).T, strict=True)) for names, rows in found.items()}
    costs = {
        (collection, system): Costs(**read_json(folder / "runs" / collection / f"{system}.json")["costs"])
        for collection, system in values
    }
    return Results(config=config, record=record, values=values, costs=costs)
