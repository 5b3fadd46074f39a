"""What is asked of a machine before torch is imported says what torch says."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from splare_plugins.errors import MissingPartError
from splare_plugins.machine import packages


def test_torch_finds_no_gpu_where_none_may_be() -> None:
    code = "from splare_plugins.machine.packages import torch_may_have_gpu; print(torch_may_have_gpu())"
    may = subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "True"
    assert may or not (torch.cuda.is_available() or torch.backends.mps.is_available())


@pytest.mark.parametrize(
    ("platform", "driver", "kernel", "may"),
    [
        ("linux", True, False, True),
        ("linux", False, True, True),
        ("linux", False, False, False),
        ("darwin", False, False, True),
    ],
)
def test_a_driver_of_any_maker_is_reason_to_ask_torch(
    platform: str, driver: bool, kernel: bool, may: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str) -> None:
        if not driver:
            raise OSError(name)

    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(Path, "exists", lambda path: kernel and str(path) == "/dev/kfd")
    assert packages.torch_may_have_gpu() is may


def test_where_torch_is_loaded_it_is_asked_itself() -> None:
    assert packages.torch_may_have_gpu()


def test_where_torch_is_not_installed_nothing_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    assert not packages.torch_may_have_gpu()
    with pytest.raises(MissingPartError, match=r"^model needs torch, .*pip install 'splare-plugins\[encode\]'"):
        packages.require_torch("model")
