"""Replicas of SAELens' and sparsify's files, read by these libraries themselves."""

from __future__ import annotations

import pytest
import torch

from splare_plugins.errors import InputError
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.heads.importers import import_sae
from splare_plugins.heads.importers.parity import compare, files_of, open_library
from tests.heads.importers.replicas import D
from tests.heads.importers.test_formulas import CASES

# Written by versions before 6.0, which the library has left behind.
LEFT = "saelens, finetuned"


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.split(",")[0] in ("saelens", "sparsify") and case != LEFT]
)
def test_the_library_computes_the_same_from_the_same_files(case, tmp_path):
    replica = CASES[case](tmp_path / "published")
    folder = import_sae(str(replica.folder), output=tmp_path / "head")
    located, library = files_of(folder)
    states = torch.randn(200, D, generator=torch.Generator().manual_seed(0))
    activations = open_library(located, library)
    found = compare(SparseAutoencoder.load(folder), activations, states, tolerance=1e-4)
    assert (found.relative < 1e-6, found.ties) == (True, 0)
    assert found.active == int((replica.forward(states) > 0).sum())


def test_what_the_library_no_longer_reads_is_one_sentence(tmp_path):
    folder = import_sae(str(CASES[LEFT](tmp_path / "published").folder), output=tmp_path / "head")
    with pytest.raises(InputError, match=r"the package sae_lens does not read .* \(.*finetuning_scaling_factor"):
        open_library(*files_of(folder))
