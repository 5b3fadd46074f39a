"""What an index is to PyTerrier: an artifact that makes indexers and retrievers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import pyterrier as pt

from pyterrier_splare.identity import config_of
from pyterrier_splare.indexes.folder import PACKAGE_HINT
from pyterrier_splare.indexes.indexer import SplareIndexer
from pyterrier_splare.indexes.loaders import IndexScorer, TextLoader, VectorLoader, signed
from pyterrier_splare.indexes.place import is_ours, read_meta, version_of
from pyterrier_splare.indexes.retriever import SplareRetriever
from pyterrier_splare.indexes.store import Store
from splare_plugins.config import SplareConfig
from splare_plugins.engines.base import Engine, Searcher
from splare_plugins.errors import InputError
from splare_plugins.impacts import to_dicts
from splare_plugins.steering import Weights

# Searchers of one index with different options; tuning makes many, of which each may hold the index in memory.
_OPEN_AT_ONCE = 4


class FolderIndex(pt.Artifact, pt.Indexer):
    """The folder of an index of latent impacts, whatever the back end; see :class:`pyterrier_splare.SplareIndex`.

    Args:
        path: folder of the index; need not exist yet.
        model: what makes the impacts; nothing is loaded.
        overwrite: replace an index that stands at ``path`` when documents are indexed.

    Attributes:
        named_model: the config of ``model``.

    Raises:
        InputError: if there is no such model.
    """

    ARTIFACT_TYPE = "sparse_index"
    ARTIFACT_FORMAT: ClassVar[str]
    ARTIFACT_PACKAGE_HINT = PACKAGE_HINT
    engine: ClassVar[type[Engine]]

    def __init__(self, path: str | Path, *, model: Any = None, overwrite: bool = False) -> None:
        super().__init__(path)
        self.overwrite = overwrite
        self._stored: tuple[tuple[int, ...], Store] | None = None
        self.named_model = config_of(model)
        self._searchers: dict[tuple[tuple[str, Any], ...], Searcher] = {}
        self._version: tuple[int, ...] = ()

    @property
    def config(self) -> SplareConfig | None:
        """The model that made the index, or will; ``None`` if nobody said."""
        if self.built() and (made_with := self.meta["config"]):
            return SplareConfig.from_dict(made_with)
        return self.named_model

    @property
    def meta(self) -> dict[str, Any]:
        """What is known about the built index: documents, impacts, width, model, and what the back end noted."""
        return read_meta(self.require_built(), self.ARTIFACT_FORMAT)

    @property
    def width(self) -> int | None:
        """Number of latents; ``None`` if neither the model nor the index tells."""
        if self.named_model is not None:
            return self.named_model.width
        return int(self.meta["width"]) if self.built() else None

    def built(self) -> bool:
        """Whether there is an index."""
        return is_ours(Path(self.path))

    def num_docs(self) -> int:
        """Documents in the index, those without any impact included."""
        return int(self.meta["documents"])

    def __len__(self) -> int:
        return self.num_docs()

    def __bool__(self) -> bool:
        # An index that is not built yet, or is empty, is one all the same.
        return True

    def index_inputs(self) -> list[list[str]]:
        """Columns that are indexed."""
        return [["docno", "toks"]]

    def index(self, inp: Any) -> Self:
        """``indexer().index(inp)``."""
        return self.indexer().index(inp)

    def indexer(self, *, overwrite: bool | None = None, **settings: Any) -> SplareIndexer[Self]:
        """A transformer that ends an indexing pipeline.

        Args:
            overwrite: replace the index that stands at the path; by default what the index was made with.
            **settings: ``batch_size``, ``store_text``, ``store_vectors`` and ``verbose`` of :class:`SplareIndexer`.
        """
        return SplareIndexer(self, overwrite=self.overwrite if overwrite is None else overwrite, **settings)

    def store(self) -> Store:
        """What the index kept of its documents.

        Raises:
            InputError: if there is no index.
        """
        path = self.require_built()
        if self._stored is None or self._stored[0] != version_of(path):
            self._stored = version_of(path), Store(path)
        return self._stored[1]

    def text_loader(self, fields: list[str] | str | Literal["*"] = "*", *, verbose: bool = False) -> TextLoader:
        """Adds the texts of documents to results by their ``docno``; see ``indexer(store_text=True)``.

        Args:
            fields: names of the columns, one name, or ``"*"`` for all that are kept.
            verbose: there is nothing to wait for; taken because ``pt.text.get_text`` gives it.

        Raises:
            InputError: if the index did not keep them.
        """
        store = self.store()
        names = store.fields if fields == "*" else [fields] if isinstance(fields, str) else list(fields)
        store.require(texts=names or ["text"])
        return TextLoader(self, names)

    def vec_loader(self) -> VectorLoader:
        """Adds ``toks`` to documents or results by their ``docno``, for feedback; see ``indexer(store_vectors=True)``.

        Raises:
            InputError: if the index did not keep its vectors.
        """
        self.store().require(vectors=True)
        return VectorLoader(self)

    def scorer(self) -> IndexScorer:
        """Scores results with ``query_toks`` by their ``docno``, without texts or a model.

        Raises:
            InputError: if the index did not keep its vectors.
        """
        self.store().require(vectors=True)
        return IndexScorer(self)

    def get_corpus_iter(self) -> Iterator[dict[str, Any]]:
        """All documents as ``{"docno": ..., "toks": ...}``, with the texts that were kept, for any indexer.

        Raises:
            InputError: if the index did not keep its vectors.
        """
        store = self.store()
        store.require(vectors=True)
        return self._corpus(store)

    def _corpus(self, store: Store) -> Iterator[dict[str, Any]]:
        for docnos, impacts, texts in store.batches(int(self.width or 0)):
            cells = signed(self, to_dicts(impacts))
            for row, (docno, toks) in enumerate(zip(docnos, cells, strict=True)):
                yield {"docno": docno, "toks": toks, **{name: values[row] for name, values in texts.items()}}

    def retriever(
        self, *, num_results: int = 1000, weights: Weights | None = None, verbose: bool = False
    ) -> SplareRetriever:
        """Queries with ``query_toks`` to results.

        Args:
            num_results: most documents per query.
            weights: latents of all queries to switch off, turn up or put in, such as ``{"f7336": 0}``.
            verbose: show a progress bar.

        Raises:
            IdentityError: if the index was made with another model than the one that was named.
        """
        self.require_own_model()
        return SplareRetriever(self, num_results=num_results, weights=weights, verbose=verbose)

    def searcher(self, **options: Any) -> Searcher:
        """The open index, for sparse matrices instead of frames; opened once for all retrievers.

        An index that somebody has built anew since is opened anew.

        Args:
            **options: those of the back end's searcher.

        Raises:
            InputError: if there is no index, or it is damaged or of another back end.
            IdentityError: if it was made with another model than the one that was named.
        """
        self.require_built()
        self.require_own_model()
        if self._version != (version := version_of(Path(self.path))):
            self.close()
            self._version = version
        key = tuple(sorted(options.items()))
        if key not in self._searchers:
            while len(self._searchers) >= _OPEN_AT_ONCE:
                self._searchers.pop(next(iter(self._searchers))).close()
            self._searchers[key] = self.engine().searcher(str(self.path), **options)
        return self._searchers[key]

    def close(self) -> None:
        """Close what is open; the next search opens it again."""
        while self._searchers:
            self._searchers.popitem()[1].close()

    def require_built(self) -> Path:
        """The path.

        Raises:
            InputError: if there is no index yet.
        """
        path = Path(self.path)
        if not self.built():
            raise InputError(f"there is no index at {path} yet; index documents first")
        return path

    def require_own_model(self) -> None:
        """Refuse an index that another model than the named one made.

        Raises:
            IdentityError: naming both.
        """
        if self.named_model is not None and self.built() and (made_with := self.meta["config"]):
            self.named_model.require_same_index(SplareConfig.from_dict(made_with), f"the index at {self.path}")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_searchers": {}, "_stored": None}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, FolderIndex) and str(self.path) == str(other.path)

    def __hash__(self) -> int:
        return hash((type(self), str(self.path)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"
