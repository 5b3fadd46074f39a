"""What writer, searcher and baseline share: names of fields, Lucene's classes, folders and errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyserini_splare.jvm import java_class, start_jvm
from splare_plugins.errors import InputError

# Anserini's field names; its searchers look for nothing else.
ID = "id"
CONTENTS = "contents"
RAW = "raw"

USER_DATA_KEY = "splare"
"""Under this key of a commit's user data stands the JSON that says what made the index."""

# Largest number up to which float32, Lucene's type of scores, holds every integer.
EXACT_FLOAT = 1 << 24


def lucene(name: str) -> Any:
    """The Lucene class ``name``, given without the leading ``org.apache.lucene.``"""
    return java_class(f"org.apache.lucene.{name}")


def open_directory(folder: Path, *, mapped: bool = True) -> Any:
    """A Lucene directory on ``folder``, by default with files mapped into memory, which searches fastest.

    A writer does without, since the files that it merges would count as its memory.
    """
    path = java_class("java.nio.file.Paths").get(str(folder.absolute()))
    return lucene("store.FSDirectory").open(path) if mapped else lucene("store.NIOFSDirectory")(path)


def check_path(folder: Path) -> None:
    """Refuse a path with characters that Java cannot take: it reads the locale once, at its start.

    Raises:
        InputError: naming the way out.
    """
    encoding = str(java_class("java.lang.System").getProperty("sun.jnu.encoding"))
    try:
        str(folder.absolute()).encode(encoding)
    except UnicodeEncodeError as error:
        raise InputError(
            f"Java cannot take the path {folder} in this locale, which has {encoding}; set LC_ALL=C.UTF-8, or choose "
            "a place whose path is plain ASCII"
        ) from error


def open_searcher(reader: Any, similarity: Any) -> Any:
    """A Lucene ``IndexSearcher``, for queries of any length."""
    kind = lucene("search.IndexSearcher")
    # Lucene's own limit of 1,024 guards text search against wildcards, which do not occur here.
    kind.setMaxClauseCount(1 << 20)
    searcher = kind(reader, signature="(Lorg/apache/lucene/index/IndexReader;)V")
    searcher.setSimilarity(similarity)
    return searcher


def is_index(folder: Path) -> bool:
    """Whether a Lucene index was committed in ``folder``; no Java needed."""
    return folder.is_dir() and any(folder.glob("segments_*"))


def impact_similarity() -> Any:
    """Anserini's similarity for impacts: the score of a term is its frequency times the query's boost."""
    return java_class("io.anserini.search.similarity.ImpactSimilarity")()


@contextmanager
def java_errors(trouble: str, advice: str) -> Iterator[None]:
    """Turn any Java exception into an ``InputError``: what could not be done, Java's reason, and what to do."""
    start_jvm()  # importing pyjnius starts Java, and it must be started our way
    from jnius import JavaException

    try:
        yield
    except JavaException as error:
        raise InputError(f"{trouble} ({_reason(error)}); {advice}") from error


def _reason(error: Any) -> str:
    """Class and message of the innermost cause in one line, without Java's notes on where it arose."""
    causes = [line for line in error.stacktrace or () if line.startswith("Caused by: ")]
    text = causes[-1].removeprefix("Caused by: ") if causes else f"{error.classname}: {error.innermessage}"
    name, _, message = text.partition(": ")
    lines = re.sub(r" \(resource=.*|: files: \[\].*", "", message).splitlines()
    return ": ".join([name.rsplit(".", 1)[-1], *lines[:1]])
