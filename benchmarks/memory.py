"""Memory of processes.

What ``getrusage`` says of a process begins at the size of the one that started it (Linux keeps the mark over
``exec``), so a process reads its own from the kernel's status, and others are started by a small one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_START = """
import json, resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
# Linux counts in KiB, macOS in bytes.
peak = used.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
print(json.dumps([status, used.ru_utime + used.ru_stime, peak]))
"""


class Cost(NamedTuple):
    """What a process took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds."""
    memory: float
    """Largest resident size, MiB."""


def memory_mb(field: str = "VmHWM") -> float:
    """``VmRSS`` of this process or its peak ``VmHWM``, MiB; writing 5 to clear_refs sets the peak back (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(field))


def run_measured(command: Sequence[str]) -> Cost:
    """Run a program to its end, which must be a good one."""
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", _START, *command], capture_output=True, text=True, check=True)
    wall = time.perf_counter() - begin
    status, cpu, memory = json.loads(done.stdout)
    if status:
        raise SystemExit(f"ended with status {status}: {' '.join(command)}")
    return Cost(wall, cpu, memory)
