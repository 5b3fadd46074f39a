"""Pooling 9 texts x 128 tokens x 65,536 latents on a CPU: the chunked pool against dense autograd.

Each side runs in a process of its own, in turn; time is the best of several runs, memory what the process's peak
grew by. Run ``python benchmarks/bench_pooling.py``.

With ``--device cuda``: the pool of a GPU at 65,536, 131,072 and 262,144 latents, its forward pass and a whole training
step, and the most that a fused kernel could save of either. ``--device cpu --small`` tries that anywhere.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from harness import Figure, add_options, require_close, require_found, skip, write_record
from memory import memory_mb

TEXTS, TOKENS, SIZE = 9, 128, 512


NAMES = {"forward": "forward", "backward": "backward", "mb": "extra memory"}


def measure(side: str, runs: int, width: int) -> dict[str, float]:
    import torch

    from splare_plugins.pooling import activate, sae_max_pool

    torch.manual_seed(0)
    states = torch.randn(TEXTS * TOKENS, SIZE, requires_grad=True)
    weight = torch.randn(width, SIZE).mul_(0.02)
    bias, theta = torch.full((width,), -1.6), torch.zeros(width)  # about 2,000 latents a text, as in training
    offsets = torch.arange(0, TEXTS * TOKENS + 1, TOKENS)
    keep = torch.ones(TEXTS * TOKENS, dtype=torch.bool)

    def chunked() -> torch.Tensor:
        return activate(sae_max_pool(states, weight, offsets, keep), bias, theta)

    def dense() -> torch.Tensor:
        # What SPLADE encoders do: all logits, log1p(relu), mask, maximum.
        logits = (states @ weight.T + bias).view(TEXTS, TOKENS, width)
        mask = keep.view(TEXTS, TOKENS, 1)
        return torch.max(torch.log1p(torch.relu(logits)) * mask, dim=1).values

    pool = {"chunked": chunked, "dense": dense}[side]
    pool().sum().backward()  # what libraries allocate once is not the pool's
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before = memory_mb("VmRSS")
    # Sums with random signs: values in other places give other sums, where norms could be the same.
    signs = torch.randn(TEXTS * TOKENS, SIZE), torch.randn(TEXTS, width)
    forward, backward, sums = [], [], {}
    for _ in range(runs):
        states.grad = None
        begin = time.perf_counter()
        pooled = pool()
        middle = time.perf_counter()
        pooled.square().sum().backward()
        forward.append(middle - begin)
        backward.append(time.perf_counter() - middle)
        sums = {
            "active": float((pooled > 0).sum() / TEXTS),
            "pooled": float((pooled.detach() * signs[1]).sum()),
            "gradient": float((states.grad * signs[0]).sum()),
            "norm": float(states.grad.norm()),
        }
        del pooled
    extra = memory_mb("VmHWM") - before
    return {"forward": min(forward), "backward": min(backward), "mb": extra, **sums}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs in a process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side, in turn")
    parser.add_argument("--side", choices=["chunked", "dense"], help=argparse.SUPPRESS)
    parser.add_argument("--width", type=int, default=65_536, help="latents")
    parser.add_argument("--device", help="the pool of a device of torch, such as cuda, in this process")
    on_device = parser.add_argument_group("with --device")
    on_device.add_argument("--widths", type=int, nargs="+", default=[65_536, 131_072, 262_144])
    on_device.add_argument("--texts", type=int, default=64)
    on_device.add_argument("--tokens", type=int, default=128)
    on_device.add_argument("--size", type=int, default=4096)
    on_device.add_argument("--layers", type=int, default=27, help="of Llama-3.1-8B, below the pool in a step")
    small = {"widths": [2048, 4096], "texts": 4, "tokens": 32, "size": 128, "layers": 2}
    add_options(parser, {"runs": 1, "rounds": 1, "width": 16_384, **small})
    options = parser.parse_args()
    if options.device:
        import torch
        from pooling_on_device import run

        if options.device == "cuda" and not torch.cuda.is_available():
            skip("there is no cuda device; --device cpu --small tries the same without one")
        run(options)
        return
    if options.side:
        print(json.dumps(measure(options.side, options.runs, options.width)))
        return
    command = [sys.executable, __file__, "--runs", str(options.runs), "--width", str(options.width), "--side"]
    taken: dict[str, list[dict[str, float]]] = {"chunked": [], "dense": []}
    for _ in range(options.rounds):
        for side, figures in taken.items():
            figures.append(json.loads(subprocess.check_output([*command, side], text=True)))
    for mine, peer in zip(taken["chunked"], taken["dense"], strict=True):
        require_found("active latents", mine["active"])
        require_close("numbers of active latents", mine["active"], peer["active"], relative=1e-3)
        for name in ("pooled", "gradient"):
            require_close(f"sums of {name} values", mine[name], peer[name], absolute=1e-3 * peer["norm"])
        require_close("norms of the gradient", mine["norm"], peer["norm"], relative=1e-4)
    figures = []
    for name, unit in (("forward", "s"), ("backward", "s"), ("mb", "MB extra")):
        mine, theirs = (statistics.median(run[name] for run in taken[side]) for side in ("chunked", "dense"))
        ratio = theirs / max(mine, 1e-9)
        print(f"{name:<9} chunked {mine:8.3f} {unit:<8}  dense {theirs:8.3f} {unit:<8}  ratio {ratio:6.1f}")
        aim, better = (5, "x faster") if name == "forward" else (20, "x less" if name == "mb" else "x faster")
        figures.append(
            Figure(
                what=f"pool {TEXTS} x {TOKENS} tokens x {options.width:,} latents, {NAMES[name]}",
                against="dense autograd",
                ratio=[ratio],
                unit=[better],
                aim=aim,
                command="bench_pooling.py",
            )
        )
    print(f"active latents a text {taken['chunked'][0]['active']:.0f}, the same on both sides, and so are gradients")
    write_record(options, figures)


if __name__ == "__main__":
    main()
