"""Post-training quantisation to int8 with NNCF: 8-bit weights and activations, scales from typical texts."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import rich

from splare_plugins.machine.files import read_jsonl
from splare_plugins.runtime.card import Format
from splare_plugins.runtime.session import require_runtime

Feeds = Sequence[Mapping[str, Any]]
"""The graph's inputs for one text each."""


def calibration_texts() -> list[str]:
    """Paragraphs in six languages and abstracts, from which int8 scales are taken where nothing else is given."""
    with resources.as_file(resources.files(__package__) / "texts.jsonl") as path:
        return [str(row["text"]) for _, row in read_jsonl(path)]


def quantize_openvino(graph: Any, feeds: Feeds) -> Any:
    """An OpenVINO model in int8."""
    return _quantize(graph, feeds, "openvino")


def quantize_onnx(path: Path, feeds: Feeds) -> None:
    """Quantise an ONNX file in its place."""
    import onnx

    onnx.save(_quantize(onnx.load(path), feeds, "onnx"), path)


def _quantize(model: Any, feeds: Feeds, format: Format) -> Any:
    require_runtime("nncf", format)
    # Read when it is imported: with it, NNCF does not report its use to its maker.
    os.environ.setdefault("NNCF_CI", "1")
    import nncf

    # Its own set_log_level would silence the handlers of everybody.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    console = rich.get_console()
    quiet, console.quiet = console.quiet, True
    try:
        return nncf.quantize(
            model,
            nncf.Dataset(feeds),
            preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(feeds),
        )
    finally:
        console.quiet = quiet
