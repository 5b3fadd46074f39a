"""Runs the noisy part of a build in a process of its own.

PISA and Seismic write their progress to the process's standard output, past Python, and cannot be interrupted. A
child process keeps that out of pipes and notebooks, ends with Ctrl-C, and turns a crash into an error.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from splare_plugins.errors import SplareError


def run_script(script: str, *arguments: str, purpose: str) -> None:
    """Run a script of this folder with this Python.

    Args:
        script: name of the file; it may import installed packages only.
        *arguments: its command line.
        purpose: what it does, for the error message.

    Raises:
        SplareError: if it fails, with the last line that it printed.
    """
    # -P: this folder has files named like the packages that the script imports.
    command = [sys.executable, "-P", str(Path(__file__).with_name(script)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        said = lines[-1] if lines else f"status {done.returncode}"
        raise SplareError(f"{purpose} failed ({said}); see that there is enough room on the disk and in memory")
