"""PISA: exact and fast, without Java. Wheels exist for Linux on x86-64."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_array

from pyterrier_splare.indexes.child import run_script
from pyterrier_splare.indexes.folder import FolderSearcher, FolderWriter, hits_by_row
from pyterrier_splare.indexes.inverted import Inverter
from splare_plugins.config import SplareConfig, check_count
from splare_plugins.engines.base import Hits, PairedEngine
from splare_plugins.errors import InputError, MissingPartError
from splare_plugins.impacts import to_dicts

ENCODINGS = (
    "block_simdbp",
    "block_interpolative",
    "block_maskedvbyte",
    "block_optpfor",
    "block_qmx",
    "block_simple16",
    "block_simple8b",
    "block_streamvbyte",
    "block_varintg8iu",
    "block_varintgb",
    "ef",
    "pefopt",
    "pefuniform",
    "single",
)
ALGORITHMS = ("maxscore", "block_max_maxscore", "block_max_wand", "wand", "ranked_or")
"""All of them return the exact best documents; for queries of 40 latents the first is three times as fast as WAND."""

CONJUNCTIVE = ("ranked_and", "block_max_ranked_and")
"""Fast, but only documents that have every latent of the query."""


class PisaWriter(FolderWriter):
    """Writes PISA's inverted lists directly and lets PISA compress them.

    Args:
        location: folder of the index.
        config: the model whose impacts will be added.
        overwrite: replace the index that stands there.
        encoding: how lists are compressed, one of :data:`ENCODINGS`.
    """

    kind = "splare_pisa"
    # Makes it an index that pyterrier_pisa opens too.
    extra_meta: ClassVar = {"stemmer": "none"}

    def __init__(
        self,
        location: str | Path,
        config: SplareConfig | None = None,
        *,
        overwrite: bool = False,
        encoding: str = ENCODINGS[0],
    ) -> None:
        if encoding not in ENCODINGS:
            raise InputError(f"PISA has no encoding {encoding!r}; choose one of {', '.join(ENCODINGS)}")
        super().__init__(location, config, overwrite=overwrite)
        self._encoding = encoding
        self._inverter = Inverter(self.folder)
        self._names = (self.folder / "fwd.documents").open("w", encoding="utf-8", newline="\n")

    def _add(self, docids: Sequence[str], impacts: csr_array) -> None:
        self._names.write("".join(f"{docid}\n" for docid in docids))
        self._inverter.add(impacts)

    def _finish(self) -> dict[str, Any]:
        self._names.close()
        terms = self._inverter.write("inv")
        (self.folder / "fwd.terms").write_text("".join(f"{term}\n" for term in terms), encoding="utf-8")
        if self.impacts:
            run_script(
                "pisa_prepare.py", _extension(), str(self.folder), self._encoding, purpose="compressing with PISA"
            )
        return {"encoding": self._encoding}

    def _abandon(self) -> None:
        self._names.close()

    def _check_docid(self, docid: object) -> None:
        super()._check_docid(docid)
        if "\n" in str(docid):
            raise InputError(f"the docno {docid!r} has a line break, which PISA cannot hold; remove it")


class PisaSearcher(FolderSearcher):
    """Exact search by integer dot products up to 16,777,216; larger ones are rounded to float32.

    Args:
        location: folder of the index.
        threads: queries answered at the same time; the order of the answers is that of the queries all the same.
        algorithm: one of :data:`ALGORITHMS`, or of :data:`CONJUNCTIVE`.
    """

    kind = PisaWriter.kind

    def __init__(self, location: str | Path, *, threads: int = 1, algorithm: str = ALGORITHMS[0]) -> None:
        check_option("algorithm", algorithm)
        check_option("threads", threads)
        super().__init__(location)
        self._settings = {"threads": threads, "query_weighted": 1, "pretokenised": True}
        self._algorithm = algorithm
        self._context: Any = None
        if self.meta["impacts"]:
            # The binding itself: the frames that are built around it would take a third of the time of a search.
            from pyterrier_pisa import _pisathon

            self._pisa = _pisathon
            self._context = _pisathon.RetrievalContext()
            _pisathon.prepare_index(self._context, str(self.location), self.meta["encoding"], "quantized", "")

    def close(self) -> None:
        """Release the index."""
        super().close()
        self._context = None

    def _search(self, impacts: csr_array, k: int) -> Sequence[Hits]:
        count = impacts.shape[0]
        rows, ranks = np.empty(count * k, np.int32), np.empty(count * k, np.int32)
        docnos, scores = np.empty(count * k, object), np.empty(count * k, np.float32)
        found = self._pisa.retrieve(
            self._context,
            self._algorithm,
            # The binding reads weights as Python floats without asking.
            list(enumerate(to_dicts(impacts.astype(np.float64)))),
            k=k,
            result_qidxs=rows,
            result_docnos=docnos,
            result_ranks=ranks,
            result_scores=scores,
            **self._settings,
        )
        # With several threads, queries come in any order; the hits of each are together and in theirs.
        order = np.argsort(rows[:found], kind="stable")
        return hits_by_row(count, rows[order], docnos[order], scores[order].astype(np.float64))


class PisaEngine(PairedEngine):
    """The engine ``pisa``."""

    name = "pisa"
    writer_class = PisaWriter
    searcher_class = PisaSearcher
    approximate = False
    exact: ClassVar = {"algorithm": ALGORITHMS[0]}
    candidates: ClassVar = [{"algorithm": algorithm} for algorithm in ALGORITHMS]

    def __init__(self) -> None:
        require_pisa()


def check_option(name: str, value: Any) -> None:
    """Refuse an option of :class:`PisaSearcher`.

    Raises:
        InputError: naming the values that it can have.
    """
    if name == "algorithm" and value not in (*ALGORITHMS, *CONJUNCTIVE):
        raise InputError(f"PISA has no algorithm {value!r}; choose one of {', '.join(ALGORITHMS + CONJUNCTIVE)}")
    if name == "threads":
        check_count(value, "the number of threads")


def require_pisa() -> None:
    """Say what to do where PISA is not installed.

    Raises:
        MissingPartError: naming the way out.
    """
    if importlib.util.find_spec("pyterrier_pisa") is not None:
        return
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise MissingPartError(
            f"PISA for Python exists for Linux on x86-64 only, not for {sys.platform} on {platform.machine()}; "
            "use another index, for example SplareIndex.memory() or SplareIndex.anserini()"
        )
    raise MissingPartError(
        "PISA needs the package pyterrier-pisa, which is not installed: run pip install 'splare-plugins[pyterrier]'"
    )


def _extension() -> str:
    """The file of PISA's Python binding, found without importing the package, which takes seconds."""
    spec = importlib.util.find_spec("pyterrier_pisa")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for path in (Path(folder) / f"_pisathon{suffix}" for folder in folders for suffix in EXTENSION_SUFFIXES):
        if path.is_file():
            return str(path)
    raise MissingPartError("pyterrier-pisa is installed without a part for this Python: install it again")
