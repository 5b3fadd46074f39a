"""A process takes as many threads as torch would, whether torch is there or not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from splare_plugins.machine.threads import set_thread_count, thread_count

OURS = "from splare_plugins.machine.threads import *; "
COUNT_AND_TORCHS = OURS + "print(thread_count()); import torch; print(torch.get_num_threads())"
SET = OURS + "set_thread_count(1); import torch; print(torch.get_num_threads())"


def told(code: str, variables: dict[str, str]) -> list[int]:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | variables
    printed = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    return [int(line) for line in printed.split()]


@pytest.mark.parametrize("variables", [{}, {"OMP_NUM_THREADS": "99"}])
def test_as_many_as_torch_takes(variables: dict[str, str]) -> None:
    count, torchs = told(COUNT_AND_TORCHS, variables)
    assert count == torchs


def test_the_variable_is_read_as_openmp_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = thread_count()
    for given, count in (("1", 1), ("1,4", 1), ("0", 1), ("many", cores), (str(cores + 1), cores)):
        monkeypatch.setenv("OMP_NUM_THREADS", given)
        assert thread_count() == count, given


def test_what_is_set_torch_has_before_and_after_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(SET, {}) == [1]
    import torch

    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", str(before))
    try:
        set_thread_count(before + 2)
        assert thread_count() == torch.get_num_threads() == before + 2
    finally:
        torch.set_num_threads(before)
