"""``SplareModel``: a backbone cut after the SAE's layer, and a head that turns its states into latent weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from splare_plugins.backbone.tokens import Tokens, pool_mask
from splare_plugins.config import FULL, STATIC, Side, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.machine.packages import require_package
from splare_plugins.model.builtin import BUILTIN_MODEL
from splare_plugins.model.card import CardOptions
from splare_plugins.model.encoder import Encoder
from splare_plugins.model.find import PREFIX, find_encoder
from splare_plugins.model.graphs import open_graph
from splare_plugins.model.parts import FoundParts, Parts, Placement, find_parts, load_parts, save_parts, upload
from splare_plugins.model.queries import MODEL, load_static_queries
from splare_plugins.runtime.graph import Graph
from splare_plugins.static import copy_static

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from splare_plugins.backbone import Backbone
    from splare_plugins.heads import Head


class SplareModel(Encoder):
    """A SPLARE encoder: a backbone and a head.

    Args:
        config: what defines it.
        backbone: gives one state per token.
        head: turns states into latent weights.
        folder: the model folder that this was loaded from.
    """

    _tokenises_apart = True
    _graph: Graph | None = None
    _found: FoundParts
    _load: Callable[[], Parts]

    def __init__(self, config: SplareConfig, backbone: Backbone, head: Head, *, folder: Path | None = None) -> None:
        if head.width != config.width:
            raise InputError(f"{config.name}: the config says {config.width} latents, its head has {head.width}")
        self.config = config
        self.backbone = backbone
        self.head = head
        self.folder = folder

    @classmethod
    def _run_by(cls, graph: Graph, found: FoundParts, load: Callable[[], Parts]) -> SplareModel:
        """A model that a graph computes; what torch would compute it with is loaded when it is asked for."""
        model = cls.__new__(cls)
        model.config, model.folder = found.config, found.folder
        model._graph, model._found, model._load = graph, found, load
        return model

    @cached_property
    def backbone(self) -> Backbone:
        """Gives one state per token."""
        return self._load().backbone

    @cached_property
    def head(self) -> Head:  # type: ignore[override]
        """Turns states into latent weights."""
        return self._found.load_head()

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = BUILTIN_MODEL,
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: str | torch.dtype = "auto",
        runtime: str = "auto",
        attention: str = "auto",
        quantization: str | None = "model",
        device_map: str | dict[str, int | str] | None = None,
        query: dict[str, Any] | None = None,
        document: dict[str, Any] | None = None,
        query_encoder: str = MODEL,
        local_files_only: bool = False,
        verify: bool = True,
    ) -> Encoder:
        """Load a model.

        Args:
            name_or_path: the built-in model's name, a folder, or a hub id; a SPLADE model (a transformers model with
                its language-model head, or a sparse encoder of sentence-transformers) is taken apart in memory.
                ``st:`` and a folder or hub id is any sparse encoder of sentence-transformers, run by that library: see
                :class:`splare_plugins.model.st_model.StModel`.
            revision: branch, tag or commit of a hub model.
            device: ``"auto"`` takes cuda, else mps, else cpu.
            dtype: ``"auto"`` is bfloat16 on cuda and float32 elsewhere; beside int8, it is bfloat16 where the
                processor has that.
            runtime: ``"torch"``, or ``"openvino"``, which is several times faster on a processor: the model is written
                as a graph once, which the cache keeps. ``"auto"`` takes what the environment variable
                ``SPLARE_RUNTIME`` says, else OpenVINO on a processor where it is installed.
            attention: ``"eager"``, ``"sdpa"``, ``"flex_attention"``, ``"flash_attention_2"``, or ``"packed"``: texts
                one after the other without padding; ``"auto"`` takes what suits the backbone and the device.
            quantization: ``"8bit"`` or ``"4bit"`` weights of the backbone through bitsandbytes, ``"int8"`` for the
                whole graph in OpenVINO, ``None`` for none, ``"model"`` for what the config says. It changes vectors,
                so it is part of the fingerprint.
            device_map: spread a backbone that does not fit one device, with accelerate: ``"auto"``, or device by
                module; instead of ``device``.
            query: settings of queries other than the model's own, such as ``{"max_length": 64}`` or a ``prompt``; they
                become part of the config, and these two of the fingerprint.
            document: likewise for documents.
            query_encoder: what encodes queries: ``"full"``, the model itself; ``"static"``, the table in its folder;
                ``"model"``, what the config says; or the folder of a table.
            local_files_only: never ask a hub.
            verify: compare the hash of a backbone on disk with the config's, which reads its files once more; head,
                adapter and config are always compared.

        Raises:
            InputError: if there is no such model, its parts do not fit, or they are not those that it names.
            MissingPartError: if the built-in model's wheel is not installed.
        """
        if find_encoder(name_or_path, revision=revision, local_files_only=local_files_only) is not None:
            require_package("sentence_transformers", "models named st:", "sentence-transformers")
            from splare_plugins.model.st_model import StModel

            given = {
                "runtime": runtime not in ("auto", "torch"),
                "attention": attention != "auto",
                "quantization": quantization not in ("model", None),
                "device_map": device_map is not None,
                "query": bool(query),
                "document": bool(document),
                "query_encoder": query_encoder not in (MODEL, FULL),
            }
            if refused := [option for option, value in given.items() if value]:
                raise InputError(f"a model of sentence-transformers takes no {refused[0]!r} here; omit it")
            return StModel.open(
                name_or_path, revision=revision, device=device, dtype=dtype, local_files_only=local_files_only
            )
        found = find_parts(
            name_or_path,
            revision=revision,
            quantization=quantization,
            query=query,
            document=document,
            local_files_only=local_files_only,
        )
        placement: Placement = {"device": device, "dtype": dtype, "attention": attention, "device_map": device_map}
        load = partial(load_parts, found, local_files_only=local_files_only, verify=verify)
        in_torch = partial(load, device="cpu", dtype="float32", attention="auto", device_map=None)
        graph = open_graph(found, in_torch, runtime=runtime, verify=verify, **placement)
        if graph is not None:
            model = cls._run_by(graph, found, in_torch)
        else:
            parts = load(**placement)
            model = cls(parts.config, parts.backbone, parts.head, folder=parts.folder)
        model.static = load_static_queries(name_or_path, query_encoder, config=model.config, folder=found.folder)
        return model

    @classmethod
    def load(cls, name_or_path: str | Path, **options: Any) -> SplareModel:
        """Load a model that has a backbone and a head of its own, as training and export need it.

        Args:
            name_or_path: as for :meth:`from_pretrained`, without ``st:``.
            **options: likewise.

        Raises:
            InputError: as :meth:`from_pretrained`, and for an encoder that sentence-transformers runs.
        """
        options = {"runtime": "torch", "query_encoder": FULL, **options}
        model = None if str(name_or_path).startswith(PREFIX) else cls.from_pretrained(name_or_path, **options)
        if not isinstance(model, SplareModel):
            raise InputError(
                f"{name_or_path} is run by sentence-transformers, and this needs a backbone and a head; "
                "name a SPLARE or SPLADE model"
            )
        return model

    def save_pretrained(self, folder: str | Path, *, copy_backbone: bool = True, **card: Unpack[CardOptions]) -> None:
        """Write a folder that :meth:`from_pretrained` reads back to the same vectors, with a model card.

        A model that was loaded is copied as it was loaded, with its present config (a backbone of a hub or of a
        built-in model is named, not copied); to save changed weights, make a new ``SplareModel(config, backbone,
        head)`` of them.

        Args:
            folder: where to write; a README.md of somebody's own is kept as it is.
            copy_backbone: take the files of a backbone that lies in another folder of this machine along, as hard
                links where that is possible; ``False`` names their place. Its own folder keeps what it names.
            **card: ``figures``, ``licence`` and ``languages``, see :class:`splare_plugins.model.card.CardOptions`.
        """
        self.config = save_parts(self._parts, Path(folder), copy_backbone=copy_backbone, **card)
        if self.static is not None:
            copy_static(self.static, Path(folder) / STATIC)

    def push_to_hub(
        self, repo_id: str, *, private: bool = False, token: str | None = None, **card: Unpack[CardOptions]
    ) -> str:
        """Upload what :meth:`save_pretrained` writes; returns the commit's address."""
        return upload(self._parts, repo_id, private=private, token=token, **card)

    @property
    def _parts(self) -> Parts:
        return Parts(self.config, self.backbone, self.head, self.folder)

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        import torch

        return torch.device("cpu") if self._graph else self.backbone.device

    @property
    def device_type(self) -> str:
        """As :meth:`Encoder.device_type`; known without torch where a graph computes."""
        return "cpu" if self._graph else self.backbone.device.type

    @property
    def dtype(self) -> torch.dtype:
        """What backbone and head are in."""
        import torch

        dtype: torch.dtype = getattr(torch, self.precision)
        return dtype

    @property
    def precision(self) -> str:
        """As :meth:`Encoder.precision`; known without torch where a graph computes."""
        if self._graph:
            return "bfloat16" if self._graph.bfloat16 else "float32"
        return str(self.backbone.model.dtype).removeprefix("torch.")

    @property
    def packed(self) -> bool:
        """Whether texts are encoded without padding."""
        return self._graph is None and self.backbone.packed

    def pooled_tokens(self, text: str, side: Side) -> tuple[Tensor, np.ndarray]:
        """As :meth:`Encoder.pooled_tokens`; the states are the backbone's."""
        if self._graph:
            self._found.require_weights()
        import torch

        from splare_plugins.model.forward import token_states
        from splare_plugins.pooling.norms import drop_outliers

        (tokens,) = self._tokenize([text], side)
        with torch.inference_mode():
            if self._graph:
                states = torch.from_numpy(self._graph.states(self.config, tokens))
                offsets, keep = torch.tensor([0, len(states)]), torch.from_numpy(pool_mask(self.config, [tokens]))
            else:
                states, offsets, keep = token_states(self.config, self.backbone, [tokens])
            keep = drop_outliers(states, offsets, keep, self.config.max_token_norm_ratio)
            return states[keep], tokens.spans[keep.cpu().numpy()]

    def _tokenize(self, texts: Sequence[str], side: Side) -> list[Tokens]:
        settings = self.config.side(side)
        return (self._graph or self.backbone).tokenize(texts, settings.prompt, settings.max_length)

    def _weights(self, batch: Sequence[Tokens], side: Side) -> Tensor | np.ndarray:
        if self._graph:
            return self._graph.weights(self.config, batch)
        from splare_plugins.model.forward import weights_of

        return weights_of(self.config, self.backbone, self.head, batch)
