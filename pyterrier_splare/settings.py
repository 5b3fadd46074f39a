"""A SPLARE model that loads when it is needed, and the settings that transformers use it with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, cast

import pyterrier as pt
from scipy.sparse import csr_array, vstack

from splare_plugins.config import PLURALS, Side, SplareConfig, TopK, check_top_k
from splare_plugins.errors import InputError
from splare_plugins.impacts import Quantizer
from splare_plugins.model.builtin import BUILTIN_MODEL

if TYPE_CHECKING:
    from splare_plugins.model import Encoder
    from splare_plugins.static import StaticQueryEncoder


class Settings(TypedDict, total=False):
    """What a transformer can have of its own, instead of its factory's; see :class:`pyterrier_splare.Splare`."""

    query_top_k: TopK
    doc_top_k: TopK
    floats: bool
    text_field: str
    title_field: str | None
    batch_size: int
    tokens_per_batch: int | None
    verbose: bool


_AS_IT_IS = {
    "revision": None,
    "device": "auto",
    "dtype": "auto",
    "runtime": "auto",
    "quantization": "model",
    "queries": "model",
}


class LazyModel:
    """A model that loads when it is first used.

    Args:
        source: a name or folder, or a model that is loaded already.
        **options: of ``SplareModel.from_pretrained``.
    """

    def __init__(self, source: str | Path | Encoder | StaticQueryEncoder, **options: Any) -> None:
        self._source = source
        self._options = options

    @cached_property
    def model(self) -> Encoder:
        """The model."""
        if not isinstance(self._source, str | Path):
            # A table, if it is one, refuses documents itself.
            return cast("Encoder", self._source)
        from splare_plugins.model import SplareModel

        return SplareModel.from_pretrained(self._source, **self._options)

    @cached_property
    def table(self) -> StaticQueryEncoder | None:
        """What encodes queries in the model's place, if that is asked for; no model is loaded for it."""
        from splare_plugins.model.queries import load_static_queries
        from splare_plugins.static import StaticQueryEncoder

        if not isinstance(self._source, str | Path):
            return self._source if isinstance(self._source, StaticQueryEncoder) else None

        query_encoder, revision = self._options["query_encoder"], self._options["revision"]
        config = None if self._options["quantization"] == "model" else self._described
        return load_static_queries(self._source, query_encoder, config=config, revision=revision)

    @property
    def config(self) -> SplareConfig:
        """Its configuration; the model is not loaded for it where a file holds it."""
        # A model that is loaded may have been calibrated since.
        if not isinstance(self._source, str | Path) or "model" in vars(self):
            return self.model.config
        return self._described if self.table is None else self.table.config

    @cached_property
    def _described(self) -> SplareConfig:
        from splare_plugins.model.describe import describe_model

        assert isinstance(self._source, str | Path)
        config = describe_model(self._source, revision=self._options["revision"]).config
        asked = self._options["quantization"]
        return config if asked == "model" else replace(config, quantization=asked)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Without the model, which another process loads by its name; unless it was calibrated since it was loaded."""
        state = vars(self).copy()
        if isinstance(self._source, str | Path) and self.config == self._described:
            state.pop("model", None)
        return state

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LazyModel) and (self._source, self._options) == (other._source, other._options)


class SplareSettings(pt.Transformer):
    """What :class:`pyterrier_splare.Splare` is made of, without the transformers that it makes."""

    def __init__(
        self,
        model: str | Path | Encoder | StaticQueryEncoder = BUILTIN_MODEL,
        *,
        query_top_k: TopK = "model",
        doc_top_k: TopK = "model",
        floats: bool = False,
        text_field: str = "text",
        title_field: str | None = "title",
        batch_size: int = 1024,
        tokens_per_batch: int | None = None,
        device: str = "auto",
        dtype: str = "auto",
        runtime: str = "auto",
        quantization: str | None = "model",
        queries: str = "model",
        revision: str | None = None,
        verbose: bool = False,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        check_top_k(query_top_k, "query_top_k")
        check_top_k(doc_top_k, "doc_top_k")
        loading = {
            "revision": revision,
            "device": device,
            "dtype": dtype,
            "runtime": runtime,
            "quantization": quantization,
            "queries": queries,
        }
        if not isinstance(model, str | Path) and loading != _AS_IT_IS:
            raise InputError(f"{model} is loaded already; choose its {', '.join(_AS_IT_IS)} when loading it")
        self._model = model
        self.query_top_k = query_top_k
        self.doc_top_k = doc_top_k
        self.floats = floats
        self.text_field = text_field
        self.title_field = title_field
        self.batch_size = batch_size
        self.tokens_per_batch = tokens_per_batch
        self.device = device
        self.dtype = dtype
        self.runtime = runtime
        self.quantization = quantization
        self.queries = queries
        self.revision = revision
        self.verbose = verbose
        self._lazy = LazyModel(model, query_encoder=loading.pop("queries"), **loading)

    @property
    def model(self) -> Encoder:
        """The model; loaded at the first use."""
        return self._lazy.model

    @property
    def config(self) -> SplareConfig:
        """The model's configuration; read without loading the model, except for SPLADE models, which have none."""
        return self._lazy.config

    def encode(self, texts: Sequence[str], side: Side, ids: Sequence[str] | None = None) -> csr_array:
        """Impacts (int32) or weights (float32) of one text or more, shape ``(len(texts), width)``.

        Args:
            texts: queries or documents.
            side: which of the two.
            ids: names of them, for messages.
        """
        table = self._lazy.table if side == "query" else None
        encode = (
            table.encode if table is not None else partial(self.model.encode, tokens_per_batch=self.tokens_per_batch)
        )
        quantizer = None if self.floats else self._quantizer(table)
        top_k = self.query_top_k if side == "query" else self.doc_top_k
        rows = []
        with pt.tqdm(total=len(texts), desc=f"SPLARE {PLURALS[side]}", leave=False, disable=not self.verbose) as bar:
            for start in range(0, len(texts), self.batch_size):
                window = slice(start, start + self.batch_size)
                weights = encode(texts[window], side, top_k=top_k, on_progress=bar.update)
                if quantizer is not None:
                    weights = quantizer.quantize(weights, side, None if ids is None else ids[window]).impacts
                rows.append(weights)
        return csr_array(vstack(rows, format="csr")) if len(rows) != 1 else rows[0]

    def encode_queries(self, texts: Sequence[str], ids: Sequence[str] | None = None) -> csr_array:
        """:meth:`encode` of queries."""
        return self.encode(texts, "query", ids)

    def encode_documents(self, texts: Sequence[str], ids: Sequence[str] | None = None) -> csr_array:
        """:meth:`encode` of documents."""
        return self.encode(texts, "document", ids)

    def apply_attributes(self, **changes: Any) -> Self:
        """A copy with other settings, which shares the loaded model unless that is what changes."""
        attributes = {each.name: each.value for each in pt.inspect.transformer_attributes(self)} | changes
        copy = type(self)(attributes.pop("model"), **attributes)
        if copy._lazy == self._lazy:
            copy._lazy = self._lazy
        return copy

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SplareSettings) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        shown = [repr(self._model), *(f"{name}={value!r}" for name, value in self._identity()[1:])]
        return f"Splare({', '.join(shown)})"

    def _identity(self) -> list[Any]:
        """The model and every setting that is not the default; progress bars change nothing."""
        attributes = pt.inspect.transformer_attributes(self)
        changed = [
            (each.name, each.value)
            for each in attributes[1:]
            if each.name != "verbose" and each.value != each.init_default_value
        ]
        return [self._model, *changed]

    def _with(self, settings: Settings) -> Self:
        return self.apply_attributes(**settings) if settings else self

    def _quantizer(self, table: StaticQueryEncoder | None) -> Quantizer:
        """The model's quantiser, asked for before hours of encoding."""
        try:
            return (table or self.model).quantizer
        except InputError as error:
            raise InputError(f"{error}, or ask for float weights with Splare(..., floats=True)") from error
