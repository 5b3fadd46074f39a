"""The factory that everything here is made from: a SPLARE model that loads when it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict, Unpack

import pyterrier as pt
from scipy.sparse import csr_array, vstack

from pyterrier_splare.lazy import LazyModel
from splare_plugins.config import PLURALS, Side, SplareConfig, TopK
from splare_plugins.errors import InputError
from splare_plugins.impacts import Quantizer
from splare_plugins.model.builtin import BUILTIN_MODEL

if TYPE_CHECKING:
    import pandas as pd

    from pyterrier_splare.dense import DenseBackbone
    from pyterrier_splare.encoded import EncodedDocuments
    from pyterrier_splare.encoders import SplareDocEncoder, SplareQueryEncoder
    from pyterrier_splare.explainer import SplareExplainer
    from pyterrier_splare.feedback import LatentRM3
    from pyterrier_splare.scorer import SplareScorer
    from splare_plugins.model.encoder import Encoder


class Settings(TypedDict, total=False):
    """What a transformer can have of its own, instead of its factory's; see :class:`Splare`."""

    query_top_k: TopK
    doc_top_k: TopK
    floats: bool
    text_field: str
    batch_size: int
    tokens_per_batch: int | None
    verbose: bool


class Splare(pt.Transformer):
    """A SPLARE model as PyTerrier transformers.

    It is a transformer itself, and does what the columns ask for: queries get ``query_toks``, documents get
    ``toks``, and results with both texts get a ``score``. Nothing is loaded before a text has to be encoded.

    .. code-block:: python

        splare = Splare()
        index = SplareIndex.pisa("index.pisa", model=splare)
        (splare.doc_encoder() >> index.indexer()).index(corpus)
        (splare.query_encoder() >> index.retriever()).search("how do plants make sugar")

    Args:
        model: the built-in model's name, a folder, a hub id, or a loaded ``SplareModel``.
        query_top_k: latents kept of a query; ``"model"`` is the model's own number, ``None`` keeps all.
        doc_top_k: the same of a document.
        floats: give latent weights as they are instead of integer impacts.
        text_field: column that holds the text of documents.
        batch_size: texts that are taken from a stream and sorted by length together.
        tokens_per_batch: padded tokens of one forward pass; by default what suits the device.
        device: where the model runs; ``"auto"`` takes cuda, else mps, else cpu.
        dtype: of its weights; ``"auto"`` is bfloat16 on cuda and float32 elsewhere.
        revision: branch, tag or commit of a hub model.
        verbose: show progress bars.

    Raises:
        InputError: for a batch size below 1, or a loaded model together with ``device``, ``dtype`` or ``revision``.
    """

    schematic: ClassVar = {"label": "SPLARE"}

    def __init__(
        self,
        model: str | Path | Encoder = BUILTIN_MODEL,
        *,
        query_top_k: TopK = "model",
        doc_top_k: TopK = "model",
        floats: bool = False,
        text_field: str = "text",
        batch_size: int = 1024,
        tokens_per_batch: int | None = None,
        device: str = "auto",
        dtype: str = "auto",
        revision: str | None = None,
        verbose: bool = False,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        if not isinstance(model, str | Path) and (device, dtype, revision) != ("auto", "auto", None):
            raise InputError(f"{model} is loaded already; choose its device, dtype and revision when loading it")
        self._model = model
        self.query_top_k = query_top_k
        self.doc_top_k = doc_top_k
        self.floats = floats
        self.text_field = text_field
        self.batch_size = batch_size
        self.tokens_per_batch = tokens_per_batch
        self.device = device
        self.dtype = dtype
        self.revision = revision
        self.verbose = verbose
        self._lazy = LazyModel(model, revision=revision, device=device, dtype=dtype)

    @property
    def model(self) -> Encoder:
        """The model; loaded at the first use."""
        return self._lazy.model

    @property
    def config(self) -> SplareConfig:
        """The model's configuration; read without loading the model, except for SPLADE models, which have none."""
        return self._lazy.config

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Encode queries or documents, or score results, as the columns ask for."""
        with pt.validate.any(inp, context=self) as accepted:
            accepted.query_frame(["query"], mode="query_encoder")
            accepted.document_frame([self.text_field], mode="doc_encoder")
            accepted.result_frame(["query", self.text_field], mode="scorer")
        return getattr(self, accepted.mode)().transform(inp)

    def transform_iter(self, inp: pt.model.IterDict) -> pt.model.IterDict:
        """:meth:`transform` of a stream, window by window where it holds queries or documents."""
        inp = pt.utils.peekable(inp)
        with pt.validate.any_iter(inp, context=self) as accepted:
            accepted.empty(mode="query_encoder")
            accepted.query_iter(["query"], mode="query_encoder")
            accepted.document_iter([self.text_field], mode="doc_encoder")
            accepted.result_iter(["query", self.text_field], mode="scorer")
        return getattr(self, accepted.mode)().transform_iter(inp)

    def query_encoder(self, **settings: Unpack[Settings]) -> SplareQueryEncoder:
        """Queries to ``query_toks``; ``settings`` as those of the factory."""
        from pyterrier_splare.encoders import SplareQueryEncoder

        return SplareQueryEncoder(self._with(settings))

    def doc_encoder(self, **settings: Unpack[Settings]) -> SplareDocEncoder:
        """Documents to ``toks``; ``settings`` as those of the factory."""
        from pyterrier_splare.encoders import SplareDocEncoder

        return SplareDocEncoder(self._with(settings))

    def scorer(self, **settings: Unpack[Settings]) -> SplareScorer:
        """Results with texts to results with scores; ``settings`` as those of the factory."""
        from pyterrier_splare.scorer import SplareScorer

        return SplareScorer(self._with(settings))

    def explainer(self, *, top: int = 10, **settings: Unpack[Settings]) -> SplareExplainer:
        """Results with texts to the latents that matched; ``settings`` as those of the factory.

        Args:
            top: most latents listed of a result.
            **settings: as those of the factory.
        """
        from pyterrier_splare.explainer import SplareExplainer

        return SplareExplainer(self._with(settings), top=top)

    def rm3(self, *, fb_docs: int = 10, fb_terms: int = 10, original_query_weight: float = 0.5) -> LatentRM3:
        """Results with ``query_toks`` and ``toks`` to expanded queries; see :class:`LatentRM3`."""
        from pyterrier_splare.feedback import LatentRM3

        return LatentRM3(
            fb_docs=fb_docs, fb_terms=fb_terms, original_query_weight=original_query_weight, floats=self.floats
        )

    def dense(self, **settings: Unpack[Settings]) -> DenseBackbone:
        """The model's backbone as a dense encoder, for hybrids; ``settings`` as those of the factory."""
        from pyterrier_splare.dense import DenseBackbone

        return DenseBackbone(self._with(settings))

    @staticmethod
    def from_encoded(folder: str | Path) -> EncodedDocuments:
        """The documents of a folder that ``splare encode`` made, for any indexer; no model is loaded."""
        from pyterrier_splare.encoded import EncodedDocuments

        return EncodedDocuments(folder)

    def encode_queries(self, texts: Sequence[str], ids: Sequence[str] | None = None) -> csr_array:
        """Impacts (int32) or weights (float32) of one query or more, shape ``(len(texts), width)``.

        Args:
            texts: the queries.
            ids: names of them, for messages.
        """
        return self._encode("query", texts, ids, self.query_top_k)

    def encode_documents(self, texts: Sequence[str], ids: Sequence[str] | None = None) -> csr_array:
        """The same of documents; like :meth:`encode_queries`."""
        return self._encode("document", texts, ids, self.doc_top_k)

    def apply_attributes(self, **changes: Any) -> Splare:
        """A copy with other settings, which shares the loaded model unless that is what changes."""
        attributes = {each.name: each.value for each in pt.inspect.transformer_attributes(self)} | changes
        copy = type(self)(attributes.pop("model"), **attributes)
        if copy._lazy == self._lazy:
            copy._lazy = self._lazy
        return copy

    def subtransformers(self) -> dict[str, Any]:
        """None: the encoders that it makes are its own business."""
        return {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Splare) and self._identity() == other._identity()

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

    def _with(self, settings: Settings) -> Splare:
        return self.apply_attributes(**settings) if settings else self

    def _encode(self, side: Side, texts: Sequence[str], ids: Sequence[str] | None, top_k: TopK) -> csr_array:
        quantizer = None if self.floats else self._quantizer()
        rows = []
        with pt.tqdm(total=len(texts), desc=f"SPLARE {PLURALS[side]}", leave=False, disable=not self.verbose) as bar:
            for start in range(0, len(texts), self.batch_size):
                window = slice(start, start + self.batch_size)
                weights = self.model.encode(
                    texts[window], side, top_k=top_k, tokens_per_batch=self.tokens_per_batch, on_progress=bar.update
                )
                if quantizer is not None:
                    weights = quantizer.quantize(weights, side, None if ids is None else ids[window]).impacts
                rows.append(weights)
        return csr_array(vstack(rows, format="csr")) if len(rows) != 1 else rows[0]

    def _quantizer(self) -> Quantizer:
        """The model's quantiser, asked for before hours of encoding."""
        try:
            return self.model.quantizer
        except InputError as error:
            raise InputError(f"{error}, or ask for float weights with Splare(..., floats=True)") from error
