"""All that defines a SPLARE model, as JSON, and the fingerprint that indexes and shards remember."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

from splare_plugins.errors import IdentityError, InputError
from splare_plugins.machine.files import read_json, replacing, write_json

CONFIG_FILE = "splare_config.json"
HEAD_CARD = "head.json"
FORMAT_VERSION = 1

INT8 = "int8"
"""The quantisation of a whole graph after training; others are of the backbone's weights alone."""

Side = Literal["query", "document"]
SIDES: tuple[Side, Side] = ("query", "document")
PLURALS: dict[Side, str] = {"query": "queries", "document": "documents"}
FULL, STATIC = "full", "static"
"""What encodes queries: the model itself, or a table in its folder."""
TopK = int | None | Literal["model"]
"""Latents kept of a text: a number, ``None`` for all, ``"model"`` for the model's own number."""


def check_count(value: object, what: str) -> None:
    """Refuse a number that is not an integer from 1.

    Args:
        value: the number.
        what: its name, for the message.

    Raises:
        InputError: saying what it is.
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise InputError(f"{what} must be an integer, not {value!r}")
    if value < 1:
        raise InputError(f"{what} must be at least 1, not {value}")


def check_top_k(top_k: object, what: str = "top_k") -> None:
    """Refuse what is not a :data:`TopK`.

    Args:
        top_k: what was given.
        what: its name, for the message.

    Raises:
        InputError: saying what it can be.
    """
    if top_k is None or top_k == "model":
        return
    if not isinstance(top_k, Integral) or isinstance(top_k, bool) or top_k < 1:
        raise InputError(f"{what} must be an integer from 1, 'model', or None for all latents, not {top_k!r}")


@dataclass(frozen=True, kw_only=True)
class SideConfig:
    """What differs between queries and documents.

    Attributes:
        prompt: text put before the input; it is encoded but never pooled.
        max_length: tokens kept of an input, special tokens and prompt included.
        top_k: latents kept of a text by default (the paper: 40 a query, 400 a document).
        scale: impacts per unit of latent weight, calibrated once per model.
    """

    prompt: str = ""
    max_length: int = 512
    top_k: int | None = None
    scale: float | None = None


@dataclass(frozen=True, kw_only=True)
class SplareConfig:
    """A SPLARE model: backbone, head, adapter, pooling and the two quantiser scales.

    Attributes:
        name: the model's name, for people.
        revision: which weights carry this name ("zero-shot-1", a commit hash).
        backbone: folder inside the model folder, another path, or a hub id; or a GGUF file in one of them.
        backbone_revision: commit of a hub backbone.
        backbone_sha256: hash over the backbone's weight files, where they travel with the model.
        layer: last transformer layer that runs, counted from 0; ``None`` runs all of them.
        final_norm: keep the backbone's final norm. SAEs of the residual stream want it removed; it has
            no effect on encoders without one.
        bidirectional: every token sees every other one.
        head: folder of the head inside the model folder.
        head_kind: ``"sae"``, ``"lm"`` or ``"mlm"``.
        head_sha256: hash of the head's tensor file.
        adapter: folder of a peft adapter inside the model folder.
        adapter_sha256: hash of the adapter's weights.
        quantization: run the backbone's weights in ``"8bit"`` (LLM.int8) or ``"4bit"`` (NF4) through bitsandbytes, or
            everything in ``"int8"`` in OpenVINO, which gives other vectors; ``None`` runs them as they are.
        width: number of latents.
        max_token_norm_ratio: tokens whose state is longer than this multiple of the text's median are
            left out of the pool; ``None`` pools them all.
        norm_power: weights of a text are divided by the Euclidean norm of all its weights to this power, so that long
            texts do not win by their length; 0 leaves weights as they are, 1 gives unit vectors.
        pool_all_tokens: special tokens and the prompt take part in the pool, as they do in SPLADE models. A text
            without a token of its own still has an empty row.
        location: where the model was loaded from, as ``SplareModel.from_pretrained`` takes it, so that an index can
            say which model it wants; no part of the model.
        query_encoder: what encodes queries where nothing else is asked for: ``"full"``, the model itself, or
            ``"static"``, the table in its folder ``static``; an index takes queries of both.
        query: prompt, length, top-k and scale of queries.
        document: likewise for documents.
    """

    name: str
    revision: str
    backbone: str
    width: int
    backbone_revision: str | None = None
    backbone_sha256: str | None = None
    layer: int | None = None
    final_norm: bool = False
    bidirectional: bool = True
    head: str = "head"
    head_kind: str = "sae"
    head_sha256: str | None = None
    adapter: str | None = None
    adapter_sha256: str | None = None
    quantization: str | None = None
    max_token_norm_ratio: float | None = None
    norm_power: float = 0.0
    pool_all_tokens: bool = False
    location: str | None = field(default=None, compare=False)
    query_encoder: str = field(default=FULL, compare=False)
    query: SideConfig = field(default_factory=lambda: SideConfig(top_k=40))
    document: SideConfig = field(default_factory=lambda: SideConfig(top_k=400))

    def side(self, side: Side) -> SideConfig:
        """What holds for queries, or for documents."""
        return self.query if side == "query" else self.document

    def with_documents_cut(self, top_k: TopK) -> SplareConfig:
        """The same model, for an index whose documents keep so many latents; no fingerprint changes."""
        if top_k == "model":
            return self
        return dataclasses.replace(self, document=dataclasses.replace(self.document, top_k=top_k))

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON types, with the version of this format."""
        values = {"format": FORMAT_VERSION, **dataclasses.asdict(self)}
        if self.location is None:
            del values["location"]
        if self.query_encoder == FULL:
            del values["query_encoder"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SplareConfig:
        """Read what :meth:`to_dict` wrote.

        Raises:
            InputError: for an unknown format version, an unknown field or a missing one.
        """
        values = dict(values)
        version = values.pop("format", None)
        if version != FORMAT_VERSION:
            raise InputError(
                f"this SPLARE config has format {version!r}; this version of splare-plugins reads format 1"
            )
        try:
            sides: dict[str, Any] = {side: SideConfig(**values.pop(side)) for side in SIDES}
            config = cls(**sides, **values)
        except (KeyError, TypeError) as error:
            raise InputError(f"this SPLARE config does not have the fields of format 1: {error}") from error
        if config.query_encoder not in (FULL, STATIC):
            raise InputError(
                f"the query_encoder of a model is {FULL!r} or {STATIC!r}, not {config.query_encoder!r}; correct its "
                f"{CONFIG_FILE}"
            )
        return config

    def save(self, folder: Path) -> None:
        """Write ``splare_config.json`` into ``folder``, with the fingerprint that :meth:`load` compares."""
        values = {**self.to_dict(), "fingerprint": self.index_fingerprint()}
        values.pop("location", None)
        with replacing(folder / CONFIG_FILE) as path:
            write_json(path, values)

    @classmethod
    def load(cls, folder: Path) -> SplareConfig:
        """Read ``splare_config.json`` from ``folder``.

        Raises:
            InputError: if the file is missing, is not such a config, or was changed after it was saved.
        """
        path = folder / CONFIG_FILE
        if not path.exists():
            raise InputError(f"{folder} is not a SPLARE model: it has no {CONFIG_FILE}")
        values = read_json(path)
        saved = values.pop("fingerprint", None)
        config = cls.from_dict(values)
        if saved is not None and saved != config.index_fingerprint():
            raise InputError(
                f"{path} was changed after it was saved: its fingerprint is not {saved} but "
                f"{config.index_fingerprint()}; "
                'fetch the model again, or remove "fingerprint" from it if the change is meant'
            )
        return config

    def fingerprint(self) -> str:
        """Short hash of everything that changes float vectors (top-k is chosen per call)."""
        return _digest(self._vector_fields())

    def index_fingerprint(self) -> str:
        """:meth:`fingerprint` and the two quantiser scales: what an index of impacts must agree on."""
        return _digest([self._vector_fields(), self.query.scale, self.document.scale])

    def require_same_index(self, other: SplareConfig, what: str) -> None:
        """Refuse ``what`` (an index, a shard) made under ``other`` unless its impacts are comparable with ours.

        Raises:
            IdentityError: naming both sides.
        """
        if self.index_fingerprint() != other.index_fingerprint():
            unlike = self._unlike(other)
            raise IdentityError(
                f"{what} was made with {other._called()}, but the model at hand is {self._called()}{unlike}; "
                "name its model with --model, or encode and index again with this one"
            )

    def _called(self) -> str:
        """What people call the model, and where it lies."""
        bits = f" in {self.quantization}" if self.quantization else ""
        return f"{self.name} {self.revision}{bits}" + (f" ({self.location})" if self.location else "")

    def _unlike(self, other: SplareConfig) -> str:
        """What tells two models of the same name apart."""
        if (self.name, self.revision) != (other.name, other.revision):
            return ""
        mine, theirs = self._vector_fields(), other._vector_fields()
        unlike = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
        unlike += [f"{side} scale" for side in SIDES if self.side(side).scale != other.side(side).scale]
        return f", which has another {', '.join(unlike)}"

    def describe(self) -> str:
        """Name, revision, quantisation and index fingerprint in one phrase."""
        bits = f" in {self.quantization}" if self.quantization else ""
        return f"{self.name} {self.revision}{bits} ({self.index_fingerprint()})"

    def _vector_fields(self) -> dict[str, Any]:
        values = dataclasses.asdict(self)
        # A name or a folder does not change a vector; hashes and revisions say what lies there.
        local = ["backbone"] if self.backbone_sha256 else []
        # Absent where they are off, so that fingerprints from before these options stay what they were.
        off = [key for key in ("norm_power", "pool_all_tokens", "quantization") if not values[key]]
        for key in ["name", "revision", "head", "adapter", "location", "query_encoder", *local, *off]:
            del values[key]
        for side in SIDES:
            values[side] = {key: values[side][key] for key in ("prompt", "max_length")}
        return values


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
