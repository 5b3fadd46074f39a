"""With what an experiment was run: versions, machine, command, seeds."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from splare_plugins import __version__
from splare_plugins.experiment.collection import Collection
from splare_plugins.experiment.config import ExperimentConfig
from splare_plugins.experiment.store import Encodings

if TYPE_CHECKING:
    from splare_plugins.model.cross_encoder import CrossEncoderModel

_PACKAGES = (
    "torch",
    "transformers",
    "numpy",
    "scipy",
    "ir-measures",
    "pyserini",
    "openvino",
    "sentence-transformers",
    "mteb",
)


def make_record(
    config: ExperimentConfig,
    collections: Mapping[str, Collection],
    models: Mapping[str, Encodings],
    readers: Mapping[str, CrossEncoderModel],
    runs: Mapping[str, str],
    seconds: float,
) -> dict[str, Any]:
    """All that somebody needs who wants the same figures; the settings stand in it whole.

    Args:
        config: of the experiment.
        collections: by name.
        models: by name.
        readers: cross-encoders, by system.
        runs: hash of each file.
        seconds: of this call, which may have found runs of earlier ones.
    """
    import torch

    return {
        "splare_plugins": __version__,
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": {
            "system": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "torch_threads": torch.get_num_threads(),
            "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        },
        "command": shlex.join(sys.argv),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "seeds": {"randomisation": config.seed},
        "settings": asdict(config),
        "collections": {
            name: {
                "source": each.source,
                "corpus": each.corpus,
                "asked": each.asked,
                "queries": len(each.queries),
                "judged": len(each.qrels),
            }
            for name, each in collections.items()
        },
        "models": {
            name: {"model": each.config.describe(), "fingerprint": each.config.index_fingerprint()}
            for name, each in models.items()
        }
        | {each.name: {"model": each.name, "fingerprint": each.fingerprint} for each in readers.values()},
        "runs": dict(runs),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
