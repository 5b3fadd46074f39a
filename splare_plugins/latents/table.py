"""The table of a model's labels: names, and what they were made from.

It is the head's ``labels.parquet`` with more columns, so that whatever reads labels reads these; the schema's metadata
names the model that they were made for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError, splare_command
from splare_plugins.heads.labels import IDENTITY, LABELS, METADATA, about_labels, latents_identity, require_own_labels
from splare_plugins.machine.files import replacing

# Contexts stand in several rows; a dictionary keeps each once.
_DICTIONARY_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A context in which a latent fired.

    Attributes:
        text: the context.
        start: first character of the word at the peak.
        end: the character after it.
        weight: the activation there.
        language: of the corpus; empty where it is not known.
        source: the corpus, and the id of the document in it.
    """

    text: str
    start: int
    end: int
    weight: float
    language: str
    source: str

    @property
    def word(self) -> str:
        """The word at the peak."""
        return self.text[self.start : self.end]


@dataclass(frozen=True, kw_only=True)
class LatentLabel:
    """What is known of a latent.

    Attributes:
        latent: its id.
        text: the label; one that predicts too little is marked as an example, ``e.g. ...``.
        source: who wrote it.
        score: share of held-out choices against other latents that the label decides rightly; ``None`` where it fired
            on no held-out context.
        documents: share of the sampled contexts, as documents, in which it fired.
        queries: share of the sampled queries; ``None`` without any.
        languages: contexts by language in which it fired.
        contexts: its strongest ones, of different documents and words.
        neighbours: latents that fire where it does, the most alike first, with the cosine of the two.
    """

    latent: int
    text: str
    source: str
    score: float | None = None
    documents: float = 0.0
    queries: float | None = None
    languages: Mapping[str, int] = field(default_factory=dict)
    contexts: list[Shown] = field(default_factory=list)
    neighbours: list[tuple[int, float]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        values = asdict(self)
        for each, shown in zip(values["contexts"], self.contexts, strict=True):
            each["word"] = shown.word
        return values


def write_table(path: Path, rows: Iterable[LatentLabel], config: SplareConfig, about: Mapping[str, Any]) -> None:
    """Write the labels of ``config``'s model, whole or not at all.

    Args:
        path: of the table.
        rows: one a latent.
        config: of the model.
        about: what was measured and how, as JSON types; shown in the model card.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = [
        {**asdict(row), "languages": list(row.languages.items()), "neighbours": row.neighbours}
        for row in sorted(rows, key=lambda row: row.latent)
    ]
    metadata = {METADATA: json.dumps({IDENTITY: latents_identity(config), **about}, ensure_ascii=False)}
    table = pa.Table.from_pylist(_flat(plain), schema=_schema(metadata))
    with replacing(path) as beside:
        pq.write_table(
            table, beside, compression="zstd", compression_level=19, dictionary_pagesize_limit=_DICTIONARY_BYTES
        )


def _schema(metadata: dict[bytes, str]) -> Any:
    import pyarrow as pa

    shown = {"text": pa.string(), "start": pa.int16(), "end": pa.int16(), "weight": pa.float32()}
    shown |= {"language": pa.string(), "source": pa.string()}
    columns = {"latent": pa.int32(), "text": pa.string(), "source": pa.string(), "score": pa.float32()}
    columns |= {"documents": pa.float32(), "queries": pa.float32()}
    columns |= {"languages": pa.list_(pa.string()), "counts": pa.list_(pa.int32())}
    columns |= {"contexts": pa.list_(pa.struct(list(shown.items())))}
    columns |= {"neighbours": pa.list_(pa.int32()), "cosines": pa.list_(pa.float32())}
    return pa.schema(list(columns.items()), metadata={key: value.encode() for key, value in metadata.items()})


def _flat(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for row in rows:
        row["languages"], row["counts"] = [list(part) for part in zip(*row["languages"], strict=True)] or ([], [])
        row["neighbours"], row["cosines"] = [list(part) for part in zip(*row["neighbours"], strict=True)] or ([], [])
    return rows


def read_latent(folder: Path, config: SplareConfig, latent: int) -> LatentLabel | None:
    """What the labels of a model say of a latent; ``None`` where they say nothing, or the model has none.

    Labels that came with the SAE, or from other models, have a text alone.

    Args:
        folder: of the model.
        config: the model's.
        latent: the latent's id.

    Raises:
        InputError: for a latent that the model does not have, or a table that is damaged.
        IdentityError: for labels of another model.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    require_latent(config, latent)
    path = folder / config.head / LABELS
    if not path.is_file():
        return None
    require_own_labels(about_labels(path).get(IDENTITY), config, path)
    try:
        found = pq.read_table(path, filters=[("latent", "=", latent)]).to_pylist()
        return _row(found[0]) if found else None
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        model = splare_command("labels", "build", folder, "CORPUS", "-o", folder, "--overwrite")
        raise InputError(f"{path} is not a table of labels ({error}); write it again: {model}") from error


def require_latent(config: SplareConfig, latent: int) -> None:
    """Raise an ``InputError`` for a latent that the model does not have."""
    if not 0 <= latent < config.width:
        raise InputError(
            f"{config.name} has no latent {latent}: its {config.width:,} are numbered from 0 to {config.width - 1}"
        )


def _row(values: dict[str, Any]) -> LatentLabel:
    languages = dict(zip(values.pop("languages", []), values.pop("counts", []), strict=True))
    neighbours = list(zip(values.pop("neighbours", []), values.pop("cosines", []), strict=True))
    contexts = [Shown(**each) for each in values.pop("contexts", [])]
    return LatentLabel(**values, languages=languages, neighbours=neighbours, contexts=contexts)
