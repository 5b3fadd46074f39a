"""What is left out of a checkpoint is never in memory: later layers, the head, a vision tower."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.backbone.families import DEPTH, LAYER, load
from tests.tiny import byte_tokenizer

MEGABYTE = 1 << 20

# Peak memory of the process before and after it loads, in bytes.
PEAKS = """
import sys
from pathlib import Path
import torch
from tests.backbone.families import load
from tests.peak import peak_bytes
load(Path(sys.argv[1]), layer=0)  # what loading as such brings into memory
before = peak_bytes()
backbone = load(Path(sys.argv[2]), layer=int(sys.argv[3]))
weights = sum(parameter.nbytes for parameter in backbone.parameters())
print(weights, peak_bytes() - before)
"""


def test_only_the_layers_up_to_the_cut_have_parameters(folder):
    counts = [sum(parameter.numel() for parameter in load(folder, layer=layer).parameters()) for layer in range(DEPTH)]
    (step,) = {later - earlier for earlier, later in pairwise(counts)}
    whole = load(folder, final_norm=True)
    assert not hasattr(whole.model, "lm_head")
    assert not hasattr(whole.model, "vision_tower")
    embedded = whole.model.get_input_embeddings().weight.numel()
    assert counts[LAYER] < sum(parameter.numel() for parameter in whole.parameters())
    assert counts[0] - 1.5 * step < embedded + 130 * 32  # nothing but embeddings, positions and one layer


@pytest.fixture(scope="module")
def large_folder(tmp_path_factory):
    """12 layers of 20 MB and a head of 31 MB, in shards of at most 60 MB."""
    folder = tmp_path_factory.mktemp("large")
    with torch.device("meta"):
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=10_000,
                hidden_size=768,
                intermediate_size=2048,
                num_hidden_layers=12,
                num_attention_heads=2,
                tie_word_embeddings=False,
            )
        )
    model = model.to_empty(device="cpu")
    for parameter in model.parameters():
        parameter.data.normal_(std=0.1)
    model.save_pretrained(folder / "backbone", max_shard_size="60MB")
    byte_tokenizer().save_pretrained(folder / "backbone")
    return folder


@pytest.mark.slow
def test_later_layers_and_the_head_are_never_in_memory(large_folder, family_folder):
    files = list((large_folder / "backbone").glob("*.safetensors"))
    assert len(files) > 4
    on_disk = sum(file.stat().st_size for file in files)
    result = subprocess.run(
        [sys.executable, "-c", PEAKS, str(family_folder("llama")), str(large_folder), "1"],
        capture_output=True,
        text=True,
        check=True,
    )
    weights, grown = map(int, result.stdout.split())
    assert weights < on_disk / 4
    # The mapped file and the copy of it: twice the cut weights, never the rest of them.
    assert grown < 2 * weights + 40 * MEGABYTE < on_disk * 0.7
