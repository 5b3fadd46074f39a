"""How far a collection has been indexed, in a small file, so that a killed client goes on there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Self

from splare_plugins.corpus import Document
from splare_plugins.engines.checks import remember
from splare_plugins.errors import InputError
from splare_plugins.machine.files import replacing
from splare_plugins.machine.ids import DistinctIds

FORMAT_VERSION = 1
_TOGETHER = 1024


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The documents that an index is known to hold.

    Attributes:
        index: its name.
        uuid: the server's own name of it, which changes when it is deleted and made again.
        documents: the first so many documents of the collection are settled.
        refused: of these, documents that the server refused.
        last: id of the last of them.
    """

    index: str
    uuid: str
    documents: int = 0
    refused: int = 0
    last: str | None = None

    def save(self, path: Path) -> None:
        """Replace the file in one step."""
        with replacing(path) as beside:
            beside.write_text(json.dumps({"format": FORMAT_VERSION, **asdict(self)}) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Read what :meth:`save` wrote; ``None`` if there is no file.

        Raises:
            InputError: if it is damaged.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values.pop("format") != FORMAT_VERSION:
                raise ValueError("another format")
            values.pop("refresh_interval", None)  # of earlier versions
            return cls(**values)
        except FileNotFoundError:
            return None
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            raise InputError(f"the checkpoint {path} is damaged ({error}); remove it and run again") from error

    def skip(self, documents: Iterable[Document], known: DistinctIds, path: Path) -> Iterator[Document]:
        """The documents of the whole collection that come after the checkpoint; ``known`` gets the ids of the others.

        Raises:
            InputError: if the collection is not the one that the checkpoint belongs to, or an id comes twice.
        """
        stream = iter(documents)
        last: str | None = None
        left = self.documents
        while skipped := [document.docid for document in islice(stream, min(left, _TOGETHER))]:
            remember(skipped, known)
            last, left = skipped[-1], left - len(skipped)
        if left or last != self.last:
            raise InputError(
                f"document {self.documents} of this collection is not {self.last!r}, as the checkpoint {path} has it; "
                "give the same collection in the same order, or remove the checkpoint"
            )
        yield from stream
