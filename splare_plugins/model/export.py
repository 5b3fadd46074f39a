"""A model as a folder that runs without torch: graph, tokenizer, config, and what names its latents."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from splare_plugins.config import INT8, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.machine.files import require_free
from splare_plugins.machine.folders import replacing_folder
from splare_plugins.model.card import CARD_FILE as README
from splare_plugins.model.card import write_card
from splare_plugins.model.find import PREFIX
from splare_plugins.model.make_graph import make_graph
from splare_plugins.model.parts import find_parts, load_parts
from splare_plugins.runtime.card import CARD_FILE, FORMATS, Format


def export_graph(
    name_or_path: str | Path,
    folder: str | Path,
    *,
    format: Format = "openvino",
    int8: bool = False,
    calibration: list[str] | None = None,
    revision: str | None = None,
    overwrite: bool = False,
) -> SplareConfig:
    """Write a model so that ``openvino`` or ``onnxruntime``, ``tokenizers`` and ``numpy`` are enough to run it.

    ``SplareModel.from_pretrained(folder)`` loads it too. It cannot be trained, and does not explain its hits.

    Args:
        name_or_path: as ``SplareModel.from_pretrained`` takes it, without ``st:``.
        folder: where to write.
        format: what is to run it.
        int8: quantise it, which makes another index.
        calibration: typical texts, from which int8 takes its scales; by default a few in six languages that come with
            this package.
        revision: branch, tag or commit of a hub model.
        overwrite: replace an earlier export.

    Returns:
        the config of the exported model.

    Raises:
        InputError: if the model cannot be written as a graph.
        MissingPartError: if a package is missing.
    """
    folder = Path(folder)
    if format not in FORMATS:
        raise InputError(f"there is no format {format!r}; try one of {', '.join(FORMATS)}")
    if calibration is not None and not int8:
        raise InputError("texts for calibration are used with int8 only; omit them")
    if str(name_or_path).startswith(PREFIX):
        raise InputError(f"{name_or_path} is run by sentence-transformers, which exports it itself")
    require_free(folder, overwrite=overwrite, marker=CARD_FILE, what="exported model")
    found = find_parts(
        name_or_path,
        revision=revision,
        quantization=INT8 if int8 else "model",
        query=None,
        document=None,
        local_files_only=False,
    )
    if found.config.quantization not in (None, INT8):
        raise InputError(f"{found.config.name} runs in {found.config.quantization}, which no graph has; use int8")
    parts = load_parts(
        found, device="cpu", dtype="float32", attention="auto", device_map=None, local_files_only=False, verify=True
    )
    config = dataclasses.replace(found.config, location=None)
    with replacing_folder(folder) as made:
        make_graph(made, parts._replace(config=config), config.quantization, format, calibration)
        _copy_names(found.folder, made, config)
        if not (made / README).is_file():
            write_card(made, config, repo_id=folder.name)
        config.save(made)
    return config


def _copy_names(source: Path, made: Path, config: SplareConfig) -> None:
    """The model's card, and all of its head but the tensors."""
    if (source / README).is_file():
        shutil.copy2(source / README, made / README)
    if (source / config.head).is_dir():
        shutil.copytree(source / config.head, made / config.head, ignore=shutil.ignore_patterns("*.safetensors"))
