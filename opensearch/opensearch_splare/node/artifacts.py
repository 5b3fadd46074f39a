"""What a node is made of, and how the pieces are fetched: by name, resumed where it broke off, checked by hash."""

from __future__ import annotations

import os
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from opensearch_splare.node.releases import Release, get_release
from splare_plugins.errors import InputError
from splare_plugins.machine import Progress
from splare_plugins.machine.files import file_sha256

MAVEN_CENTRAL = "https://repo1.maven.org/maven2"
_BLOCK = 1 << 20
_ATTEMPTS = 3
_TIMEOUT = 60
_RANGE_BEYOND_END = 416


class Artifact(NamedTuple):
    """One file of a Maven repository."""

    folder: str
    """Where it goes in the node's home."""
    path: str
    """Where it is in the repository."""
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """Its file name."""
        return self.path.rpartition("/")[2]


def read_artifacts(release: Release | None = None) -> list[Artifact]:
    """All pieces of a node, of the default release if none is given."""
    lines = (release or get_release()).artifacts.read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return [Artifact(folder, path, int(size), sha256) for folder, path, size, sha256 in rows]


def fetch(artifact: Artifact, folder: Path, on_progress: Progress | None = None) -> Path:
    """The artifact's file in ``folder``, downloaded unless it is there already.

    A download that breaks off goes on where it stopped, in this call or the next. ``SPLARE_MAVEN_URL`` names another
    repository than Maven Central.

    Raises:
        InputError: if it cannot be fetched, or what comes is another file.
    """
    done = folder / artifact.sha256
    if done.exists():
        return done
    part = folder / f"{artifact.sha256}.part"
    url = f"{os.environ.get('SPLARE_MAVEN_URL', MAVEN_CENTRAL).rstrip('/')}/{artifact.path}"
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _download(url, part, artifact.size, on_progress)
            break
        except (OSError, HTTPException) as error:
            missing = isinstance(error, HTTPError) and error.code not in (429, _RANGE_BEYOND_END) and error.code < 500
            if missing or attempt == _ATTEMPTS:
                raise InputError(
                    f"cannot fetch {url}: {error}; run again with a network, or name a mirror of Maven Central in "
                    "SPLARE_MAVEN_URL"
                ) from error
    found = file_sha256(part)
    if found != artifact.sha256:
        part.unlink()
        raise InputError(
            f"{url} has the sha256 {found} instead of {artifact.sha256}; run again, or use another mirror"
        )
    part.replace(done)
    return done


def _download(url: str, part: Path, size: int, on_progress: Progress | None) -> None:
    begun = part.stat().st_size if part.exists() else 0
    if begun == size:
        return
    headers = {"Range": f"bytes={begun}-"} if 0 < begun < size else {}
    with (
        urlopen(Request(url, headers=headers), timeout=_TIMEOUT) as answer,
        # A server that knows no ranges sends the whole file.
        part.open("ab" if answer.status == 206 else "wb") as file,
    ):
        while block := answer.read(_BLOCK):
            file.write(block)
            if on_progress is not None:
                on_progress(len(block))
    if part.stat().st_size < size:
        raise OSError(f"the connection closed after {part.stat().st_size} of {size} bytes")
