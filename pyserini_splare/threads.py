"""Java from one Python thread only.

pyjnius keeps the receiver of a call in an object that all threads share, so two threads that call Java at the
same moment can swap each other's receivers: documents get the fields of others, without any error
(https://github.com/kivy/pyjnius/issues/563). Everything here that holds Java objects therefore claims its
thread, and refuses both calls from another thread and a second thread with claims of its own.
"""

from __future__ import annotations

import threading
import weakref

from splare_plugins.errors import SplareError


class ThreadError(SplareError):
    """A call into Java from another thread than the one that may make it."""


# Reentrant: an owner may be collected, and its claim released, while this thread is making another claim.
_lock = threading.RLock()
_claims: dict[int, int] = {}


class ThreadClaim:
    """Ties an object that calls Java to the thread that made it, until the object is gone.

    Messages call the object ``what``.

    Raises:
        ThreadError: if another living thread has a claim that it has not released.
    """

    def __init__(self, owner: object, what: str) -> None:
        self.what = what
        self._thread = threading.get_ident()
        with _lock:
            alive = {thread.ident for thread in threading.enumerate()}
            for thread in [thread for thread in _claims if thread not in alive]:
                del _claims[thread]
            if any(thread != self._thread for thread in _claims):
                raise ThreadError(
                    f"{what} cannot be opened in this thread while another thread has a Lucene index open, because "
                    "Java may be called from one thread only: open both in one thread, or close the other first"
                )
            _claims[self._thread] = _claims.get(self._thread, 0) + 1
        self._finalizer = weakref.finalize(owner, _release, self._thread)

    def check(self) -> None:
        """Raise a ``ThreadError`` if this is not the thread that made the claim."""
        if threading.get_ident() != self._thread:
            raise ThreadError(
                f"{self.what} was opened in another thread, and Java may be called from one thread only: "
                "hand the work to that thread, for example through a queue"
            )

    def release(self) -> None:
        """End the claim; a second time does nothing."""
        self._finalizer()


def _release(thread: int) -> None:
    with _lock:
        left = _claims.get(thread, 0) - 1
        if left > 0:
            _claims[thread] = left
        else:
            _claims.pop(thread, None)
