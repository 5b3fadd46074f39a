"""A model written as a graph, which has to compute what torch computes."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from splare_plugins.config import INT8
from splare_plugins.errors import InputError
from splare_plugins.machine.threads import thread_count
from splare_plugins.model.forward import weights_of
from splare_plugins.model.parts import Parts
from splare_plugins.runtime.card import Format
from splare_plugins.runtime.convert import WAYS, write_graph
from splare_plugins.runtime.graph import Graph
from splare_plugins.runtime.int8 import calibration_texts

logger = logging.getLogger(__name__)

# Relative difference of a text's vector. Rounding is a thousand times smaller; but where a TopK within each token
# decides between two latents that are nearly equal, one of them may change. int8 is coarse by nature.
_TOLERANCE = {None: 0.01, INT8: 0.5}


def make_graph(
    folder: Path, parts: Parts, quantization: str | None, format: Format, texts: list[str] | None = None
) -> None:
    """Write a model's graph into ``folder``, and see that it computes what torch computes.

    Args:
        folder: an empty one.
        parts: of the model, in float32 on the CPU.
        quantization: ``"int8"`` or ``None``.
        format: what is to run it.
        texts: typical ones, for int8; by default :func:`calibration_texts`.

    Raises:
        InputError: if the model cannot be written as a graph, or the graph computes something else.
    """
    config, backbone = parts.config, parts.backbone
    calibration = None
    if quantization == INT8:
        calibration = [
            tokens
            for number, text in enumerate(texts or calibration_texts())
            for side in [config.query if number % 2 else config.document]
            for tokens in backbone.tokenize([text], side.prompt, side.max_length)
        ]
    *ways, last = WAYS[format]
    for way in ways:
        try:
            write_graph(folder, config, backbone, parts.head, format=format, way=way, calibration=calibration)
            return _require_same_vectors(folder, parts, quantization)
        except InputError as error:
            logger.info("trying another way: %s", error)
    write_graph(folder, config, backbone, parts.head, format=format, way=last, calibration=calibration)
    return _require_same_vectors(folder, parts, quantization)


def _require_same_vectors(folder: Path, parts: Parts, quantization: str | None) -> None:
    config = parts.config
    graph = Graph(folder, bfloat16=False, threads=thread_count(), verify=False)
    probes = ["a", *calibration_texts()[::17]]
    prompt, length = config.document.prompt, min(config.document.max_length, 128)
    tokens = parts.backbone.tokenize(probes, prompt, length)
    expected = weights_of(config, parts.backbone, parts.head, tokens).numpy()
    found = graph.weights(config, graph.tokenize(probes, prompt, length))
    sizes = np.linalg.norm(expected, axis=1)
    apart = float((np.linalg.norm(found - expected, axis=1) / np.where(sizes > 0, sizes, 1)).max())
    # A difference that is not a number is none that is small.
    if not apart <= _TOLERANCE[quantization]:
        raise InputError(
            f"the graph of {config.name} for {graph.card.format} gives other vectors than torch (relative difference "
            f"{apart:.2g}), so it is not used; take the runtime torch"
        )
