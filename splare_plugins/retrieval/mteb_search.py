"""Our engines under mteb: a model that ``mteb.evaluate`` runs on corpora of any size."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from splare_plugins.config import TopK
from splare_plugins.corpus import Document, Query, ReadCounts
from splare_plugins.engines import get_engine
from splare_plugins.errors import InputError, MissingPartError
from splare_plugins.retrieval.indexing import document_batches, index, query_impacts, search_queries

if TYPE_CHECKING:
    from mteb.models import ModelMeta

    from splare_plugins.model.encoder import Encoder

logger = logging.getLogger(__name__)


class EngineSearch:
    """An engine with a model, as mteb's ``SearchProtocol``: ``mteb.evaluate(EngineSearch(model), tasks)``.

    Documents are encoded as a stream and indexed as integer impacts, so neither the corpus nor its vectors have to fit
    into memory. (``mteb.evaluate(SplareEncoder(...), tasks)`` multiplies float vectors instead, chunk by chunk.)

    Args:
        model: its quantiser is calibrated.
        engine: name of an engine whose indexes are folders, such as ``"memory"`` or ``"lucene"``.
        folder: where the index of each task is kept; by default it is thrown away after the search.
        query_top_k: latents kept of a query; ``"model"`` is the model's own number, ``None`` keeps all.
        document_top_k: likewise of documents.
        **options: the options of the engine's writer.

    Raises:
        InputError: for an unknown engine, or a model that was never calibrated.
        MissingPartError: if mteb is not installed.
    """

    def __init__(
        self,
        model: Encoder,
        engine: str = "memory",
        *,
        folder: str | Path | None = None,
        query_top_k: TopK = "model",
        document_top_k: TopK = "model",
        **options: Any,
    ) -> None:
        self._meta = _meta(model, engine)
        self._engine = get_engine(engine)
        self._model = model
        self._quantizer = model.quantizer
        self._folder = None if folder is None else Path(folder)
        self._query_top_k = query_top_k
        self._document_top_k = document_top_k
        self._options = options
        self._scratch: TemporaryDirectory[str] | None = None

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """The model's name, and as its revision what an index of impacts must agree on."""
        return self._meta

    def index(self, corpus: Any, *, task_metadata: Any, hf_split: str, hf_subset: str, **_: Any) -> None:
        """Encode and index rows with ``id``, ``text`` and perhaps ``title``, for a task, subset and split.

        What else mteb gives (batch sizes, progress, processes) is for encoders of its own.
        """
        location = self._location(task_metadata.name, hf_subset, hf_split)
        batches = document_batches(self._model, _documents(corpus), top_k=self._document_top_k)
        counts = ReadCounts(read=len(corpus))
        with self._engine.writer(str(location), self._model.config, overwrite=True, **self._options) as writer:
            summary = index(batches, writer, counts=counts)
        logger.info("indexed %s into %s: %s", task_metadata.name, location, summary.to_dict())

    def search(
        self,
        queries: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        top_k: int,
        top_ranked: Any = None,
        **_: Any,
    ) -> dict[str, dict[str, float]]:
        """Search what :meth:`index` indexed last for this task, subset and split.

        Queries are rows with ``id``, ``text`` and perhaps ``instruction``; each gets ``top_k`` documents at most.

        Returns:
            Scores by document by query: integer dot products of impacts.

        Raises:
            InputError: for a reranking task, or queries that are not texts.
        """
        if top_ranked is not None:
            raise InputError(f"{task_metadata.name} reranks given documents; evaluate SplareEncoder on it instead")
        asked = list(_queries(queries, task_metadata.name))
        impacts = query_impacts(self._model, asked, top_k=self._query_top_k)
        with self._engine.searcher(str(self._location(task_metadata.name, hf_subset, hf_split))) as searcher:
            run = search_queries(searcher, [query.qid for query in asked], impacts, top_k)
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None
        return {qid: dict(zip(hits.docids, hits.scores.tolist(), strict=True)) for qid, hits in run.items()}

    def _location(self, *names: str) -> Path:
        if self._folder is None and self._scratch is None:
            self._scratch = TemporaryDirectory(prefix="splare-mteb-")
        parent = self._folder if self._scratch is None else Path(self._scratch.name)
        assert parent is not None
        return parent / "-".join(names).replace("/", "_")


def _meta(model: Encoder, engine: str) -> ModelMeta:
    try:
        from mteb.models import ModelMeta
    except ImportError as error:
        raise MissingPartError("this needs mteb; run: pip install 'splare-plugins[mteb]'") from error
    config = model.config
    known = {
        "name": f"splare-plugins/{config.name.replace('/', '__')}-{engine}",
        "revision": config.index_fingerprint(),
        "embed_dim": config.width,
        "max_tokens": config.document.max_length,
        "similarity_fn_name": "dot",
        "model_type": ["sparse"],
    }
    return ModelMeta.create_empty(overwrites=known)  # type: ignore[no-any-return]


def _documents(corpus: Any) -> Iterator[Document]:
    for row in corpus:
        # Without white space around it, as in mteb's own route.
        yield Document(str(row["id"]), (row["text"] or "").strip(), row.get("title") or "")


def _queries(queries: Any, task: str) -> Iterator[Query]:
    for row in queries:
        text = row["text"]
        if not isinstance(text, str):
            raise InputError(f"the queries of {task} are conversations; only texts can be searched here")
        yield Query(str(row["id"]), " ".join(part for part in (text, row.get("instruction")) if part))
