"""The indexes that users name, one class per back end; importing them starts neither Java nor a back end."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Self

import pandas as pd

from pyterrier_splare.indexes.anserini import AnseriniEngine, AnseriniSearcher
from pyterrier_splare.indexes.artifact import FolderIndex
from pyterrier_splare.indexes.indexer import SplareIndexer
from pyterrier_splare.indexes.pisa import ALGORITHMS, PisaEngine, PisaSearcher, require_pisa
from pyterrier_splare.indexes.retriever import MemoryRetriever, PisaRetriever, SeismicRetriever
from pyterrier_splare.indexes.seismic_engine import EXHAUSTIVE, SeismicEngine, SeismicSearcher
from pyterrier_splare.indexes.terrier import TerrierEngine, TerrierSearcher
from pyterrier_splare.indexes.wrapped import MemoryFolderEngine, MemoryFolderSearcher
from pyterrier_splare.terrier_java import start_terrier
from splare_plugins.errors import InputError
from splare_plugins.steering import Weights

# Settings of every indexer; all others are Seismic's.
_INDEXER = ("batch_size", "store_text", "store_vectors", "verbose")


class SplareIndex(FolderIndex):
    """An index of latent impacts; one class per back end, which differ by one word.

    .. code-block:: python

        index = SplareIndex.pisa("index.pisa", model=splare)
        (splare.doc_encoder() >> index.indexer()).index(corpus)
        (splare.query_encoder() >> index.retriever(num_results=100)).search("how do plants make sugar")

    Given the ``model``, the index remembers it. Then it refuses to be searched under another one, and refuses frames
    that another one has encoded. Without it, nothing is known about the vectors and nothing is refused.

    Args:
        path: folder of the index; need not exist yet.
        model: what makes the impacts: a ``Splare``, a ``SplareModel``, or a model's name or folder; nothing is loaded.
        overwrite: replace an index that stands at ``path`` when documents are indexed.

    Attributes:
        named_model: the config of ``model``.

    Raises:
        InputError: if there is no such model.
    """

    @staticmethod
    def pisa(path: str | Path, *, model: Any = None, overwrite: bool = False) -> PisaSplareIndex:
        """PISA: exact, the fastest of the exact ones, no Java; Linux on x86-64."""
        return PisaSplareIndex(path, model=model, overwrite=overwrite)

    @staticmethod
    def terrier(path: str | Path, *, model: Any = None, overwrite: bool = False) -> TerrierSplareIndex:
        """Terrier, PyTerrier's own engine: exact, Java."""
        return TerrierSplareIndex(path, model=model, overwrite=overwrite)

    @staticmethod
    def anserini(path: str | Path, *, model: Any = None, overwrite: bool = False) -> AnseriniSplareIndex:
        """Lucene, in a form that Anserini, Pyserini and pyterrier_anserini search too: exact, Java."""
        return AnseriniSplareIndex(path, model=model, overwrite=overwrite)

    @staticmethod
    def seismic(path: str | Path, *, model: Any = None, overwrite: bool = False) -> SeismicSplareIndex:
        """Seismic: approximate and very fast, with an exact mode; no Java."""
        return SeismicSplareIndex(path, model=model, overwrite=overwrite)

    @staticmethod
    def memory(path: str | Path | None = None, *, model: Any = None, overwrite: bool = False) -> MemorySplareIndex:
        """In memory: exact, for small corpora; kept in a folder only if one is named."""
        return MemorySplareIndex(path, model=model, overwrite=overwrite)


class PisaSplareIndex(SplareIndex):
    """A PISA index of impacts; exact, and Java is never started."""

    ARTIFACT_FORMAT = PisaSearcher.kind
    engine = PisaEngine

    def retriever(
        self,
        *,
        num_results: int = 1000,
        threads: int = 1,
        algorithm: str = ALGORITHMS[0],
        weights: Weights | None = None,
        verbose: bool = False,
    ) -> PisaRetriever:
        """Queries with ``query_toks`` to results.

        Args:
            num_results: most documents per query.
            threads: queries answered at the same time.
            algorithm: one of :data:`ALGORITHMS`, which differ in speed only, or of :data:`CONJUNCTIVE`.
            weights: latents of all queries to switch off, turn up or put in, such as ``{"f7336": 0}``.
            verbose: show a progress bar.
        """
        self.require_own_model()
        return PisaRetriever(
            self, num_results=num_results, threads=threads, algorithm=algorithm, weights=weights, verbose=verbose
        )

    def native(self) -> Any:
        """The same folder as a ``pyterrier_pisa.PisaIndex``; ask it for ``.quantized(toks_scale=1.)``."""
        require_pisa()
        from pyterrier_pisa import PisaIndex

        return PisaIndex(str(self.require_built()), stemmer="none", index_encoding=self.meta["encoding"], stops="none")


class TerrierSplareIndex(SplareIndex):
    """A Terrier index of impacts; exact, starts Java, and holds docnos of any length."""

    ARTIFACT_FORMAT = TerrierSearcher.kind
    engine = TerrierEngine

    def native(self) -> Any:
        """The same folder as a ``pt.terrier.TerrierIndex``; ``Tf`` scores are ours over a query's largest weight."""
        start_terrier()
        import pyterrier as pt

        return pt.terrier.TerrierIndex(str(self.require_built()))


class AnseriniSplareIndex(SplareIndex):
    """A Lucene index of impacts; starts Java.

    ``retriever()`` searches with our own Lucene searcher; ``native()`` is the same folder for pyterrier_anserini.
    """

    ARTIFACT_FORMAT = AnseriniSearcher.kind
    engine = AnseriniEngine

    def native(self) -> Any:
        """The same folder as a ``pyterrier_anserini.AnseriniIndex``; ask it for ``.impact()``.

        Its scores are changed a little where documents tie, and it raises for an empty query. The first one imports
        all of pyserini, which takes half a minute.

        Raises:
            MissingPartError: if pyterrier-anserini is not installed.
            SplareError: if Java runs already without Terrier's jars.
        """
        path = self.require_built()
        start_terrier()
        from pyterrier_anserini import AnseriniIndex

        return AnseriniIndex(str(path))


class SeismicSplareIndex(SplareIndex):
    """A Seismic index of impacts; approximate unless it is asked to search exhaustively."""

    ARTIFACT_FORMAT = SeismicSearcher.kind
    engine = SeismicEngine

    def indexer(
        self, *, overwrite: bool | None = None, threads: int | None = None, **settings: Any
    ) -> SplareIndexer[Self]:
        """A transformer that ends an indexing pipeline.

        Args:
            overwrite: replace the index that stands at the path; by default what the index was made with.
            threads: that build; ``None`` takes all.
            **settings: those of :meth:`FolderIndex.indexer`, and values to use instead of those of
                ``seismic_engine.BUILD``; larger ``n_postings``, ``summary_energy`` and ``doc_cut`` find more and take
                longer to build.
        """
        build = {name: settings.pop(name) for name in set(settings) - set(_INDEXER)}
        return super().indexer(overwrite=overwrite, options={"threads": threads, **build}, **settings)

    def retriever(
        self,
        *,
        num_results: int = 1000,
        preset: str = "fast",
        query_cut: int | None = None,
        heap_factor: float | None = None,
        threads: int = 1,
        weights: Weights | None = None,
        verbose: bool = False,
    ) -> SeismicRetriever:
        """Queries with ``query_toks`` to results.

        Args:
            num_results: most documents per query.
            preset: ``"fast"``, ``"paper"`` (what SPLARE was measured with), or ``"exhaustive"``, which is exact.
            query_cut: latents of a query that are followed, the largest first; instead of the preset's.
            heap_factor: clusters that promise less than this share of the worst hit so far are skipped: 0 skips
                none; instead of the preset's.
            threads: queries answered at the same time.
            weights: latents of all queries to switch off, turn up or put in, such as ``{"f7336": 0}``.
            verbose: show a progress bar.
        """
        self.require_own_model()
        return SeismicRetriever(
            self,
            num_results=num_results,
            preset=preset,
            query_cut=query_cut,
            heap_factor=heap_factor,
            threads=threads,
            weights=weights,
            verbose=verbose,
        )

    def recall(self, queries: pd.DataFrame, *, k: int = 10, **options: Any) -> float:
        """Share of the truly best ``k`` documents that the index finds, averaged over queries.

        A hit counts if its score reaches that of the k-th best document, so that ties do not matter. Queries that
        find nothing exhaustively are left out.

        Args:
            queries: with ``qid`` and ``query_toks``.
            k: hits of a query that are compared.
            **options: those of :meth:`retriever`; ``preset="fast"`` if nothing is said.

        Raises:
            InputError: if no query finds anything.
        """
        truth = self.retriever(num_results=k, preset=EXHAUSTIVE)(queries).groupby("qid")["score"]
        if not len(truth):
            raise InputError("none of these queries finds a document, so there is no recall to measure")
        found = self.retriever(num_results=k, **options)(queries)
        reached = found["score"] >= found["qid"].map(truth.min())
        return float(
            (reached.groupby(found["qid"]).sum().reindex(truth.size().index, fill_value=0) / truth.size()).mean()
        )


class MemorySplareIndex(SplareIndex):
    """An index held in memory; without a ``path`` it lives as long as this object.

    Args:
        path: folder to keep the index in.
        model: what makes the impacts.
        overwrite: replace an index that stands at ``path`` when documents are indexed.
    """

    ARTIFACT_FORMAT = MemoryFolderSearcher.kind
    engine = MemoryFolderEngine

    def __init__(self, path: str | Path | None = None, *, model: Any = None, overwrite: bool = False) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if path is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="splare-")
            path = Path(self._temporary.name) / "index"
        super().__init__(path, model=model, overwrite=overwrite)

    def retriever(
        self,
        *,
        num_results: int = 1000,
        device: str = "cpu",
        weights: Weights | None = None,
        verbose: bool = False,
    ) -> MemoryRetriever:
        """Queries with ``query_toks`` to results.

        Args:
            num_results: most documents per query.
            device: where they are looked for: ``"cpu"``, ``"cuda"``, another device of torch, or ``"auto"``; the
                results are the same.
            weights: latents of all queries to switch off, turn up or put in, such as ``{"f7336": 0}``.
            verbose: show a progress bar.
        """
        self.require_own_model()
        return MemoryRetriever(self, num_results=num_results, device=device, weights=weights, verbose=verbose)

    def __getstate__(self) -> dict[str, Any]:
        if self._temporary is not None:
            raise TypeError("an index without a path cannot be pickled; give it one: SplareIndex.memory(path)")
        return super().__getstate__()
