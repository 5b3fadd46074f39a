"""Neuronpedia's exports of explanations, as labels.

Neuronpedia explains the latents of many public SAEs and publishes the texts as ``explanations/batch-*.jsonl.gz``, one
JSON object a line (https://docs.neuronpedia.org/api-and-data/exports); its former API gave the same records as one
JSON list. Read here are ``index``, ``description``, ``explanationModelName``, ``typeName``, ``modelId`` and ``layer``,
which is the SAE's name there, like ``26-llamascope-res-131k``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from splare_plugins.errors import InputError
from splare_plugins.heads.labels import Label
from splare_plugins.machine.files import read_any_json, read_jsonl

_LINES = (".jsonl", ".jsonl.gz")
_SUFFIXES = (*_LINES, ".json")


@dataclass
class LabelCounts:
    """What was in the files of an export.

    Attributes:
        read: explanations read.
        labels: latents that have a label now.
        repeated: explanations of a latent that had one already; the first is kept.
        empty: explanations without a text.
        sources: labels by who wrote them.
    """

    read: int = 0
    labels: int = 0
    repeated: int = 0
    empty: int = 0
    sources: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The counts as JSON types."""
        return asdict(self)


def read_neuronpedia(paths: Sequence[Path], *, width: int, layer: int | None) -> tuple[dict[int, Label], LabelCounts]:
    """Labels from an export of Neuronpedia.

    Where a latent has several explanations the first is kept, in the order of the files; those of a folder are read by
    the number in their name.

    Args:
        paths: ``.jsonl``, ``.jsonl.gz`` or ``.json`` files, or folders of them.
        width: latents of the SAE.
        layer: the number in the name of the SAE's hook, to recognise the labels of another SAE; ``None`` skips that.

    Raises:
        InputError: for a file that is not such an export, an id outside the width, and labels of another SAE.
    """
    labels: dict[int, Label] = {}
    counts = LabelCounts()
    owner: tuple[str, str] | None = None
    for path in export_files(paths):
        for where, record in records_of(path, "explanations"):
            counts.read += 1
            if not isinstance(record, dict) or "index" not in record or "description" not in record:
                raise InputError(
                    f"{where} is not an explanation of Neuronpedia: it lacks index or description; take the "
                    "explanations of an export, not its features or activations"
                )
            latent = latent_of(record, where)
            # JSON can spell half a character, which no file of ours can hold.
            text = str(record["description"] or "").strip().encode("utf-8", "replace").decode()
            mine = str(record.get("modelId", "")), str(record.get("layer", ""))
            if owner is None:
                require_same_sae(mine[1], width, layer, where)
            elif mine != owner:
                raise InputError(
                    f"{where} explains {'/'.join(mine)}, those before it {'/'.join(owner)}; give the files of one SAE"
                )
            owner = mine
            if latent >= width:
                raise InputError(
                    f"{where} explains latent {latent}, but this SAE has only {width}: it is of another SAE"
                )
            if not text:
                counts.empty += 1
            elif latent in labels:
                counts.repeated += 1
            else:
                # The model that wrote the text; a person's texts have none.
                source = str(record.get("explanationModelName") or record.get("typeName") or "neuronpedia")
                labels[latent] = Label(text, source)
    if not labels:
        raise InputError(f"{', '.join(map(str, paths))} holds no explanation with a text")
    counts.labels = len(labels)
    counts.sources = dict(Counter(label.source for label in labels.values()).most_common())
    return labels, counts


def export_files(paths: Sequence[Path]) -> Iterator[Path]:
    """The files of an export, those of a folder by the number in their name."""
    for path in paths:
        if path.is_dir():
            files = [file for file in path.iterdir() if file.name.endswith(_SUFFIXES)]
            if not files:
                raise InputError(f"{path} holds no .jsonl, .jsonl.gz or .json file; name a folder of the export")
            yield from sorted(files, key=lambda file: ([int(n) for n in re.findall(r"\d+", file.name)], file.name))
        elif path.name.endswith(_SUFFIXES):
            yield path
        else:
            raise InputError(f"{path} is not an export of Neuronpedia; its name must end in {', '.join(_SUFFIXES)}")


def records_of(path: Path, what: str) -> Iterator[tuple[str, Any]]:
    """What should be an explanation or an activation, with where it stands."""
    if path.name.endswith(_LINES):
        yield from read_jsonl(path)
        return
    found = read_any_json(path)
    if isinstance(found, dict):
        found = found.get(what)
    if not isinstance(found, list):
        raise InputError(f'{path} must hold a list of {what}, or an object with one under "{what}"')
    for number, record in enumerate(found):
        yield f"{what.removesuffix('s')} {number} of {path}", record


def latent_of(record: Any, where: str) -> int:
    """The latent that a record is about."""
    index = str(record.get("index"))
    if not (index.isascii() and index.isdigit()):
        raise InputError(f"{where} has the index {index!r}, which is not a latent's number")
    return int(index)


def require_same_sae(name: str, width: int, layer: int | None, where: str) -> None:
    """Refuse labels whose own name, like ``26-llamascope-res-131k``, speaks of another layer, place or width."""
    about = re.match(r"(\d+)-", name)
    if about and layer is not None and int(about[1]) != layer:
        raise InputError(f"{where} explains {name}, an SAE of layer {about[1]}, but this one belongs to layer {layer}")
    size = re.search(r"-(\d+)(k|m)(?![a-z0-9])", name)
    said = int(size[1]) * (1_000 if size[2] == "k" else 1_000_000) if size else width
    if not 0.95 <= width / said <= 1.06:
        raise InputError(f"{where} explains {name}, an SAE of another width than this one's {width}")
    if place := re.search(r"-(att|mlp|transcoder|tc)(?![a-z])", name):
        raise InputError(f"{where} explains {name}, an SAE of another place ({place[1]}) than the residual stream")
