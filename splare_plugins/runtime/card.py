"""What a graph's folder says of itself, and the names of its files."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from splare_plugins.errors import InputError
from splare_plugins.machine.files import file_sha256, read_json, write_json

CARD_FILE = "graph.json"
TOKENIZER_FILE = "tokenizer.json"
FORMAT_VERSION = 1

Format = Literal["openvino", "onnx"]
FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True, kw_only=True)
class GraphCard:
    """A graph: what runs it, and what cannot be read from it.

    Attributes:
        format: what runs it.
        graph: the file to open.
        pad_id: token that fills up short texts of a batch.
        cut: the end at which long texts lose tokens, ``"right"`` or ``"left"``.
        positions: most tokens of a text that it takes; ``None`` for any number.
        quantization: ``"int8"``, or ``None`` for float32.
        made_with: versions of what made it.
        files: sha256 of each file, tokenizer included.
    """

    format: Format
    graph: str
    pad_id: int
    cut: str = "right"
    positions: int | None = None
    quantization: str | None = None
    made_with: dict[str, str]
    files: dict[str, str]

    def save(self, folder: Path) -> None:
        """Write ``graph.json``."""
        write_json(folder / CARD_FILE, {"version": FORMAT_VERSION, **dataclasses.asdict(self)})

    @classmethod
    def load(cls, folder: Path) -> GraphCard:
        """Read ``graph.json``.

        Raises:
            InputError: if it is missing, or of another version of this format.
        """
        values: dict[str, Any] = read_json(folder / CARD_FILE)
        if (version := values.pop("version", None)) != FORMAT_VERSION:
            raise InputError(
                f"{folder / CARD_FILE} has version {version!r}, and 1 is read here; export the model again"
            )
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(f"{folder / CARD_FILE} is not complete ({error}); export the model again") from error

    def require_files(self, folder: Path) -> None:
        """Refuse files that are missing or not those that were written.

        Raises:
            InputError: naming the first.
        """
        for name, sha256 in self.files.items():
            path = folder / name
            if not path.is_file() or file_sha256(path) != sha256:
                raise InputError(f"{path} is missing or damaged; remove {folder} and load or export the model again")
