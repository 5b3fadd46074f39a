"""Peak memory of the loss of one training step: the pooled operation against dense autograd.

Each case runs in a process of its own, on Linux: its high-water mark is set back before the step, and what the process
held then is taken off. Scaled down in texts, not in latents:

    python benchmarks/bench_training.py --width 65536 131072
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
from harness import Figure, add_options, require_close, require_found, write_record
from memory import memory_mb
from torch import Tensor

from splare_plugins.pooling import activate, sae_max_pool
from splare_plugins.training.losses import batch_mean, flops, kl_distillation

STATE = 256
CANDIDATES = 9


def dense_max_pool(states: Tensor, weight: Tensor, offsets: Tensor, keep: Tensor) -> Tensor:
    """The definition of the pool for texts that keep all their tokens: values of all tokens are stored."""
    return torch.stack([values.amax(0) for values in (states @ weight.T).split(offsets.diff().tolist())])


def step(kind: str, width: int, queries: int, tokens: int) -> dict[str, float]:
    """Extra bytes of the forward and backward pass of a batch, from states to their gradient; and what came out."""
    torch.manual_seed(0)
    weight, bias = torch.randn(width, STATE) * STATE**-0.5, torch.full((width,), -3.0)
    texts = queries * (1 + CANDIDATES)
    states = torch.randn(texts * tokens, STATE, requires_grad=True)
    offsets = torch.arange(0, len(states) + 1, tokens)
    keep = torch.ones(len(states), dtype=torch.bool)
    labels = torch.randn(queries, CANDIDATES)
    Path("/proc/self/clear_refs").write_text("5")
    before = memory_mb()
    pool = sae_max_pool if kind == "pooled" else dense_max_pool
    vectors = activate(pool(states, weight, offsets, keep), bias, torch.zeros_like(bias))
    asked, held = vectors[:queries], vectors[queries:]
    scores = (asked @ held.T).reshape(queries, queries, CANDIDATES)
    own = scores[torch.arange(queries), torch.arange(queries)]
    loss = kl_distillation(own, labels, temperature=80.0)
    (loss + 1e-4 * (flops(batch_mean(asked)) + flops(batch_mean(held)))).backward()
    extra = int((memory_mb() - before) * (1 << 20))
    assert states.grad is not None
    # A sum with random signs, since gradients in other places may have the same norm.
    signs = torch.randn(states.shape)
    return {
        "bytes": extra,
        "loss": float(loss),
        "norm": float(states.grad.norm()),
        "gradient": float((states.grad * signs).sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, nargs="+", default=[65536, 131072])
    parser.add_argument("--queries", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--child", nargs=2, metavar=("KIND", "WIDTH"), help=argparse.SUPPRESS)
    add_options(parser, {"width": [16_384], "tokens": 64})
    options = parser.parse_args()
    if options.child:
        kind, width = options.child
        print(json.dumps(step(kind, int(width), options.queries, options.tokens)))
        return
    texts = options.queries * (1 + CANDIDATES)
    print(f"{texts} texts of {options.tokens} tokens, states of {STATE}; extra memory of a step in MB\n")
    print("| latents | pooled | dense autograd | ratio |\n| ---: | ---: | ---: | ---: |")
    ratios = []
    for width in options.width:
        found = {}
        for kind in ("pooled", "dense"):
            same = ["--queries", str(options.queries), "--tokens", str(options.tokens)]
            command = [sys.executable, __file__, *same, "--child", kind, str(width)]
            found[kind] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        mine, peer = found["pooled"], found["dense"]
        require_found("gradients", mine["norm"])
        require_close("losses", mine["loss"], peer["loss"], relative=1e-4)
        require_close("norms of the gradient", mine["norm"], peer["norm"], relative=1e-3)
        require_close("sums of gradients", mine["gradient"], peer["gradient"], absolute=1e-3 * peer["norm"])
        pooled, dense = mine["bytes"] / 1e6, peer["bytes"] / 1e6
        ratios.append(dense / max(pooled, 1e-9))
        print(f"| {width:,} | {pooled:,.0f} | {dense:,.0f} | {dense / max(pooled, 1e-9):.1f} x |")
    figure = Figure(
        what=f"training step, extra memory, {'; '.join(f'{width:,}' for width in options.width)} latents",
        against="dense autograd",
        ratio=ratios,
        unit=["x"] * len(ratios),
        aim=10,
        command="bench_training.py",
    )
    write_record(options, [figure])


if __name__ == "__main__":
    main()
