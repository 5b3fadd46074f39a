"""Which runtime computes a model's vectors; and the graphs of models, made once and kept in the cache."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Unpack, get_args

from splare_plugins.config import INT8, SideConfig, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.machine.cache import cache_root
from splare_plugins.machine.folders import making_once
from splare_plugins.machine.packages import torch_may_have_gpu
from splare_plugins.machine.threads import thread_count
from splare_plugins.model.parts import FoundParts, Parts, Placement, require_positions
from splare_plugins.runtime.card import CARD_FILE
from splare_plugins.runtime.graph import Graph
from splare_plugins.runtime.session import require_runtime

logger = logging.getLogger(__name__)

Runtime = Literal["auto", "torch", "openvino"]
RUNTIMES: tuple[str, ...] = get_args(Runtime)
VARIABLE = "SPLARE_RUNTIME"

LARGE = 2 << 30
"""Bytes of a backbone beyond which no graph is made unless it is asked for."""

# Raised when this version makes other graphs of the same models, so that old ones in the cache are left alone.
_CONVERSION = 1


def open_graph(
    found: FoundParts,
    load: Callable[[], Parts],
    *,
    runtime: str,
    verify: bool,
    **placement: Unpack[Placement],
) -> Graph | None:
    """The graph that computes a model when it is loaded with these options; ``None`` where torch does.

    Args:
        found: the model.
        load: gives its parts in float32 on the CPU, to make a graph of.
        runtime: a :data:`Runtime`; ``"auto"`` is what the environment variable ``SPLARE_RUNTIME`` says, else OpenVINO
            where it is installed and can do what the other options want.
        verify: compare the files of the graph with their hashes.
        **placement: as for torch.

    Raises:
        InputError: for an unknown runtime, options that the asked one does not have, or a model that it cannot run.
        MissingPartError: if the asked one is not installed.
    """
    config = found.config
    asked = (os.environ.get(VARIABLE) or "auto") if runtime == "auto" else runtime
    if asked not in RUNTIMES:
        raise InputError(f"there is no runtime {asked!r}; try one of {', '.join(RUNTIMES)}")
    required = asked == "openvino" or found.exported or config.quantization == INT8
    if runtime == "torch" and required:
        what = "an exported model" if found.exported else "int8"
        raise InputError(f"torch does not run {what}; omit the runtime")
    if required and placement["device"] == "auto":
        placement["device"] = "cpu"
    obstacle = _obstacle(config, placement)
    if required and obstacle is not None:
        raise InputError(
            f"a graph does not run with {obstacle}, but on the processor in float32, bfloat16 or int8; omit it, or "
            "take the runtime torch"
        )
    if not required and (asked == "torch" or obstacle is not None or find_spec("openvino") is None):
        return None
    try:
        folder = found.folder if found.exported else cached_graph(config, load, limit=None if required else LARGE)
    except InputError as error:
        if required:
            raise
        logger.warning("%s", error)
        return None
    dtype = str(placement["dtype"]).removeprefix("torch.")
    reduced = dtype == "bfloat16" or (dtype == "auto" and config.quantization == INT8)
    graph = Graph(folder, bfloat16=reduced, threads=thread_count(), verify=verify)
    require_positions(config, graph.card.positions)
    return graph


def _obstacle(config: SplareConfig, placement: Placement) -> str | None:
    """What of the options only torch does."""
    dtype, attention = placement["dtype"], placement["attention"]
    if placement["device_map"] is not None:
        return "a device map"
    where = _device_type(placement["device"])
    obstacles = {
        f"the device {where}": where != "cpu",
        f"the dtype {dtype}": str(dtype).removeprefix("torch.") not in ("auto", "float32", "bfloat16"),
        f"the attention {attention}": attention != "auto",
        f"{config.quantization} weights": config.quantization not in (None, INT8),
    }
    return next((what for what, there in obstacles.items() if there), None)


def _device_type(name: str) -> str:
    if str(name) == "cpu" or (name == "auto" and not torch_may_have_gpu()):
        return "cpu"
    from splare_plugins.backbone.placement import choose_device

    return choose_device(name, None).type


def is_pinned(config: SplareConfig) -> bool:
    """Whether the config says which weights it means, so that what was made of them can be found again."""
    backbone = config.backbone_sha256 or config.backbone_revision
    return bool(backbone and config.head_sha256 and (config.adapter is None or config.adapter_sha256))


def cached_graph(config: SplareConfig, load: Callable[[], Parts], *, limit: int | None = None) -> Path:
    """The folder of a model's OpenVINO graph, made now if it is not in the cache.

    Args:
        config: of the model; its prompts and lengths are no part of the graph.
        load: gives the parts of the model in float32 on the CPU.
        limit: most bytes of a backbone that a new graph is made of.

    Raises:
        InputError: if the model is larger, cannot be written as a graph, or does not say which weights it means.
    """
    require_runtime("openvino", "openvino")
    if not is_pinned(config):
        raise InputError(
            f"{config.name} does not say by hash or commit which weights it means, so a graph of them cannot be kept; "
            "take the runtime torch, or assemble the model again"
        )
    alike = dataclasses.replace(config, query=SideConfig(), document=SideConfig())
    made_of = [_CONVERSION, alike.fingerprint(), version("openvino"), version("transformers")]
    key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
    folder = cache_root() / "graphs" / f"{Path(config.name).name}-{config.quantization or 'float32'}-{key}"

    def write(made: Path) -> None:
        from splare_plugins.model.make_graph import make_graph

        parts = load()
        size = sum(weight.nbytes for weight in parts.backbone.parameters())
        if limit is not None and size > limit:
            raise InputError(
                f"{config.name} has a backbone of {size / 1e9:.1f} GB, which the cache would keep a second time; it "
                "runs in torch unless the runtime openvino is asked for"
            )
        logger.info("writing %s for OpenVINO into %s (once)", config.name, folder)
        make_graph(made, parts, config.quantization, "openvino")

    making_once(folder, CARD_FILE, write)
    return folder
