"""Cross-encoders: a query and a document are read together, and one number says how well they fit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from splare_plugins.backbone.placement import choose_device, choose_precision
from splare_plugins.errors import InputError
from splare_plugins.machine.files import file_sha256, read_json
from splare_plugins.machine.hub import hub_errors
from splare_plugins.machine.packages import require_package
from splare_plugins.model.find import require_model_name

_CLASS = "ForSequenceClassification"
# No pickles, which may hold code, and no copies of the weights for other libraries.
_FILES = ("*.json", "*.safetensors", "*.txt", "*.model")


class CrossEncoderModel:
    """A model that transformers loads as a sequence classification with one output.

    Args:
        name: folder or hub id.
        device: where it runs; ``auto`` for the fastest there is.
        dtype: of its weights; ``auto`` as for other models.
        max_length: tokens of a pair; by default all that the model takes.

    Raises:
        InputError: for what is not such a model, before its weights are read.
        MissingPartError: if sentence-transformers is not installed.
    """

    def __init__(self, name: str, *, device: str = "auto", dtype: str = "auto", max_length: int | None = None) -> None:
        require_package("sentence_transformers", "re-ranking by a cross-encoder", "sentence-transformers")
        self.name = name
        self._device, self._dtype = device, dtype
        self._folder = _folder(name)
        config = _require_one_output(name, self._folder)
        self._most = config.get("max_position_embeddings")
        if max_length is not None and self._most is not None and max_length > self._most:
            raise InputError(f"max_length must be at most the {self._most} tokens that {name} takes, not {max_length}")
        self._max_length = max_length

    @cached_property
    def fingerprint(self) -> str:
        """Hash of its files."""
        return file_sha256(*sorted(path for path in self._folder.iterdir() if path.is_file() and _is_part(path)))

    def scores(self, query: str, texts: Sequence[str], *, batch: int) -> np.ndarray:
        """How well each text fits the query: logits, which unlike probabilities do not run into 1.

        Raises:
            InputError: if a score is not finite.
        """
        pairs = [(query, text) for text in texts]
        found = np.asarray(self._model.predict(pairs, batch_size=batch, show_progress_bar=False), dtype=np.float64)
        if not np.isfinite(found).all():
            raise InputError(f"{self.name} gives scores that are not finite for {query[:60]!r}; try dtype: float32")
        return found.reshape(len(pairs))

    @cached_property
    def _model(self) -> Any:
        from sentence_transformers import CrossEncoder
        from torch import nn

        place = choose_device(self._device, None)
        try:
            model = CrossEncoder(
                str(self._folder),
                device=str(place),
                trust_remote_code=False,
                local_files_only=True,
                activation_fn=nn.Identity(),
                model_kwargs={"dtype": choose_precision(self._dtype, place), "use_safetensors": True},
            )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise InputError(f"cannot load the cross-encoder {self.name}: {_one_line(error)}") from error
        limits = (self._max_length, model.max_seq_length, self._most)
        model.max_seq_length = min(limit for limit in limits if limit is not None)
        return model


def _folder(name: str) -> Path:
    require_model_name(name)
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    with hub_errors(name):
        return Path(snapshot_download(name, allow_patterns=list(_FILES)))


def _require_one_output(name: str, folder: Path) -> dict[str, Any]:
    """The model's config."""
    path = folder / "config.json"
    config = read_json(path) if path.is_file() else {}
    classes = [str(each) for each in config.get("architectures") or ()]
    if not any(each.endswith(_CLASS) for each in classes):
        found = f"it holds {', '.join(classes)}" if classes else "it has no config.json that names a class"
        raise InputError(
            f"{name} is not a cross-encoder, a model of transformers for sequence classification ({found}); give one, "
            "such as cross-encoder/ms-marco-MiniLM-L6-v2"
        )
    # transformers writes the labels' names only where there are not two of them.
    outputs = len(config.get("id2label") or "01")
    if outputs != 1:
        raise InputError(f"{name} has {outputs} outputs, and a cross-encoder that ranks has one; give another model")
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"{name} has no weights in safetensors; save it again with save_pretrained")
    return config


def _is_part(path: Path) -> bool:
    return any(path.match(pattern) for pattern in _FILES)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
