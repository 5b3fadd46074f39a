"""An index that a server keeps open, in a thread of its own: some engines know the thread that opened them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from splare_plugins.config import SplareConfig
from splare_plugins.engines.base import Searcher
from splare_plugins.errors import IdentityError, SplareError
from splare_plugins.machine.places import is_address, without_password
from splare_plugins.retrieval.explain import stored_text

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")
_MOST_WAITING = 64


class WatchedIndex:
    """Opens an index, and opens it anew when somebody replaced it.

    Args:
        location: folder of the index, or its address.
        open_searcher: opens it.
        texts: by id, where the index keeps none, or other ones.

    Attributes:
        location: as it was given.
        texts: likewise.
        config: the model of the open index; ``None`` where it names none.
        version: of the open index; another one has another. Empty where nobody tells.
    """

    def __init__(
        self, location: str, open_searcher: Callable[[], Searcher], *, texts: Mapping[str, str] | None = None
    ) -> None:
        self.location = location
        self.texts = texts
        self.config: SplareConfig | None = None
        self.version = ""
        self._open_searcher = open_searcher
        self._searcher: Searcher | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._room = threading.BoundedSemaphore(_MOST_WAITING)

    def start(self) -> None:
        """Open the index; raises what opening it raises."""
        try:
            self._thread.submit(self._current).result()
        except BaseException:
            self._thread.shutdown()
            raise

    def close(self) -> None:
        """Close it, in its thread."""
        if self._searcher is not None:
            self._thread.submit(self._searcher.close).result()
        self._thread.shutdown()

    def submit(self, work: Callable[[Searcher], Answer]) -> Future[Answer]:
        """Do something with the index that stands there now, in its thread.

        Raises:
            SearchBusyError: if too much waits there already.
        """
        if not self._room.acquire(blocking=False):
            raise SearchBusyError(f"{_MOST_WAITING} searches are waiting; try again in a moment")
        future = self._thread.submit(lambda: work(self._current()))
        future.add_done_callback(lambda _: self._room.release())
        return future

    def text(self, searcher: Searcher, docid: str) -> str | None:
        """The text of a document, where it is known."""
        return self.texts.get(docid) if self.texts is not None else stored_text(searcher, docid)

    def renewed(self) -> None:
        """Called in the thread when an index was opened: what was made of the one before is no longer true."""

    def _current(self) -> Searcher:
        """The open index; opened anew if another one stands in its place.

        Raises:
            IdentityError: if that one was made by another model.
        """
        version = _version(self.location, self._searcher)
        if self._searcher is not None and version in ("", self.version):
            return self._searcher
        opened = self._open_searcher()
        try:
            if self._searcher is not None:
                self._require_same_model(opened.config)
        except IdentityError:
            opened.close()
            raise
        if self._searcher is not None:
            self._searcher.close()
            logger.info("the index at %s was replaced; the new one is open", without_password(self.location))
        self._searcher, self.version = opened, version or _version(self.location, opened)
        self.config = opened.config
        self.renewed()
        return opened

    def _require_same_model(self, config: SplareConfig | None) -> None:
        what = f"the index that now stands at {without_password(self.location)}"
        try:
            if config is not None and self.config is not None:
                self.config.require_same_index(config, what)
            elif config is not self.config:
                now = "does not name its model" if config is None else f"names its model, {config.describe()}"
                raise IdentityError(f"{what} {now}, unlike the one before")
        except IdentityError as error:
            raise IdentityError(f"{error}; start the server again for the new one") from None


class SearchBusyError(SplareError):
    """Too many searches wait."""


def _version(location: str, searcher: Searcher | None) -> str:
    """Changes when an index is replaced; empty for one that cannot be found at this moment."""
    if is_address(location):
        return (searcher.standing() or "") if searcher is not None else ""
    try:
        folder = Path(location)
        newest = max((file.stat() for file in folder.iterdir()), key=lambda stat: stat.st_mtime_ns)
        return f"{folder.stat().st_ino:x}-{newest.st_ino:x}-{newest.st_mtime_ns:x}"
    except (OSError, ValueError):
        return ""
