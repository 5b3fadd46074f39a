"""The factory that everything here is made from: a SPLARE model as PyTerrier transformers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import pyterrier as pt

from pyterrier_splare.settings import Settings, SplareSettings

if TYPE_CHECKING:
    import pandas as pd

    from pyterrier_splare.dense import DenseBackbone
    from pyterrier_splare.encoded import EncodedDocuments
    from pyterrier_splare.encoders import SplareDocEncoder, SplareQueryEncoder
    from pyterrier_splare.explainer import SplareExplainer
    from pyterrier_splare.latent_rm3 import LatentRM3
    from pyterrier_splare.scorer import SplareScorer
    from splare_plugins.steering import Weights


class Splare(SplareSettings):
    """A SPLARE model as PyTerrier transformers.

    It is a transformer itself, and does what the columns ask for: queries get ``query_toks``, documents get
    ``toks``, and results with both texts get a ``score``. Nothing is loaded before a text has to be encoded.

    .. code-block:: python

        splare = Splare()
        index = SplareIndex.pisa("index.pisa", model=splare)
        (splare.doc_encoder() >> index.indexer()).index(corpus)
        (splare.query_encoder() >> index.retriever()).search("how do plants make sugar")

    Args:
        model: the built-in model's name, a folder, a hub id, or a loaded ``SplareModel`` or ``StaticQueryEncoder``.
        query_top_k: latents kept of a query; ``"model"`` is the model's own number, ``None`` keeps all.
        doc_top_k: likewise for a document.
        floats: give latent weights as they are instead of integer impacts.
        text_field: column that holds the text of documents.
        title_field: column with their titles, which go before the texts, as in ``splare index``, where there is such a
            column; ``None`` leaves them aside.
        batch_size: texts that are taken from a stream and sorted by length together.
        tokens_per_batch: padded tokens of one forward pass; by default what suits the device.
        device: where the model runs; ``"auto"`` takes cuda, else mps, else cpu.
        dtype: of its weights; ``"auto"`` is bfloat16 on cuda and float32 elsewhere.
        runtime: what computes it on a processor: ``"torch"``, ``"openvino"``, or ``"auto"``.
        quantization: as ``SplareModel.from_pretrained`` takes it; ``"int8"`` is fast on a processor.
        queries: what encodes queries: ``"full"``, the model; ``"static"``, its table of tokens, without torch;
            the folder of such a table; ``"model"``, as the model says.
        revision: branch, tag or commit of a hub model.
        verbose: show progress bars.

    Raises:
        InputError: for a batch size below 1, or a loaded model together with one of the five options of
            loading.
    """

    schematic: ClassVar = {"label": "SPLARE"}

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

    def explainer(
        self, *, top: int = 10, weights: Weights | None = None, **settings: Unpack[Settings]
    ) -> SplareExplainer:
        """Results with texts to explanations; ``settings`` as those of the factory.

        Args:
            top: most latents listed of a result.
            weights: latents of all queries to switch off, turn up or put in, such as ``{"f7336": 0}``.
            **settings: as those of the factory.
        """
        from pyterrier_splare.explainer import SplareExplainer

        return SplareExplainer(self._with(settings), top=top, weights=weights)

    def rm3(self, *, fb_docs: int = 10, fb_terms: int = 10, original_query_weight: float = 0.5) -> LatentRM3:
        """Results with ``query_toks`` and ``toks`` to expanded queries; see :class:`LatentRM3`."""
        from pyterrier_splare.latent_rm3 import LatentRM3

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

    def subtransformers(self) -> dict[str, Any]:
        """None: the encoders that it makes are its own business."""
        return {}
