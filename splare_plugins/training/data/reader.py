"""The examples of one source, with what is told about how its rows are read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from splare_plugins.training.data.examples import Example, read_example
from splare_plugins.training.data.files import Located
from splare_plugins.training.data.layouts import describe_layout, is_plain
from splare_plugins.training.data.rows import read_rows

logger = logging.getLogger(__name__)


class ExampleReader:
    """Reads a source as examples; says once of each layout what its columns are taken for.

    Args:
        source: as in :func:`splare_plugins.training.data.rows.read_rows`.
        **options: likewise.

    Attributes:
        copies: negatives left out so far because they are the positive of their row.
    """

    def __init__(self, source: str, **options: Any) -> None:
        self.source = source
        self.copies = 0
        self._rows = read_rows(source, **options)
        self._told: set[str] = set()

    def __iter__(self) -> Iterator[tuple[str, Example]]:
        """Each example and where it stands.

        Raises:
            InputError: for the first row that is none, naming its place.
        """
        for located in self.rows():
            yield located.where, self.read(located)

    def rows(self) -> Iterator[Located]:
        """The rows, for a caller that goes on after one that is no example; when they end, copies are told of."""
        try:
            yield from self._rows
        finally:  # a caller may have enough before the end
            if self.copies:
                logger.warning("%s: left out %d negatives that are their row's positive", self.source, self.copies)

    def read(self, located: Located) -> Example:
        """The example that a row is.

        Raises:
            InputError: if it is none.
        """
        where, row, lookup = located
        example = read_example(row, where, lookup)
        self.copies += example.copies
        if (described := describe_layout(row, where)) not in self._told:
            self._told.add(described)
            level = logging.INFO if is_plain(row, where) else logging.WARNING
            logger.log(level, "%s: rows are read as %s", where, described)
        return example
