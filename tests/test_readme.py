"""Every command and every Python block of the README works, on a cut copy of the bundled data."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import small_data  # noqa: F401 (a fixture)
from tests.readme import README

ROOT = Path(__file__).parents[1]


@pytest.mark.java
@pytest.mark.model
@pytest.mark.slow
def test_what_the_readme_shows_works(small_data, tmp_path):  # noqa: F811
    (tmp_path / "examples").symlink_to(small_data.parent)
    done = subprocess.run(
        [sys.executable, "-m", "tests.readme"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    ran = re.search(r"(\d+) commands and blocks", done.stdout)
    assert ran is not None
    assert int(ran.group(1)) >= 15


def test_make_targets_that_the_readme_names_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\S+)", README.read_text(encoding="utf-8"), re.MULTILINE):
        assert f"\n{target}:" in makefile
