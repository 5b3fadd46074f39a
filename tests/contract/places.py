"""Where engines keep an index: a folder, or a cluster."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Protocol

from opensearchpy import OpenSearch


class Place(Protocol):
    """A place for one index, called ``index``."""

    location: str

    def standing(self) -> list[str]:
        """Everything that stands there now."""
        ...

    def deep(self) -> str:
        """A location whose parents do not exist yet, where there are such."""
        ...

    def wrong(self) -> dict[str, str]:
        """Locations without an index that can be opened, and the word that the error must hold."""
        ...

    def damage(self) -> None:
        """Make the index at :attr:`location` unreadable."""
        ...


class Folder:
    """An index in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.location = str(folder / "index")

    def standing(self) -> list[str]:
        return [path.name for path in self._folder.iterdir()]

    def deep(self) -> str:
        return str(self._folder / "some" / "where" / "index")

    def wrong(self) -> dict[str, str]:
        (self._folder / "empty").mkdir()
        (self._folder / "file").write_text("no index")
        (self._folder / "foreign").mkdir()
        (self._folder / "foreign" / "data.bin").write_bytes(b"something else")
        return {str(self._folder / name): name for name in ("nowhere", "empty", "file", "foreign")}

    def damage(self) -> None:
        largest = max(Path(self.location).iterdir(), key=lambda path: path.stat().st_size)
        with largest.open("r+b") as stream:
            stream.truncate(largest.stat().st_size // 2)


class Cluster:
    """An index of an OpenSearch cluster: a name in front of an index with a number."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = OpenSearch([url])
        self._prefix = f"contract-{secrets.token_hex(6)}"
        self.location = f"{url}/{self._prefix}-index"

    def standing(self) -> list[str]:
        found = self._client.indices.get_alias(index=f"{self._prefix}*", params={"expand_wildcards": "all"})
        named = f"{self._prefix}-index"
        # What was replaced stays, without a name of its own, until somebody drops it.
        found = {name: each for name, each in found.items() if each["aliases"] or not re.search(r"-\d{6}$", name)}
        return ["index" if named in each["aliases"] else name for name, each in found.items()]

    def deep(self) -> str:
        return self.location

    def wrong(self) -> dict[str, str]:
        foreign = f"{self._prefix}-foreign"
        self._client.indices.create(index=foreign)
        return {
            f"{self._url}/{self._prefix}-nowhere": "nowhere",
            f"{self._url}/{foreign}": "foreign",
            "http://127.0.0.1:9/nobody": "cannot be reached",
            "folder/index": "folder",
        }

    def damage(self) -> None:
        self._client.indices.close(index=f"{self._prefix}-index")

    def clear(self) -> None:
        """Remove what the test made."""
        self._client.indices.delete(index=f"{self._prefix}*")
        self._client.close()
