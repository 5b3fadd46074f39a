"""Which ids came before: eight bytes each in memory, the ids themselves in a temporary file."""

from __future__ import annotations

import marshal
import tempfile
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import TypeVar

import numpy as np

from splare_plugins.errors import InputError

T = TypeVar("T")

_BLOCK = 256  # ids of a block of the file
_BLOCK_BITS = 24  # of a word
_MOST = _BLOCK << _BLOCK_BITS
_BLOCK_MASK = np.uint64((1 << _BLOCK_BITS) - 1)
_IN_MEMORY = 1 << 16  # bytes of ids that are not worth a file
# What is merged at once; bounds the memory that merging takes for a moment.
_STRETCH = 1 << 13
_FEWEST_RECENT = 1 << 13
_SHARE_RECENT = 16
_AHEAD = 256


class DistinctIds:
    """Ids that came before; exact, at about nine bytes of memory for each of many (a Python set takes a hundred).

    Each id is one word: 40 bits of its hash, and the number of the block of the file in which it stands. Words lie in
    one long sorted array and some short ones, which grow as a log-structured table does. An id whose 40 bits are
    there already is looked up in that block, so ids that only share a hash are told apart.

    The file has no name and is gone with the object.

    Args:
        hashed: gives the hash of an id, an integer of 64 bits of which the upper ones matter.

    Raises:
        InputError: when ids are added, if the folder for temporary files is full, or for more than 4,294,967,296 ids.
    """

    def __init__(self, hashed: Callable[[str], int] = hash) -> None:
        self._hashed = hashed
        self._settled = np.empty(0, dtype=np.uint64)
        self._recent: list[np.ndarray] = []
        self._last_block: list[str] = []
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._ends = array("q", [0])
        self._read: tuple[int, frozenset[str]] = (-1, frozenset())

    def __len__(self) -> int:
        return (len(self._ends) - 1) * _BLOCK + len(self._last_block)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that grow with the number of ids."""
        return sum(run.nbytes for run in (self._settled, *self._recent)) + self._ends.itemsize * len(self._ends)

    def repeated(self, ids: Sequence[str]) -> list[int]:
        """Positions of those among ``ids`` that were added before, or stand before in ``ids``; remembers nothing."""
        # Block by block, since neighbours often come again together.
        suspects = sorted(self._suspects(ids), key=itemgetter(1))
        found = {place for place, block in suspects if ids[place] in self._block(block)}
        if len(set(ids)) < len(ids):
            before: set[str] = set()
            for place, each in enumerate(ids):
                if each in before:
                    found.add(place)
                before.add(each)
        return sorted(found)

    def add(self, ids: Sequence[str]) -> None:
        """Remember ``ids``, none of which :meth:`repeated` has named."""
        if len(self) + len(ids) > _MOST:
            raise InputError(f"more than {_MOST:,} ids cannot be told apart in one run; split the corpus")
        blocks = np.arange(len(self), len(self) + len(ids), dtype=np.uint64) // np.uint64(_BLOCK)
        waiting = [*self._last_block, *ids]
        whole = len(waiting) // _BLOCK * _BLOCK
        for start in range(0, whole, _BLOCK):
            self._write(waiting[start : start + _BLOCK])
        self._last_block = waiting[whole:]
        run = np.sort(self._keys(ids) | blocks)
        # Each is at least twice as long as the next, so that there are only a few to search.
        while self._recent and len(self._recent[-1]) < 2 * len(run):
            run = _merged(self._recent.pop(), run)
        self._recent.append(run)
        if sum(map(len, self._recent)) > max(_FEWEST_RECENT, len(self._settled) // _SHARE_RECENT):
            self._settle()

    def close(self) -> None:
        """Forget all ids."""
        self._settled, self._recent, self._last_block = np.empty(0, dtype=np.uint64), [], []
        self._ends = array("q", [0])
        self._file.close()

    def __enter__(self) -> DistinctIds:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _keys(self, ids: Sequence[str]) -> np.ndarray:
        """Hashes of ids where a word has them."""
        hashes = np.fromiter(map(self._hashed, ids), dtype=np.int64, count=len(ids))
        return hashes.view(np.uint64) & ~_BLOCK_MASK

    def _suspects(self, ids: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Positions of ids whose hash was there before, each with a block that may hold the id."""
        keys = self._keys(ids)
        order = np.argsort(keys)
        keys = keys[order]
        for run in filter(len, (self._settled, *self._recent)):
            firsts = np.searchsorted(run, keys)
            words = run[np.minimum(firsts, len(run) - 1)]
            for at in np.flatnonzero(words & ~_BLOCK_MASK == keys).tolist():
                last = np.searchsorted(run, keys[at] | _BLOCK_MASK, side="right")
                for block in (run[firsts[at] : last] & _BLOCK_MASK).tolist():
                    yield int(order[at]), block

    def _settle(self) -> None:
        """Move the short arrays into the long one, from its end to its beginning, so that little is copied at once."""
        run = self._recent.pop()
        while self._recent:
            run = _merged(self._recent.pop(), run)
        end, left = len(self._settled), len(run)
        self._settled.resize(end + left, refcheck=False)
        while left:
            start = max(0, end - _STRETCH)
            first = int(np.searchsorted(run[:left], self._settled[start])) if start else 0
            self._settled[start + first : end + left] = _merged(self._settled[start:end], run[first:left])
            end, left = start, first

    def _write(self, ids: list[str]) -> None:
        data = marshal.dumps(list(map(str, ids)))  # it takes no subclass, such as NumPy's
        try:
            self._file.seek(self._ends[-1])
            self._file.write(data)
        except OSError as error:
            raise InputError(
                f"ids cannot be kept in the folder for temporary files ({error.strerror or error}); make room there, "
                "or set TMPDIR to another folder, and run again"
            ) from error
        self._ends.append(self._ends[-1] + len(data))

    def _block(self, number: int) -> frozenset[str] | list[str]:
        if number == len(self._ends) - 1:
            return self._last_block
        if number != self._read[0]:
            self._file.seek(self._ends[number])
            ids = marshal.loads(self._file.read(self._ends[number + 1] - self._ends[number]))
            self._read = number, frozenset(ids)
        return self._read[1]


def told_apart(items: Iterable[T], name: Callable[[T], str]) -> Iterator[tuple[T, bool]]:
    """Each item, and whether its id came before.

    Reads ahead, since ids are looked up faster together. What reading raises comes after the items before it.

    Args:
        items: any number of them.
        name: gives the id of an item.
    """
    stream = iter(items)
    with DistinctIds() as known:
        failure: Exception | None = None
        while failure is None:
            window: list[T] = []
            try:
                for item in islice(stream, _AHEAD):
                    window.append(item)  # what comes before an error is kept
            except Exception as error:
                failure = error
            if not window:
                break
            names = list(map(name, window))
            again = set(known.repeated(names))
            known.add([each for place, each in enumerate(names) if place not in again] if again else names)
            for place, item in enumerate(window):
                yield item, place in again
        if failure is not None:
            raise failure


def _merged(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    # A stable sort is one that makes use of runs that are sorted already.
    return np.sort(np.concatenate([one, other]), kind="stable")
