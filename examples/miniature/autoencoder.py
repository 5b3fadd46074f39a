"""A TopK sparse autoencoder on a layer's states, trained with EleutherAI's sparsify."""

from __future__ import annotations

import dataclasses
import os
import random
from pathlib import Path
from typing import Any

from settings import Settings
from steps import splare

from splare_plugins.config import SplareConfig
from splare_plugins.corpus import read_documents


def make_sae(out: Path, work: Path, settings: Settings, device: str) -> None:
    """Train a TopK autoencoder on the states of a layer with sparsify, and import its file as any published one."""
    if device == "cpu":
        os.environ["SPARSIFY_DISABLE_TRITON"] = "1"  # read when it is imported
    import torch
    from datasets import Dataset
    from sparsify import SaeConfig, TrainConfig, Trainer
    from sparsify.data import chunk_and_tokenize

    from splare_plugins.backbone import load_backbone

    base = dataclasses.replace(SplareConfig.load(work / "splade"), layer=settings.layer, final_norm=False)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    backbone = load_backbone(base, work / "splade", device=torch.device(device), dtype=dtype)
    texts = [document.content for document in read_documents(str(work / "data" / "texts.jsonl.gz"))]
    rows = chunk_and_tokenize(
        Dataset.from_dict({"text": texts}), backbone.tokenizer, max_seq_len=settings.length, num_proc=1
    )
    wanted = settings.steps_sae * settings.batch_sae
    order = [
        number for epoch in range(-(-wanted // len(rows))) for number in shuffled(len(rows), settings.seed + epoch)
    ]
    # Half of the variance would be that of the tokens where attention rests; they are no part of a text's meaning.
    backbone.model.layers[settings.layer].register_forward_hook(
        lambda _module, _inputs, states: shorten(
            states[0] if isinstance(states, tuple) else states, settings.token_norm
        )
    )
    Trainer(
        TrainConfig(
            SaeConfig(num_latents=settings.latents, k=settings.k),
            batch_size=settings.batch_sae,
            hookpoints=[f"layers.{settings.layer}"],
            save_every=settings.steps_sae,
            log_to_wandb=False,
            save_dir=str(work),
            run_name="sparsify",
        ),
        rows.select(order[:wanted]),
        backbone.model,
    ).fit()
    splare("sae", "import", work / "sparsify" / f"layers.{settings.layer}", "-o", out)


def shuffled(count: int, seed: int) -> list[int]:
    return random.Random(seed).sample(range(count), count)


def shorten(states: Any, ratio: float) -> Any:
    """States with the few extremely long ones replaced by their neighbours' mean."""
    norms = states.float().norm(dim=-1)
    long = norms > ratio * norms.median()
    states[long] = states[~long].mean(0)
    return states
