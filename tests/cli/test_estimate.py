"""``splare estimate``."""

from __future__ import annotations

import pytest
import torch

from splare_plugins.retrieval.estimate import Load, estimate_encoding


def test_the_program_counts_the_arithmetic_of_a_model(splare, tiny_folder, tiny):
    facts = splare(
        "estimate", "--documents", "2M", "-M", tiny_folder, "--latents", 8, "--tokens", 9999, "--json"
    ).facts
    linear = sum(each.weight.numel() for each in tiny.backbone.model.modules() if isinstance(each, torch.nn.Linear))
    flops = 2 * (linear + tiny.head.W.numel())
    load = Load(documents=2_000_000, latents=8, tokens=tiny.config.document.max_length)
    assert facts["postings"] == 16_000_000
    assert facts["gpu_hours"] == pytest.approx(estimate_encoding(flops, load)["gpu_hours"])
    shown = splare("estimate", "--documents", "500M", "-M", tiny_folder, "--engine", "pisa")
    assert shown.status == 0, shown.err
    assert "beyond, this continues the line" in shown.out


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--engine", "solr"], "the engine 'solr' was not measured"), (["--documents", "lots"], "is written 8800000")],
)
def test_what_cannot_be_estimated(splare, tiny_folder, options, message):
    outcome = splare("estimate", "--documents", "1M", "-M", tiny_folder, *options)
    assert (outcome.status, message in outcome.err) == (2, True)
