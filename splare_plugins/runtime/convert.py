"""From a model in torch to the folder of a graph."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from torch import Tensor

from splare_plugins.backbone import Backbone, Tokens
from splare_plugins.backbone.tokens import padded_batch
from splare_plugins.config import INT8, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.heads import Head
from splare_plugins.machine.files import file_sha256
from splare_plugins.runtime.card import TOKENIZER_FILE, Format, GraphCard
from splare_plugins.runtime.int8 import quantize_onnx, quantize_openvino
from splare_plugins.runtime.padded import PaddedEncoder
from splare_plugins.runtime.session import PACKAGES, STATES, WEIGHTS, require_runtime

Way = Literal["traced", "by onnx"]
WAYS: dict[Format, tuple[Way, ...]] = {"openvino": ("traced", "by onnx"), "onnx": ("by onnx",)}
"""OpenVINO's own reading of a traced model is the faster graph; some models it does not take, or takes wrongly."""

INPUTS = ("ids", "mask", "keep")
OPSET = 18
_MADE_WITH = {"openvino": ("openvino", "nncf"), "onnx": ("onnx", "nncf")}


def write_graph(
    folder: Path,
    config: SplareConfig,
    backbone: Backbone,
    head: Head,
    *,
    format: Format,
    way: Way,
    calibration: Sequence[Tokens] | None = None,
) -> GraphCard:
    """Write a model as a graph, with its tokenizer, into ``folder``, which exists; other files there are removed.

    Args:
        folder: where to.
        config: of the model.
        backbone: in float32 on the CPU.
        head: likewise.
        format: what is to run it.
        way: one of :data:`WAYS`.
        calibration: tokenised texts, typical ones; with them the graph is quantised to int8.

    Raises:
        InputError: if the model cannot be written as a graph.
        MissingPartError: if a package is missing.
    """
    for package in (PACKAGES[format], "onnx"):
        require_runtime(package, format)
    for path in folder.iterdir():
        path.unlink()
    module = PaddedEncoder(config, backbone, head).eval()
    example = _example(config, backbone)
    feeds = None
    if calibration is not None:
        feeds = [dict(zip(INPUTS, _feed(config, [tokens], backbone.pad_id), strict=True)) for tokens in calibration]
    with _as_one_graph(config.name, format):
        if format == "onnx":
            graph = _write_onnx(folder, module, example)
            if feeds is not None:
                quantize_onnx(folder / graph, feeds)
        elif way == "traced":
            graph = _write_openvino(folder, _traced(module, example), feeds)
        else:
            with TemporaryDirectory() as scratch:
                name = _write_onnx(Path(scratch), module, example)
                graph = _write_openvino(folder, _read_onnx(Path(scratch) / name), feeds)
    _save_tokenizer(backbone, folder)
    quantization = None if calibration is None else INT8
    card = GraphCard(
        format=format,
        graph=graph,
        pad_id=backbone.pad_id,
        cut=backbone.tokenizer.truncation_side,
        positions=backbone.positions,
        quantization=quantization,
        made_with={name: version(name) for name in _MADE_WITH[format][: 1 if quantization is None else 2]},
        files={path.name: file_sha256(path) for path in sorted(folder.iterdir())},
    )
    card.save(folder)
    return card


def _traced(module: PaddedEncoder, example: tuple[Tensor, ...]) -> Any:
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    # What openvino.convert_model does, but for the report that it sends to its maker.
    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(module, example_input=example, shared_memory=True)
    graph = frontend.convert(frontend.load(decoder))
    for port, name in zip((*graph.inputs, *graph.outputs), (*INPUTS, WEIGHTS, STATES), strict=True):
        port.get_tensor().set_names({name})
    graph.validate_nodes_and_infer_types()
    return graph


def _read_onnx(path: Path) -> Any:
    import openvino

    return openvino.Core().read_model(path)


def _write_openvino(folder: Path, graph: Any, feeds: Any) -> str:
    import openvino

    if feeds is not None:
        graph = quantize_openvino(graph, feeds)
    openvino.save_model(graph, folder / "graph.xml", compress_to_fp16=False)
    return "graph.xml"


def _write_onnx(folder: Path, module: PaddedEncoder, example: tuple[Tensor, ...]) -> str:
    torch.onnx.export(
        module,
        example,
        str(folder / "graph.onnx"),
        input_names=list(INPUTS),
        output_names=[WEIGHTS, STATES],
        dynamic_axes={name: {0: "texts", 1: "tokens"} for name in (*INPUTS, STATES)} | {WEIGHTS: {0: "texts"}},
        opset_version=OPSET,
        dynamo=False,
    )
    return "graph.onnx"


@contextmanager
def _as_one_graph(name: str, format: Format) -> Iterator[None]:
    """Tracing, without its remarks; what fails in it is the model's nature."""
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")
        level = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        # Whatever the code of some model, run by a tracer, may raise.
        except Exception as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{name} cannot be written as one graph for {format}: {reason[:300]}; run it with the runtime torch"
            ) from error
        finally:
            logging.disable(level)


def _example(config: SplareConfig, backbone: Backbone) -> tuple[Tensor, ...]:
    """Two texts of different length, so that nothing in the graph depends on the length of one."""
    tokens = backbone.tokenize(["one two three four five six seven", "eight"], config.document.prompt, 32)
    ids, mask, keep = _feed(config, tokens, backbone.pad_id)
    return torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(keep)


def _feed(config: SplareConfig, batch: Sequence[Tokens], pad_id: int) -> tuple[Any, Any, Any]:
    ids, mask, keep = padded_batch(config, batch, pad_id)
    return ids, mask.astype("int64"), keep


def _save_tokenizer(backbone: Backbone, folder: Path) -> None:
    tokenizer = Tokenizer.from_str(backbone.tokenizer.backend_tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(folder / TOKENIZER_FILE))
