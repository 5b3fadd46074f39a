"""From a config to a folder of runs, figures, tables and a record; what is there already is not made again."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from splare_plugins.corpus import read_run, write_run
from splare_plugins.errors import InputError
from splare_plugins.experiment import systems
from splare_plugins.experiment.collection import DATA, Collection, open_collection
from splare_plugins.experiment.config import ExperimentConfig, SystemSettings
from splare_plugins.experiment.models import open_models, open_readers
from splare_plugins.experiment.record import make_record
from splare_plugins.experiment.reranking import Scorer, by_cross_encoder, by_impacts, by_vectors, rerank
from splare_plugins.experiment.results import CONFIG_FILE, PER_QUERY_FILE, RECORD_FILE, require_finished
from splare_plugins.experiment.store import Encodings, Steps, document_budget, query_budget
from splare_plugins.experiment.systems import Answer, Costs
from splare_plugins.experiment.tables import (
    FOLDER,
    SHOWN,
    comparisons_table,
    costs_table,
    figures_table,
)
from splare_plugins.machine.files import file_sha256, read_json, write_whole
from splare_plugins.retrieval.evaluation import evaluate_per_query
from splare_plugins.retrieval.significance import Comparison, corrected, paired

if TYPE_CHECKING:
    from splare_plugins.model.cross_encoder import CrossEncoderModel

FORMAT_VERSION = 1

Values = dict[tuple[str, str], dict[str, dict[str, float]]]
"""Measures by query, by collection and system."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a call did.

    Attributes:
        made: runs that it made.
        found: runs that were there.
        means: of the measures, by collection and system.
        costs: likewise.
    """

    made: int
    found: int
    means: dict[tuple[str, str], dict[str, float]]
    costs: dict[tuple[str, str], Costs]


def run_experiment(
    config: ExperimentConfig, folder: str | Path, *, data: Path = DATA, steps: Steps = lambda _: lambda _: None
) -> Outcome:
    """Run what of an experiment is not there yet, and write its tables.

    After a kill the same call goes on: with the parts of a corpus that are not encoded, and the runs that are not
    there. A changed config makes those runs anew that it changes.

    Args:
        config: of the experiment.
        folder: of its results.
        data: folder of the bundled collections.
        steps: told what begins, gives what is told of its progress.

    Raises:
        InputError: for a folder that holds something else, and for models and collections that cannot be used, before
            anything is encoded.
    """
    begin, folder = time.perf_counter(), Path(folder)
    _require_own(folder)
    collections = {each.name: open_collection(each, data) for each in config.collections}
    models, readers = open_models(config, folder / "encoded", steps), open_readers(config)
    write_whole(folder / CONFIG_FILE, config.to_json().encode())
    work = _Work(config, folder, models, readers, steps)
    costs, values, hashes = {}, Values(), {}
    for collection in collections.values():
        for system in config.systems:
            costs[collection.name, system.name] = work.answer(system, collection)
            path = work.run_path(system.name, collection)
            values[collection.name, system.name] = evaluate_per_query(
                collection.qrels, read_run(path), config.measures
            )
            hashes[str(path.relative_to(folder))] = file_sha256(path)
    means = {
        names: {name: _mean([each[name] for each in queries.values()]) for name in next(iter(queries.values()))}
        for names, queries in values.items()
    }
    tests = _tests(config, values)
    write_whole(folder / PER_QUERY_FILE, "".join(_per_query(values)).encode())
    figures_table(means, tests, config.baseline_name, config.alpha).write(folder, SHOWN[0])
    costs_table(costs).write(folder, SHOWN[1])
    comparisons_table(tests, config.baseline_name).write(folder, "comparisons")
    record = make_record(config, collections, models, readers, hashes, time.perf_counter() - begin)
    write_whole(folder / RECORD_FILE, (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())
    return Outcome(made=work.made, found=work.found, means=means, costs=costs)


def shown_tables(folder: str | Path) -> str:
    """The tables of a finished experiment, in Markdown.

    Raises:
        InputError: if the folder holds none.
    """
    folder = Path(folder)
    require_finished(folder)
    return "\n".join((folder / FOLDER / f"{name}.md").read_text(encoding="utf-8") for name in SHOWN)


class _Work:
    """Answers what is not answered yet."""

    def __init__(
        self,
        config: ExperimentConfig,
        folder: Path,
        models: Mapping[str, Encodings],
        readers: Mapping[str, CrossEncoderModel],
        steps: Steps,
    ) -> None:
        self._config, self._folder, self._steps = config, folder, steps
        self._models, self._readers = models, readers
        self._keys: dict[tuple[str, str], str] = {}
        self.made = self.found = 0

    def run_path(self, system: str, collection: Collection) -> Path:
        """Where a system's run stands."""
        return self._folder / "runs" / collection.name / f"{system}.trec"

    def answer(self, system: SystemSettings, collection: Collection) -> Costs:
        """See to it that the run is there; its costs."""
        key = self._key(system, collection)
        self._keys[collection.name, system.name] = key
        path = self.run_path(system.name, collection)
        done = path.with_suffix(".json")
        if done.is_file() and path.is_file():
            known = read_json(done)
            if known.get("key") == key and known.get("sha256") == file_sha256(path):
                self.found += 1
                return Costs(**known["costs"])
        self._steps(f"{system.name} answers {collection.name}")
        run, costs = self._answer(system, collection)
        # What says that the run is complete comes after it.
        write_run(path, run, system.name)
        values = {"key": key, "sha256": file_sha256(path), "costs": asdict(costs)}
        write_whole(done, (json.dumps(values, indent=2) + "\n").encode())
        self.made += 1
        return costs

    def _answer(self, system: SystemSettings, collection: Collection) -> Answer:
        depth = self._config.depth
        if system.kind == "bm25":
            return systems.bm25(collection, depth)
        runs = [read_run(self.run_path(name, collection)) for name in system.of]
        if system.kind == "fused":
            return systems.fused(system, runs, depth)
        if system.kind == "rerank":
            return rerank(runs[0], self._scorer(system, collection), collection, system.depth or depth)
        encodings = self._models[system.model_name]
        if system.kind == "dense":
            return systems.dense(encodings, collection, depth)
        return systems.sparse(system, encodings, collection, self._config, self._folder / "indexes")

    def _scorer(self, system: SystemSettings, collection: Collection) -> Scorer:
        if system.by == "cross":
            # Its scores are of the first stage's documents, so what is kept of them hangs on all that decides the run.
            folder = self._folder / "encoded" / f"cross-{self._keys[collection.name, system.name][:32]}"
            advance = self._steps(f"{system.model_name} reads the pairs of {system.name} on {collection.name}")
            return by_cross_encoder(self._readers[system.name], system.batch, collection, folder, advance)
        encodings = self._models[system.model_name]
        return (by_vectors if system.by == "dense" else by_impacts)(system, encodings, collection)

    def _key(self, system: SystemSettings, collection: Collection) -> str:
        """Hash of all that decides a run."""
        parts: list[Any] = [FORMAT_VERSION, system.name, system.kind, collection.corpus, collection.asked]
        parts.append(self._config.depth)
        if system.kind == "bm25":
            parts.append(collection.language)
        else:
            parts += [self._keys[collection.name, name] for name in system.of]
        if system.kind == "fused":
            parts += [system.method, system.weights]
        if system.kind == "rerank":
            parts += [system.by, system.depth]
        if system.way == "cross":
            config = self._config
            parts += [self._readers[system.name].fingerprint, system.batch, system.max_length]
            parts += [config.device, config.dtype]
        if system.way in ("dense", "splare", "splade"):
            encodings = self._models[system.model_name]
            parts.append(encodings.key)
            if encodings.table(system.query_encoder) is not None:
                parts.append(encodings.query_key(system.query_encoder))
            if system.way != "dense":
                budgets = (query_budget(system, encodings.config), document_budget(system, encodings.config))
                parts += [self._config.engine, *budgets, encodings.most]
                parts += [system.bits] if system.bits != SystemSettings.bits else []
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _require_own(folder: Path) -> None:
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / CONFIG_FILE).is_file()):
        raise InputError(f"{folder} is not empty and holds no experiment; choose another folder")


def _tests(config: ExperimentConfig, values: Values) -> list[tuple[str, Comparison]]:
    """All systems against the baseline on all collections, corrected as one family."""
    found = []
    for collection in config.collections:
        others = {
            system.name: values[collection.name, system.name]
            for system in config.systems
            if system.name != config.baseline_name
        }
        if others:
            base = values[collection.name, config.baseline_name]
            found += [(collection.name, each) for each in paired(base, others, seed=config.seed)]
    mended = corrected([each for _, each in found])
    return [(name, each) for (name, _), each in zip(found, mended, strict=True)]


def _per_query(values: Values) -> Iterator[str]:
    measures = list(next(iter(next(iter(values.values())).values())))
    yield "\t".join(["collection", "system", "query", *measures]) + "\n"
    for (collection, system), queries in values.items():
        for qid, figures in queries.items():
            yield "\t".join([collection, system, qid, *(repr(figures[name]) for name in measures)]) + "\n"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
