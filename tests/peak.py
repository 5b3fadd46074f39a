"""Peak memory of a process, for programs that tests start.

``getrusage`` would begin at the size of the process that started it: a growth that stays below that of pytest, with
torch in it, would be none.
"""

from __future__ import annotations

from pathlib import Path


def peak_bytes() -> int:
    """The largest resident size that this process had (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
