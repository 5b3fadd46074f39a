"""Labels of latents: what people, or other models, found that each stands for; optional, beside an SAE head.

``labels.parquet`` has one row a latent: its id, the text, and who wrote it. Labels change no vector, so they take no
part in a hash or a fingerprint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from splare_plugins.errors import InputError, splare_command
from splare_plugins.machine.files import replacing

LABELS = "labels.parquet"


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
