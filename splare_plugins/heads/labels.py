"""Labels of latents: what people, or other models, found that each stands for; optional, beside an SAE head.

``labels.parquet`` has one row a latent: its id, the text, and who wrote it. Labels change no vector, so they take no
part in a hash or a fingerprint. Those that were made for one model (:mod:`splare_plugins.latents`) name it in the
table's metadata, with what was measured of them, and have more columns.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from splare_plugins.config import SideConfig, SplareConfig
from splare_plugins.errors import IdentityError, InputError, splare_command
from splare_plugins.machine.files import replacing

LABELS = "labels.parquet"
METADATA = b"splare_labels"
IDENTITY = "model"


class Label(NamedTuple):
    """What a latent stands for."""

    text: str
    source: str
    """Who says so: the name of the model that wrote it, or a person's."""


def write_labels(path: Path, labels: Mapping[int, Label]) -> None:
    """Write a label table, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = sorted(labels.items())
    columns = {
        "latent": pa.array([latent for latent, _ in rows], pa.int32()),
        "text": pa.array([label.text for _, label in rows], pa.string()),
        "source": pa.array([label.source for _, label in rows], pa.string()),
    }
    with replacing(path) as beside:
        pq.write_table(pa.table(columns), beside)


def read_labels(path: Path, width: int) -> dict[int, Label]:
    """Read what :func:`write_labels` wrote.

    Args:
        path: the table.
        width: latents of the head that it belongs to.

    Raises:
        InputError: if the file is not such a table, or names a latent twice or one that the head does not have.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["latent", "text", "source"])
        latents = table["latent"].cast(pa.int64()).to_pylist()
        rows = [Label(*row) for row in zip(table["text"].to_pylist(), table["source"].to_pylist(), strict=True)]
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is not a table of labels ({reason}); write it again: {_again(path)}") from error
    outside = next((latent for latent in latents if latent is None or not 0 <= latent < width), None)
    if len(set(latents)) < len(latents) or outside is not None or not all(isinstance(row.text, str) for row in rows):
        raise InputError(
            f"{path} does not fit its head of {width} latents: ids must be from 0 to {width - 1}, each once and with "
            f"a text; write it again: {_again(path)}"
        )
    return dict(zip(latents, rows, strict=True))


def _again(path: Path) -> str:
    return splare_command("sae", "label", path.parent, "EXPORTS", "--overwrite")


def summary(labels: Mapping[int, Label], width: int) -> str:
    """How many latents have a label, and who wrote how many."""
    sources = Counter(label.source for label in labels.values()).most_common()
    return f"{len(labels):,} of {width:,} latents (" + ", ".join(f"{name}: {count:,}" for name, count in sources) + ")"


def latents_identity(config: SplareConfig) -> str:
    """The fingerprint of what decides what a latent stands for.

    Prompts, lengths and the precision of the weights take no part: a model that is loaded with others keeps its
    labels.
    """
    return dataclasses.replace(config, query=SideConfig(), document=SideConfig(), quantization=None).fingerprint()


def about_labels(path: Path) -> dict[str, Any]:
    """What a table says of itself beside its rows; empty for one of people's or of other models' labels."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return dict(json.loads((pq.read_schema(path).metadata or {}).get(METADATA, b"{}")))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path} is not a table of labels; write it again: {_again(path)}") from error


def require_own_labels(made_for: str | None, config: SplareConfig, path: Path) -> None:
    """Refuse labels that were made for another model than ``config``'s.

    Raises:
        IdentityError: then.
    """
    if made_for is not None and made_for != (own := latents_identity(config)):
        raise IdentityError(
            f"{path} has the labels of another model ({made_for}) than {config.name} ({own}), whose latents stand for "
            f"something else; remove the file, or make its own: {_build(path)}"
        )


def _build(path: Path) -> str:
    model = path.parent.parent
    return splare_command("labels", "build", model, "CORPUS", "-o", model, "--overwrite")
