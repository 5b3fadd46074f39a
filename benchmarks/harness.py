"""What the scripts share: options, medians of paired runs, checks that both sides agree, and records as JSON."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

SKIPPED = 77
"""Exit status of a script that cannot run on this machine."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row of the tables in README.md and docs/figures.md.

    Attributes:
        what: what was measured.
        against: its peer in the same run.
        ratio: one number or more.
        unit: what each of them says, such as ``"x less"``.
        command: script and options.
        aim: the number that each should reach, or one for each; ``None`` where there is no aim.
        at: whether a ratio should be at least or at most its aim.
    """

    what: str
    against: str
    ratio: Sequence[float]
    unit: Sequence[str]
    command: str
    aim: float | Sequence[float] | None = None
    at: str = "least"

    def __post_init__(self) -> None:
        if len(self.ratio) != len(self.unit) or self.at not in ("least", "most"):
            raise ValueError(f"a figure has one unit for each ratio, and an aim at least or at most: {self}")

    @property
    def aims(self) -> list[float] | None:
        """The aim of each ratio."""
        if self.aim is None:
            return None
        aims = [self.aim] * len(self.ratio) if isinstance(self.aim, (int, float)) else list(self.aim)
        if len(aims) != len(self.ratio):
            raise ValueError(f"a figure has one aim, or one for each ratio: {self}")
        return aims

    def reached(self) -> bool | None:
        """Whether each ratio reaches the aim; ``None`` without an aim."""
        if (aims := self.aims) is None:
            return None
        pairs = zip(self.ratio, aims, strict=True)
        return all(value >= aim if self.at == "least" else value <= aim for value, aim in pairs)


def add_options(parser: argparse.ArgumentParser, small: Mapping[str, Any]) -> None:
    """Give a script ``--small``, which sets other defaults, and ``--json``."""
    parser.add_argument("--small", action="store_true", help="the same with less data, in less than a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a record of the run")
    if "--small" in sys.argv[1:]:
        parser.set_defaults(**small)


def paired(peer: Sequence[float], ours: Sequence[float]) -> float:
    """Median over rounds of the peer's figure by ours in the same round."""
    return statistics.median(other / own for other, own in zip(peer, ours, strict=True))


def disagree(sentence: str) -> NoReturn:
    """End the script, because its two sides are not the same and their ratio means nothing."""
    raise SystemExit(f"{Path(sys.argv[0]).name}: {sentence}")


def require_same(what: str, ours: object, peer: object) -> None:
    """Stop unless both sides have equal values."""
    if ours != peer:
        disagree(f"{what} differ between the two sides: {str(ours)[:80]} and {str(peer)[:80]}")


def require_close(what: str, ours: Any, peer: Any, *, relative: float = 0.0, absolute: float = 0.0) -> None:
    """Stop unless both sides have the same numbers but for rounding; NaN is never the same."""
    one, other = np.asarray(ours, dtype=np.float64), np.asarray(peer, dtype=np.float64)
    if one.shape != other.shape:
        disagree(f"{what} have other shapes on the two sides: {one.shape} and {other.shape}")
    apart = np.abs(one - other)
    if not (apart <= absolute + relative * np.abs(other)).all():
        disagree(f"{what} differ between the two sides by up to {apart.max():.3g}")


def require_found(what: str, count: float) -> None:
    """Stop if there is nothing to compare: two empty sides agree about nothing."""
    if not count > 0:
        disagree(f"there are no {what}, so that nothing was compared")


def skip(reason: str) -> NoReturn:
    """End a script that cannot run on this machine, with a line that says why."""
    print(f"{Path(sys.argv[0]).name}: skipped: {reason}")
    raise SystemExit(SKIPPED)


def require_opensearch() -> None:
    """Skip the script where no OpenSearch node can be had: without Java, or without a network for the first one."""
    from opensearch_splare.node import node_home
    from splare_plugins.errors import InputError, MissingPartError
    from splare_plugins.machine.java import find_java

    try:
        find_java()
        node_home()
    except (InputError, MissingPartError) as error:
        skip(str(error))


def environment() -> dict[str, Any]:
    """Where a record was made."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": gpu,
    }


def write_record(options: argparse.Namespace, figures: Sequence[Figure], **more: Any) -> None:
    """Write the record of a run to the file of ``--json``, if there is one; ``more`` is kept beside the figures."""
    for figure in figures:
        if not all(np.isfinite(value) for value in figure.ratio):
            disagree(f"{figure.what}: a ratio is not a number")
    if options.json is None:
        return
    record = {
        "script": Path(sys.argv[0]).name,
        "date": datetime.date.today().isoformat(),
        "small": options.small,
        "environment": environment(),
        "figures": [dataclasses.asdict(figure) for figure in figures],
        **more,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
