"""How many threads of the processor a process takes: as many as torch, and known without it."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

_VARIABLE = "OMP_NUM_THREADS"
_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def thread_count() -> int:
    """What torch has been told or would take: ``OMP_NUM_THREADS``, and one a core that it may use at most."""
    if (torch := sys.modules.get("torch")) is not None:
        count: int = torch.get_num_threads()
        return count
    cores = _cores()
    with suppress(ValueError):
        return min(max(1, int(os.environ.get(_VARIABLE, "").partition(",")[0])), cores)
    return cores


def set_thread_count(count: int) -> None:
    """Have torch take so many threads, and :func:`thread_count` say so; torch need not be imported yet."""
    os.environ[_VARIABLE] = str(count)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(count)


def _cores() -> int:
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    processors = os.sched_getaffinity(0)
    try:
        return len({Path(_SIBLINGS.format(number)).read_text() for number in processors})
    except OSError:
        return len(processors)
