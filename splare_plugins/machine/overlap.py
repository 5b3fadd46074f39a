"""Making the next items in a worker thread while the caller uses the last ones."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Generator, Iterable
from typing import NamedTuple, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Long enough for a forward pass on a CPU; a worker that takes longer ends on its own, or with the process.
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.1


class _End(NamedTuple):
    """What comes after the last item."""

    error: BaseException | None


def overlapped(items: Iterable[T], *, ahead: int) -> Generator[T, None, None]:
    """Iterate over ``items`` in a worker thread while the caller works on those that came before.

    What the worker raises is raised here. Closing the generator, which an exception or an interrupt in the caller's
    loop should do (``contextlib.closing``), ends the worker after the item it is at.

    Args:
        items: iterated over in the worker thread only.
        ahead: most finished items that wait for the caller.
    """
    handed: queue.Queue[T | _End] = queue.Queue(maxsize=max(1, ahead))
    stop = threading.Event()

    def put(item: T | _End) -> bool:
        while not stop.is_set():
            try:
                handed.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        failure = None
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as error:  # all of them belong to the reader, SystemExit included
            failure = error
        put(_End(failure))

    worker = threading.Thread(target=work, name="splare-encode", daemon=True)
    worker.start()
    try:
        while not isinstance(item := handed.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        worker.join(_STOP_SECONDS)
        if worker.is_alive():
            logger.warning("the item that was being made when the work stopped is left to end on its own")
