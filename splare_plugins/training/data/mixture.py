"""Training examples on disk: read, checked and cut to size once, before the first step."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from sentence_transformers.sparse_encoder.data_collator import SparseEncoderDataCollator
from torch import Tensor

from splare_plugins.errors import InputError
from splare_plugins.machine.files import replacing
from splare_plugins.training.config import DataSettings, TrainingConfig
from splare_plugins.training.data.examples import Example, check_example
from splare_plugins.training.data.reader import ExampleReader
from splare_plugins.training.data.rows import source_stamp
from splare_plugins.training.data.teachers import Teachers

EXAMPLES = "examples.arrow"
STAMP = "examples.json"
_SCHEMA = pa.schema(
    [
        ("query", pa.string()),
        ("documents", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float64())),
        ("source", pa.int32()),
    ]
)
_ROWS = 1000

logger = logging.getLogger(__name__)


def prepare(config: TrainingConfig, folder: Path) -> Dataset:
    """All examples of a run, memory-mapped.

    They are written into ``folder`` once; a run that goes on finds them there, unless sources or settings changed.

    Returns:
        columns ``query``, ``documents`` (the positive first), ``scores`` (0 where none are needed) and ``source``, its
        number among the config's.

    Raises:
        InputError: for the first row that cannot be used, naming its file and line; or if there is none that can.
    """
    sources = []
    for each in config.data:
        files = [name for name in (each.source, each.queries, each.corpus) if name is not None]
        sources.append({**dataclasses.asdict(each), "stamp": [source_stamp(name) for name in files]})
        del sources[-1]["teachers"]  # change no example
    stamp = {
        "data": sources,
        "negatives": config.negatives,
        "pick": config.pick,
        "seed": config.seed,
        "scores": config.needs_scores,
    }
    path = folder / EXAMPLES
    if not (path.is_file() and _same_stamp(folder / STAMP, stamp)):
        counts = _write(config, path)
        with replacing(folder / STAMP) as beside:
            beside.write_text(json.dumps({**stamp, "counts": counts}, indent=2) + "\n", encoding="utf-8")
    return Dataset.from_file(str(path))


def _same_stamp(path: Path, stamp: dict[str, Any]) -> bool:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    found.pop("counts", None)
    return bool(found == json.loads(json.dumps(stamp)))


def _write(config: TrainingConfig, path: Path) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    rows = _rows(config, counts)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside, pa.OSFile(str(beside), "wb") as sink, pa.ipc.new_stream(sink, _SCHEMA) as writer:
        while batch := list(islice(rows, _ROWS)):
            writer.write_batch(pa.RecordBatch.from_pylist(batch, _SCHEMA))
    return counts


def _rows(config: TrainingConfig, counts: dict[str, dict[str, int]]) -> Iterator[dict[str, Any]]:
    generator = np.random.default_rng(config.seed)
    for number, settings in enumerate(config.data):
        seen: Counter[str] = Counter()
        for example in _examples(settings, config, seen):
            yield {**_row(example, config, generator), "source": number}
        if not seen["used"]:
            raise InputError(f"{settings.source} holds no example that can be trained on ({_counted(seen)})")
        logger.info("%s: %s", settings.source, _counted(seen))
        counts[settings.source] = dict(seen)


def _counted(seen: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in seen.items()) or "no rows"


def _examples(settings: DataSettings, config: TrainingConfig, seen: Counter[str]) -> Iterator[Example]:
    scores = config.needs_scores
    options = {name: getattr(settings, name) for name in ("subset", "split", "columns", "queries", "corpus")}
    reader = ExampleReader(settings.source, **options)
    for located in reader.rows():
        if seen["used"] == settings.limit:
            return
        try:
            example = reader.read(located)
            if example.copies:
                seen["copies"] = reader.copies
            unscored = scores and any(score is None for _, score in example.candidates)
            if unscored and settings.unscored == "skip":
                seen["unscored"] += 1
                continue
            check_example(example, located.where, scores=scores, least=2 if scores else 1)
        except InputError:
            if settings.invalid == "error":
                raise
            seen["invalid"] += 1
            continue
        seen["used"] += 1
        yield example


def _row(example: Example, config: TrainingConfig, generator: np.random.Generator) -> dict[str, Any]:
    """One positive and the negatives of an example; random ones differ from run to run only with the seed."""
    positive, negatives = example.positives[0], example.negatives[: config.negatives]
    if config.pick == "random":
        positive = example.positives[generator.integers(len(example.positives))]
        chosen = generator.permutation(len(example.negatives))[: config.negatives]
        negatives = [example.negatives[number] for number in sorted(chosen)]
    candidates = [positive, *negatives]
    return {
        "query": example.query,
        "documents": [text for text, _ in candidates],
        "scores": [0.0 if score is None else score for _, score in candidates],
    }


@dataclass
class Collator(SparseEncoderDataCollator):
    """Examples to two flat batches of texts and a table of scores.

    ``preprocess_fn`` is the encoder's. Documents stand one query's after the other's; ``label`` has shape
    ``[queries, most candidates]`` and ``-inf`` where a query has fewer.

    Attributes:
        lengths: most tokens by side.
        side_prompts: prompts by side.
        teachers: of each source of the data; where there are some, ``label`` has shape ``[queries, documents]``.
    """

    lengths: dict[str, int] = dataclasses.field(default_factory=dict)
    side_prompts: dict[str, str] = dataclasses.field(default_factory=dict)
    teachers: Sequence[Teachers] = ()

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Tensor]:
        """The batch of some examples, of one source where there are teachers."""
        texts = {
            "query": [row["query"] for row in features],
            "document": [text for row in features for text in row["documents"]],
        }
        batch = {
            f"{side}_{name}": value
            for side, inputs in texts.items()
            for name, value in self.preprocess_fn(
                inputs, prompt=self.side_prompts[side], task=side, max_length=self.lengths[side]
            ).items()
        }
        if self.teachers:
            (source,) = {row["source"] for row in features}
            return {**batch, "label": torch.from_numpy(self.teachers[source](texts["query"], texts["document"]))}
        most = max(len(row["scores"]) for row in features)
        padded = [row["scores"] + [-math.inf] * (most - len(row["scores"])) for row in features]
        return {**batch, "label": torch.tensor(padded)}
