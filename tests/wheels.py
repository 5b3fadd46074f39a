"""Packages that have no wheel for some of our Pythons."""

from __future__ import annotations

import importlib.util
import sys

import pytest

# Skipped only where there is no wheel, so that a package that was forgotten is still missed.
needs_seismic = pytest.mark.skipif(
    sys.version_info >= (3, 12) and importlib.util.find_spec("seismic") is None,
    reason="pyseismic-lsr has no wheel for this Python",
)
