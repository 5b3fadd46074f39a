"""Reproduction pages, in the shape of Pyserini's: the command, what is expected, what was observed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from splare_plugins.errors import InputError, splare_command
from splare_plugins.experiment.config import ExperimentConfig
from splare_plugins.experiment.results import Results
from splare_plugins.experiment.tables import Table

TOLERANCE = 0.005
_HEAD = ("collection", "system", "measure", "expected", "observed")
_ROW = re.compile(r"^\| (\S+) +\| (\S+) +\| (\S+) +\| +(\d\.\d+) \|", re.MULTILINE)
_STATED = re.compile(r"differs from the expected one by at most (\d*\.?\d+)")
_SHOWN = ("splare_plugins", "python", "torch", "transformers", "openvino", "pyserini", "ir-measures")

Figures = Mapping[tuple[str, str, str], float]
"""Means by collection, system and measure."""


class Difference(NamedTuple):
    """A figure that is not what a page expects."""

    collection: str
    system: str
    measure: str
    expected: float
    observed: float

    def __str__(self) -> str:
        place = f"{self.measure} of {self.system} on {self.collection}"
        return f"{place} is {self.observed:.4f}, and {self.expected:.4f} is expected"


class Page(NamedTuple):
    """What a page says.

    Attributes:
        expected: its figures.
        tolerance: the most by which one may differ.
    """

    expected: dict[tuple[str, str, str], float]
    tolerance: float


def read_page(path: Path) -> Page:
    """Read what a page expects.

    Raises:
        InputError: for what is not a reproduction page.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the page {path}: {getattr(error, 'strerror', None) or error}") from error
    stated = _STATED.search(text)
    expected = {(row[1], row[2], row[3]): float(row[4]) for row in _ROW.finditer(text)}
    if stated is None or not expected:
        command = splare_command("experiment", "page", "FOLDER", "CONFIG.yaml", "-o", path)
        raise InputError(
            f"{path} is not a reproduction page, which states figures and a tolerance; make one: {command}"
        )
    return Page(expected, float(stated[1]))


def differences(page: Page, observed: Figures, collections: list[str]) -> Iterator[Difference]:
    """Figures of these collections that differ from the page's by more than it allows.

    Raises:
        InputError: if the page expects none of them, or one of these was not observed.
    """
    wanted = {names: value for names, value in page.expected.items() if names[0] in collections}
    if not wanted:
        there = ", ".join(dict.fromkeys(names[0] for names in page.expected))
        raise InputError(f"the page has no figure of {', '.join(collections)}; it is about {there}")
    for names, expected in wanted.items():
        if names not in observed:
            collection, system, measure = names
            raise InputError(
                f"the experiment has no {measure} of {system} on {collection}, which the page expects; run the config "
                "that the page names"
            )
        # Both as they are printed, so that the last digit of neither is lost.
        if abs(round(observed[names], 4) - expected) > page.tolerance + 1e-9:
            yield Difference(*names, expected, observed[names])


def reproduction_page(
    results: Results, config: Path, path: Path, *, expected: Figures | None = None, tolerance: float = TOLERANCE
) -> str:
    """The text of a page.

    Args:
        results: of the experiment.
        config: the file that it was run with, by the name that the page's command has.
        path: where the page will stand, whose name its title and its folder of results have.
        expected: figures of an earlier page; by default those that were observed.
        tolerance: by which a figure may differ, stated on the page.

    Raises:
        InputError: if the experiment was run with other settings than the file has.
    """
    if ExperimentConfig.from_yaml(config) != results.config:
        command = splare_command("experiment", "run", config, "-o", "FOLDER")
        raise InputError(f"the experiment was run with other settings than {config} has; run it again: {command}")
    folder, observed = path.stem, results.means()
    first = results.config.collections[0].name
    check = splare_command("experiment", "check", folder, path)
    whole = [splare_command("experiment", "run", config, "-o", folder), check]
    parts = [f"# Reproducing: {path.stem}", "Made by `splare experiment page`; change the config instead."]
    parts += ["## Command", f"```bash\n{chr(10).join(whole)}\n```"]
    if len(results.config.collections) > 1:
        one = splare_command("experiment", "run", config, "-o", folder, "--collection", first)
        parts += ["One of its collections alone; the rest can follow in the same folder:", f"```bash\n{one}\n```"]
    parts += [f"The config, `{config}`:", f"```yaml\n{config.read_text(encoding='utf-8').strip()}\n```"]
    agrees = f"A figure agrees if it differs from the expected one by at most {tolerance:g}: sums of floats differ"
    parts += ["## Figures", f"{agrees} between processors and runtimes, and near-ties with them."]
    rows = [
        [*names, f"{(expected or observed).get(names, value):.4f}", f"{value:.4f}"]
        for names, value in sorted(observed.items(), key=lambda item: _order(results, item[0]))
    ]
    table = Table(title="", head=_HEAD, rows=rows, words=3).markdown().strip()
    parts += [table, "## Observed with", _observed_with(results)]
    return "\n\n".join(parts) + "\n"


def _order(results: Results, names: tuple[str, str, str]) -> tuple[int, int, int]:
    collections = [each.name for each in results.config.collections]
    systems = [each.name for each in results.config.systems]
    return collections.index(names[0]), systems.index(names[1]), list(results.config.measures).index(names[2])


def _observed_with(results: Results) -> str:
    record = results.record
    versions = {"splare_plugins": record["splare_plugins"], **record["versions"]}
    machine = record["machine"]
    gpus = f", {', '.join(machine['gpus'])}" if machine["gpus"] else ""
    shown = ", ".join(f"{name} {versions[name]}" for name in _SHOWN if name in versions)
    models = [f"`{name}` ({each['fingerprint'][:12]})" for name, each in record["models"].items()]
    lines = [
        f"- {record['finished'][:10]}, {machine['cores']} cores of {machine['processor']}{gpus}; {shown}.",
        *([f"- Models, with their fingerprints: {', '.join(models)}."] if models else []),
    ]
    return "\n".join(lines)
