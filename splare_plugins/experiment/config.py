"""All settings of an experiment, checked before anything is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

from splare_plugins.errors import InputError
from splare_plugins.model.builtin import BUILTIN_MODEL
from splare_plugins.retrieval.evaluation import DEFAULT_MEASURES, check_measures
from splare_plugins.retrieval.fusion import Method
from splare_plugins.training.settings import Settings

Kind = Literal["bm25", "dense", "splare", "splade", "fused", "rerank"]
By = Literal["cross", "dense", "splare", "splade"]
_BUDGETS = ("query_top_k", "document_top_k")
# What each kind of system takes, its name and kind aside; of re-ranking, by what it ranks.
_TAKES: dict[str, tuple[str, ...]] = {
    "bm25": (),
    "dense": ("model",),
    "splare": ("model", "query_encoder", *_BUDGETS, "bits"),
    "splade": ("model", *_BUDGETS, "bits"),
    "fused": ("of", "method", "weights"),
    "rerank": ("of", "by", "depth", "model"),
}
_TAKES_BY: dict[str, tuple[str, ...]] = {
    "cross": ("batch", "max_length"),
    "dense": (),
    "splare": ("query_encoder", *_BUDGETS, "bits"),
    "splade": (*_BUDGETS, "bits"),
}
# Kinds that have no model of their own.
_MODELS = {"splade": "a SPLADE model", "cross": "a cross-encoder"}
# Names are parts of paths, and a system's is the last column of its runs.
_NAME = re.compile(r"\w[\w.+-]*")
_FEWEST = 2
_MOST_BITS = 8


@dataclass(frozen=True, kw_only=True)
class SystemSettings:
    """A system that answers queries.

    Attributes:
        name: in tables and as the name of its runs.
        kind: ``bm25`` is Lucene's; ``dense`` the backbone of a model; ``splare`` and ``splade`` any sparse model;
            ``fused`` the runs of systems above it; ``rerank`` the first documents of one system above it, ranked anew.
        model: built-in name, folder or hub id; the built-in one if left out, which ``splade`` and a cross-encoder
            cannot.
        query_encoder: of ``splare``: ``full``, the model; ``static``, its table of tokens; the folder of such a table;
            ``model``, as the model says.
        query_top_k: latents kept of a query: a number, ``model`` for the model's own, ``null`` for all.
        document_top_k: likewise of a document.
        bits: of an impact, on both sides; fewer than 8 make the scale coarser.
        of: names of systems that are fused, or of the one that is ranked anew.
        method: how they are fused, see :mod:`splare_plugins.retrieval.fusion`.
        weights: one a system that is fused; 1 each if left out.
        by: what ranks anew: ``cross`` is a cross-encoder that transformers loads, the others are as the kinds.
        depth: documents of a query that are ranked anew, all of its run if left out; those below keep their order.
        batch: pairs that a cross-encoder reads at once.
        max_length: tokens of a pair; all that the cross-encoder takes if left out.
    """

    name: str
    kind: Kind
    model: str | None = None
    query_encoder: str = "model"
    query_top_k: int | Literal["model"] | None = "model"
    document_top_k: int | Literal["model"] | None = "model"
    bits: int = _MOST_BITS
    of: tuple[str, ...] = ()
    method: Method = "rrf"
    weights: tuple[float, ...] | None = None
    by: By = "cross"
    depth: int | None = None
    batch: int = 32
    max_length: int | None = None

    def __post_init__(self) -> None:
        where = f"systems: {self.name}"
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"systems: the name {self.name!r} must be a word of letters, digits, '.', '+', '-' or '_'"
            )
        self._require_known(where)
        for name in _BUDGETS:
            kept = getattr(self, name)
            if isinstance(kept, int) and kept < 1:
                raise InputError(f"{where}: {name} must be a number from 1, 'model' or null for all, not {kept}")
        for name in ("depth", "batch", "max_length"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise InputError(f"{where}: {name} must be a number from 1, not {number}")
        if not 1 <= self.bits <= _MOST_BITS:
            raise InputError(f"{where}: bits must be a number from 1 to {_MOST_BITS}, not {self.bits}")
        if self.way in _MODELS and self.model is None:
            raise InputError(f"{where}: the setting 'model' is missing, the folder or hub id of {_MODELS[self.way]}")
        if self.kind == "fused" and len(self.of) < _FEWEST:
            raise InputError(f"{where}: of must name two systems or more, not {list(self.of)}")
        if self.kind == "rerank" and len(self.of) != 1:
            raise InputError(f"{where}: of must name the one system that is ranked anew, not {list(self.of)}")
        if self.weights is not None:
            usable = len(self.weights) == len(self.of) and min(self.weights) >= 0 and any(self.weights)
            if not usable:
                raise InputError(
                    f"{where}: weights must be one number a fused system, at least 0 and not all 0, not "
                    f"{list(self.weights)}"
                )

    @property
    def model_name(self) -> str:
        """The model's name, the built-in one's where none is given."""
        return self.model or BUILTIN_MODEL

    @property
    def way(self) -> Kind | By:
        """What gives the scores: the kind, or what ranks anew."""
        return self.by if self.kind == "rerank" else self.kind

    def _require_known(self, where: str) -> None:
        kind, takes = f"the kind {self.kind}", _TAKES[self.kind]
        if self.kind == "rerank":
            kind, takes = f"{kind} by {self.by}", (*takes, *_TAKES_BY[self.by])
        for field in fields(self)[2:]:
            if field.name not in takes and getattr(self, field.name) != field.default:
                has = f"it takes {', '.join(takes)}" if takes else "it takes nothing more"
                raise InputError(f"{where}: {kind} has no setting {field.name!r}; {has}")


@dataclass(frozen=True, kw_only=True)
class CollectionSettings:
    """Documents, queries and judgements.

    Attributes:
        name: in tables and paths; that of a bundled collection, if there is no ``source``.
        source: BEIR folder, ``irds:NAME``, or ``mteb:TASK``, ``mteb:TASK/SUBSET``, ``mteb:TASK/SUBSET/SPLIT``.
        queries: other queries for these documents, as ``splare search`` takes them.
        split: of the judgements of a folder; ``test`` if left out.
        language: of the documents, as BM25 needs it; if left out, that of a bundled one or a task, else English.
        limit: most queries, the first judged ones; all if left out.
    """

    name: str
    source: str | None = None
    queries: str | None = None
    split: str | None = None
    language: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if not all(_NAME.fullmatch(part) for part in self.name.split("/")):
            raise InputError(
                f"collections: the name {self.name!r} must be words of letters, digits, '.', '+', '-' or '_', with / "
                "between them"
            )
        if self.limit is not None and self.limit < 1:
            raise InputError(f"collections: {self.name}: limit must be a number from 1, not {self.limit}")


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig(Settings):
    """Systems by collections by measures.

    Attributes:
        systems: in the order of the tables; what is made of other runs stands below them.
        collections: likewise.
        measures: as ir-measures or trec_eval writes them.
        baseline: the system that others are tested against; the first one if left out.
        alpha: a difference is marked if its p, by the randomisation test and after Holm's correction, is below.
        seed: of the randomisation tests.
        depth: documents of a query in a run.
        engine: that searches sparse models.
        keep_all: keep all latents of encoded documents, so that later configs with larger budgets find them.
        part_size: documents of an encoded part; what a killed run may have to redo.
        device: where models run.
        dtype: of their weights.
        runtime: what computes them on a processor.
    """

    systems: tuple[SystemSettings, ...]
    collections: tuple[CollectionSettings, ...]
    measures: tuple[str, ...] = DEFAULT_MEASURES
    baseline: str | None = None
    alpha: float = 0.05
    seed: int = 42
    depth: int = 100
    engine: Literal["lucene", "memory", "pisa", "terrier", "anserini", "seismic"] = "lucene"
    keep_all: bool = False
    part_size: int = 2000
    device: str = "auto"
    dtype: str = "auto"
    runtime: str = "auto"

    def __post_init__(self) -> None:
        for what in ("systems", "collections", "measures"):
            if not getattr(self, what):
                raise InputError(f"{what} must name at least one")
        _require_distinct("systems", (system.name for system in self.systems))
        _require_distinct("collections", (collection.name for collection in self.collections))
        _require_distinct("measures", self.measures)
        try:
            check_measures(self.measures)
        except InputError as error:
            raise InputError(f"measures: {error}") from error
        if not 0 < self.alpha < 1:
            raise InputError(f"alpha must be between 0 and 1, such as 0.05, not {self.alpha}")
        if self.depth < 1:
            raise InputError(f"depth must be a number from 1, not {self.depth}")
        if self.seed < 0:
            raise InputError(f"seed must be at least 0, not {self.seed}")
        names = [system.name for system in self.systems]
        _require_known("baseline names", self.baseline_name, names)
        for place, system in enumerate(self.systems):
            for name in system.of:
                _require_known(f"systems: {system.name}: of names", name, names[:place], "system above it")
            if system.depth is not None and system.depth > self.depth:
                raise InputError(
                    f"systems: {system.name}: depth {system.depth} is more than the {self.depth} documents of a run; "
                    "raise the depth of the experiment"
                )

    @property
    def baseline_name(self) -> str:
        """The system that others are tested against."""
        return self.baseline or self.systems[0].name

    def only(self, collections: Sequence[str]) -> ExperimentConfig:
        """The same with these collections alone; with all of them if none is named."""
        for name in collections:
            _require_known("--collection names", name, [each.name for each in self.collections], "collection")
        kept = tuple(each for each in self.collections if not collections or each.name in collections)
        return replace(self, collections=kept)


def _require_distinct(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{what}: {name!r} is there twice; each must have a name of its own")
        seen.add(name)


def _require_known(what: str, name: str, known: Sequence[str], kind: str = "system") -> None:
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "there is none"
        raise InputError(f"{what} {name!r}, which is not a {kind}; {there}")
