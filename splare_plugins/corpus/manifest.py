"""The settings that all parts of an encoded corpus share, and what each finished shard found."""

from __future__ import annotations

import dataclasses
import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from splare_plugins.config import SplareConfig
from splare_plugins.corpus.documents import ReadCounts
from splare_plugins.corpus.encoded import EncodedCounts
from splare_plugins.errors import InputError, splare_command
from splare_plugins.machine.files import create_once, write_whole

if TYPE_CHECKING:
    from splare_plugins.machine.places import Place

MANIFEST_FILE = "encoding.json"
FORMAT_VERSION = 1
MAX_PART_SIZE = 100_000


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How a corpus is encoded into a folder; the same on every machine that takes a shard of it.

    Attributes:
        config: the model.
        top_k: latents kept of a document; ``None`` keeps all.
        part_size: documents of a part; a killed run loses at most the part it was at.
        shards: number of shards; shard ``i`` of ``n`` (from 1) makes the parts ``p`` with ``p % n == i - 1``.
        store_text: whether parts keep titles and texts.
        corpus: short hash that tells corpora apart.
        source: what the user called the corpus, as a shell takes it, for messages.
        reading: options with which it is read, for the command in a message.
    """

    config: SplareConfig
    top_k: int | None
    part_size: int = 2000
    shards: int = 1
    store_text: bool = False
    corpus: str = ""
    source: str = "CORPUS"
    reading: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.part_size <= MAX_PART_SIZE:
            raise InputError(f"a part must have 1 to {MAX_PART_SIZE} documents, not {self.part_size}")
        if self.shards < 1:
            raise InputError(f"the number of shards must be at least 1, not {self.shards}")

    def claim(self, folder: Place) -> None:
        """Write these settings into ``folder``, or check that they are the ones that stand there.

        Raises:
            InputError: if the folder was begun with other settings, or holds something else.
            IdentityError: if it was begun with another model.
        """
        path = folder / MANIFEST_FILE
        if not path.exists():
            if folder.is_dir() and any(not file.name.startswith(".") for file in folder.iterdir()):
                raise InputError(f"{folder} is not empty and does not hold an encoded corpus; choose a new folder")
            values = {"format": FORMAT_VERSION, **dataclasses.asdict(self), "config": self.config.to_dict()}
            # Of two machines that start together, one creates the file; the other compares with it.
            create_once(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
        self._compare(load_encoding(folder), folder)

    def command(self, folder: str | Place, shard: int) -> str:
        """The command that makes a shard, as a shell takes it."""
        options = ["-o", str(folder), "--part-size", str(self.part_size)]
        if self.config.location:
            options += ["--model", self.config.location]
        if self.config.quantization:
            options += ["--quantize", self.config.quantization]
        if self.top_k != self.config.document.top_k:
            options += ["--top-k", "none" if self.top_k is None else str(self.top_k)]
        options += ["--store-text"] if self.store_text else []
        options += [*self.reading, "--shard", f"{shard}/{self.shards}"]
        return f"{splare_command('encode')} {self.source} {shlex.join(options)}"

    def part_path(self, folder: Place, number: int) -> Place:
        """Where part ``number`` stands."""
        return folder / f"part-{number:06d}.parquet"

    def shard_path(self, folder: Place, shard: int) -> Place:
        """Where the record of a finished shard stands."""
        return folder / f"shard-{shard}-of-{self.shards}.json"

    def _compare(self, other: Encoding, folder: Place) -> None:
        self.config.require_same_index(other.config, str(folder))
        names = {
            "top_k": "latents a document",
            "part_size": "documents a part",
            "shards": "shards",
            "store_text": "stored text",
            "corpus": "the corpus",
        }
        for field, name in names.items():
            mine, theirs = getattr(self, field), getattr(other, field)
            if mine != theirs:
                raise InputError(
                    f"{folder} was begun with another setting for {name}: {theirs} there, {mine} now; "
                    "use the old one to resume, or encode into a new folder"
                )


def load_encoding(folder: Place) -> Encoding:
    """The settings of an encoded corpus.

    Raises:
        InputError: if ``folder`` is none, or its settings are damaged or of another version.
    """
    path = folder / MANIFEST_FILE
    try:
        values = _read(path)
        config, reading = SplareConfig.from_dict(values.pop("config")), tuple(values.pop("reading", ()))
        return Encoding(config=config, reading=reading, **values)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{folder} is not an encoded corpus: it has no {MANIFEST_FILE}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({error}); encode into a new folder") from error


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """Written when a shard is complete.

    Attributes:
        documents: documents of the whole corpus (skipped duplicates not counted).
        source_sha256: hash of the whole corpus.
        read: what the reader met in the whole corpus.
        encoded: what encoding did to the documents of this shard.
    """

    documents: int
    source_sha256: str
    read: ReadCounts
    encoded: EncodedCounts

    def save(self, path: Place) -> None:
        """Write the record as JSON."""
        text = json.dumps({"format": FORMAT_VERSION, **dataclasses.asdict(self)}, indent=2) + "\n"
        write_whole(path, text.encode())

    @classmethod
    def load(cls, path: Place) -> ShardRecord:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: if the file is damaged.
        """
        try:
            values = _read(path)
            read, encoded = ReadCounts(**values.pop("read")), EncodedCounts.from_dict(values.pop("encoded"))
            return cls(read=read, encoded=encoded, **values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path} is damaged ({error}); remove it and run splare encode again") from error


def _read(path: Place) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if (version := values.pop("format")) != FORMAT_VERSION:
        raise InputError(f"{path} has format {version!r}; this version reads {FORMAT_VERSION}")
    return values
