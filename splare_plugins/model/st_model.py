"""``StModel``: any sparse encoder of sentence-transformers as an encoder for our engines."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from sentence_transformers import SparseEncoder
from sentence_transformers.base.modules import Router
from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling
from torch import Tensor, nn
from torch.nn import functional

from splare_plugins.backbone.backbone import encoding_with
from splare_plugins.backbone.texts import plain_start, plain_text
from splare_plugins.backbone.tokens import require_unicode, tokenise_heads
from splare_plugins.config import CONFIG_FILE, SIDES, Side, SideConfig, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.heads.from_transformers import token_names
from splare_plugins.impacts import latent_term
from splare_plugins.machine.files import file_sha256
from splare_plugins.machine.folders import keep_others, updating_folder
from splare_plugins.model.encoder import Encoder
from splare_plugins.model.find import HEAD_KIND, PREFIX, SETTINGS, find_encoder
from splare_plugins.model.parts import copy_model

_HASHED = (".json", ".txt", ".model", ".safetensors")
# What does not change a vector, or stands in the config as prompt and top-k.
_NOT_HASHED = (CONFIG_FILE, SETTINGS)


class StModel(Encoder):
    """A sparse encoder of sentence-transformers: SPLADE, inference-free with static query weights, or CSR.

    sentence-transformers' own modules make the vectors; order, batches, top-k, quantiser, streaming and indexing are
    those of :class:`Encoder`. The scales are set by :meth:`calibrate` and kept by :meth:`save_pretrained`, whose
    folder still is the encoder that it was.

    Args:
        encoder: with dot product as its similarity.
        config: what defines it; see :meth:`open`.
        folder: where it was loaded from.
    """

    def __init__(self, encoder: SparseEncoder, config: SplareConfig, folder: Path) -> None:
        self.config = config
        self.encoder = encoder.eval()
        self.folder: Path = folder
        self.head = _Names(encoder, config.width)

    @classmethod
    def open(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: str | torch.dtype = "auto",
        local_files_only: bool = False,
    ) -> StModel:
        """Load a checkpoint: ``st:`` and a folder or hub id; or a folder that :meth:`save_pretrained` wrote.

        ``SplareModel.from_pretrained("st:NAME")`` comes here; the options are those that it has.

        Raises:
            InputError: if it is not a sparse encoder, needs code or pickles of its own, is not scored by the dot
                product, or was changed since it was calibrated.
        """
        folder = find_encoder(name, revision=revision, local_files_only=local_files_only)
        if folder is None:
            raise InputError(f"{name} names no model of sentence-transformers; write {PREFIX}{name}")
        encoder = _load(folder, device, dtype)
        config = _config(encoder, str(name).removeprefix(PREFIX), folder)
        if (folder / CONFIG_FILE).is_file():
            saved = SplareConfig.load(folder)
            if saved.fingerprint() != config.fingerprint():
                raise InputError(f"{folder} was changed since it was calibrated; calibrate the checkpoint again")
            config = saved
        encoder.max_active_dims = None  # the top-k of each side stands in the config
        return cls(encoder, config, folder)

    @property
    def device(self) -> torch.device:
        """Where the encoder runs."""
        device: torch.device = self.encoder.device
        return device

    @property
    def dtype(self) -> torch.dtype | None:
        """What its weights are in."""
        return next((weight.dtype for weight in self.encoder.parameters()), None)

    def save_pretrained(self, folder: str | Path, **_: Any) -> None:
        """Copy the checkpoint and write the config with its scales beside it; both sides can load the copy."""
        folder = Path(folder)
        with updating_folder(folder, source=self.folder) as made:
            if made.resolve() != self.folder.resolve():
                copy_model(self.folder, made)
            keep_others(made, folder)
            self.config.save(made)

    def push_to_hub(self, repo_id: str, **_: Any) -> str:
        """Not done here: a checkpoint of sentence-transformers is that library's to upload.

        Raises:
            InputError: always.
        """
        raise InputError(f"upload the checkpoint itself: SparseEncoder({str(self.folder)!r}).push_to_hub({repo_id!r})")

    def _tokenize(self, texts: Sequence[str], side: Side) -> list[_Text]:
        if not texts:
            return []
        settings = self.config.side(side)
        require_unicode(texts)
        first = _route(self.encoder, side)[0]
        heads, encodings = tokenise_heads(
            encoding_with(
                _tokenizer(first),
                settings.max_length,
                add_special_tokens=not isinstance(first, SparseStaticEmbedding),
            ),
            [settings.prompt + plain_text(text) for text in texts],
            settings.max_length,
        )
        return [
            _Text(
                head[len(settings.prompt) :],
                encoding.ids,
                np.array(encoding.offsets).reshape(-1, 2),
                bool(encoding.overflowing),
            )
            for head, encoding in zip(heads, encodings, strict=True)
        ]

    @torch.inference_mode()
    def _weights(self, batch: Sequence[_Text], side: Side) -> Tensor:
        weights = torch.zeros(len(batch), self.config.width, device=self.device)
        # An empty text has an empty row, as everywhere here; a [CLS] alone would activate something.
        full = [number for number, item in enumerate(batch) if item.text]
        if full:
            encode = self.encoder.encode_query if side == "query" else self.encoder.encode_document
            texts = [batch[number].text for number in full]
            found = encode(texts, batch_size=len(texts), convert_to_sparse_tensor=False, show_progress_bar=False)
            weights[full] = found.float()
        return weights

    @torch.inference_mode()
    def pooled_tokens(self, text: str, side: Side) -> tuple[Tensor, np.ndarray]:
        """As :meth:`Encoder.pooled_tokens`; the states are each token's weights, ``[tokens, width]``."""
        (item,) = self._tokenize([text], side)
        route, prompt = _route(self.encoder, side), self.config.side(side).prompt
        if isinstance(route[-1], SparseStaticEmbedding):
            states = functional.one_hot(torch.tensor(item.ids, dtype=torch.int64), self.config.width)
        elif isinstance(route[-1], SpladePooling):
            features: Any = route[0].preprocess([item.text], prompt=prompt or None)
            features = {key: value.to(self.device) for key, value in features.items() if isinstance(value, Tensor)}
            for module in route[:-1]:
                features = module(features)
            states = features["token_embeddings"][0]
        else:
            raise InputError(f"{self.config.name} pools states, not terms, so its latents cannot be traced to words")
        return states, (item.spans - len(prompt)).clip(min=0) + plain_start(text)


class _Text(NamedTuple):
    """One tokenised text, as :class:`Encoder` batches them."""

    text: str
    ids: list[int]
    spans: np.ndarray
    truncated: bool


class _Names:
    """What :mod:`splare_plugins.retrieval.explain` asks a head for."""

    def __init__(self, encoder: SparseEncoder, width: int) -> None:
        last = _route(encoder, "document")[-1]
        terms = isinstance(last, SpladePooling | SparseStaticEmbedding)
        self._names = token_names(_tokenizer(_route(encoder, "document")[0]), width) if terms else []

    def name(self, latent: int) -> str:
        return self._names[latent] if latent < len(self._names) else latent_term(latent)

    def token_weights(self, states: Tensor, latents: Tensor) -> Tensor:
        return states[:, latents].float().relu().log1p()


def _load(folder: Path, device: str, dtype: str | torch.dtype) -> SparseEncoder:
    options = {"use_safetensors": True}
    try:
        encoder = SparseEncoder(
            str(folder),
            device=None if device == "auto" else device,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs=options if dtype == "auto" else {**options, "dtype": dtype},
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError) as error:
        raise InputError(f"sentence-transformers cannot load {folder}: {' '.join(str(error).split())}") from error
    if encoder.similarity_fn_name != "dot":
        raise InputError(
            f"{folder} is scored by {encoder.similarity_fn_name}, but inverted indexes score by the dot product only"
        )
    return encoder


def _config(encoder: SparseEncoder, name: str, folder: Path) -> SplareConfig:
    sha256 = _sha256(folder)
    # Measured, since a SPLADE pooling knows its width only after the first text.
    width = int(encoder.encode_document(["a"], convert_to_sparse_tensor=False).shape[1])
    query, document = (
        SideConfig(
            prompt=encoder.prompts.get(task) or "",
            max_length=_max_length(_route(encoder, task)[0], task),
            top_k=encoder.max_active_dims,
        )
        for task in SIDES
    )
    return SplareConfig(
        name=Path(name).resolve().name if Path(name).is_dir() else name,
        revision=sha256[:12],
        backbone=".",
        backbone_sha256=sha256,
        final_norm=True,
        head=".",
        head_kind=HEAD_KIND,
        width=width,
        pool_all_tokens=True,
        query=query,
        document=document,
    )


def _sha256(folder: Path) -> str:
    """One hash over every file that vectors depend on."""
    digest = hashlib.sha256()
    files = (path for path in folder.rglob("*") if path.suffix in _HASHED and path.is_file())
    for path in sorted(files):
        place = path.relative_to(folder)
        if str(place) not in _NOT_HASHED and not any(part.startswith(".") for part in place.parts):
            digest.update(f"{place.as_posix()} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def _route(encoder: SparseEncoder, side: Side) -> list[Any]:
    """The modules that a query or document passes."""
    modules: list[Any] = []
    for module in encoder:
        if isinstance(module, Router):
            modules.extend(module.sub_modules[side if side in module.sub_modules else str(module.default_route)])
        else:
            modules.append(module)
    return modules


def _tokenizer(module: nn.Module) -> Any:
    tokenizer = getattr(module, "tokenizer", None)
    if not getattr(tokenizer, "is_fast", False):
        raise InputError("st: needs a model with a fast tokenizer (tokenizer.json)")
    return tokenizer


def _max_length(module: nn.Module, task: str) -> int:
    own = getattr(module, f"{task}_length", None)
    return int(own or getattr(module, "max_seq_length", None) or _tokenizer(module).model_max_length)
