"""The part of ``bench_pooling.py`` that runs on a GPU: whether a fused kernel could be worth its while.

The pool is compared with the bare product ``h @ W.T`` in slices, without maxima: no kernel that multiplies as fast as
the library can be faster than that. A fused one is worth building where the pool takes 1.3 times as long as the
product, or a whole training step as it would with the product in the pool's place and no backward pass of the pool.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from harness import Figure, require_close, require_found, write_record
from transformers import LlamaConfig, LlamaModel

from splare_plugins.pooling import activate, sae_max_pool
from splare_plugins.pooling.padded import padded_max_pool

WORTH = 1.3


def run(options: argparse.Namespace) -> None:
    device = torch.device(options.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    torch.manual_seed(0)
    texts, tokens, size = options.texts, options.tokens, options.size
    backbone = _backbone(options.layers, size, device, dtype)
    figures, rows = [], []
    for width in options.widths:
        require_same(Pool(min(texts, 8), tokens, size, width, device, torch.float32))
        seconds = measure(Pool(texts, tokens, size, width, device, dtype), backbone, options.runs)
        least = max(1e-9, seconds["step"] - seconds["pool, forward and backward"] + seconds["product"])
        most = {
            "the forward pass": seconds["forward"] / seconds["product"],
            "a training step": seconds["step"] / least,
        }
        peak = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
        print(
            f"{width:,} latents, {texts} x {tokens} tokens, d = {size}, {options.layers} layers; {peak or 0:.1f} GiB"
        )
        for name, spent in seconds.items():
            print(f"  {name:<28}{1e3 * spent:10.2f} ms")
        for what, bound in most.items():
            verdict = "could be worth it" if bound >= WORTH else "is not worth it"
            print(f"  a fused kernel makes {what} at most {bound:.2f} x as fast: it {verdict}")
            figures.append(
                Figure(
                    what=f"pool of {width:,} latents, the most that a fused kernel could do for {what}",
                    against="the bare product",
                    ratio=[bound],
                    unit=["x"],
                    command=f"bench_pooling.py --device {options.device}",
                )
            )
        rows.append({"width": width, "seconds": seconds, "peak": peak})
    write_record(options, figures, rows=rows)


def measure(pool: Pool, backbone: LlamaModel, runs: int) -> dict[str, float]:
    """Seconds of each thing; the rows of the SAE are frozen, as they are in training."""
    device, (texts, tokens, _) = pool.weight.device, pool.shape
    given = torch.randn(texts, tokens, pool.weight.shape[1], device=device, dtype=pool.weight.dtype)
    states = given.flatten(0, 1).clone().requires_grad_()

    def both(way: Callable[[torch.Tensor], torch.Tensor]) -> None:
        way(states).square().mean().backward()

    def step() -> None:
        came = given.clone().requires_grad_()
        pool.ours(backbone(inputs_embeds=came).last_hidden_state.flatten(0, 1)).square().mean().backward()

    return {
        "forward": _median(lambda: pool.ours(states.detach()), device, runs),
        "product": _median(lambda: pool.product(states.detach()), device, runs),
        "eager": _median(lambda: pool.eager(states.detach()), device, runs),
        "pool, forward and backward": _median(lambda: both(pool.ours), device, runs),
        "eager, forward and backward": _median(lambda: both(pool.eager), device, runs),
        "step": _median(step, device, runs),
    }


class Pool:
    """Weights and bounds of one width, and the three ways to use them."""

    def __init__(
        self, texts: int, tokens: int, size: int, width: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.shape = texts, tokens, width
        self.weight = torch.randn(width, size, device=device, dtype=dtype).mul_(0.45 / size**0.5)
        self.bias = torch.full((width,), -1.6, device=device)  # about 2,000 of 65,536 latents a text
        self.theta = torch.zeros(width, device=device)
        self.offsets = torch.arange(0, texts * tokens + 1, tokens, device=device)
        self.keep = torch.ones(texts * tokens, dtype=torch.bool, device=device)

    def ours(self, states: torch.Tensor) -> torch.Tensor:
        """The padded pool, which is that of accelerators."""
        if states.device.type == "cpu":  # there, another way is chosen
            pooled = padded_max_pool(states, self.weight, None, None, self.offsets, None)
        else:
            pooled = sae_max_pool(states, self.weight, self.offsets, self.keep)
        return activate(pooled, self.bias, self.theta)

    def eager(self, states: torch.Tensor) -> torch.Tensor:
        """What SPLADE encoders do: all logits, then the maximum."""
        pooled = (states @ self.weight.T).view(self.shape).amax(1)
        return activate(pooled.float(), self.bias, self.theta)

    @torch.no_grad()
    def product(self, states: torch.Tensor) -> None:
        """The arithmetic alone, into memory that is used again."""
        rows = 4096
        out = states.new_empty(len(states), min(rows, len(self.weight)))
        for part in self.weight.split(rows):
            torch.mm(states, part.T, out=out[:, : len(part)] if len(part) < rows else out)


def require_same(pool: Pool) -> None:
    """Stop unless ours and the eager one have the same values and gradients; in float32, where maxima hardly tie."""
    texts, tokens, _ = pool.shape
    states = torch.randn(texts * tokens, pool.weight.shape[1], device=pool.weight.device)
    sides = []
    for way in (pool.ours, pool.eager):
        given = states.clone().requires_grad_()
        pooled = way(given)
        pooled.square().sum().backward()
        sides.append((pooled.detach().cpu(), given.grad))
    (ours, mine), (peer, theirs) = sides
    require_found("active latents", float((peer > 0).sum()))
    require_close("pooled values", ours, peer, absolute=1e-4)
    require_close("gradients", float((mine - theirs).norm() / theirs.norm()), 0.0, absolute=1e-2)


def _backbone(layers: int, size: int, device: torch.device, dtype: torch.dtype) -> LlamaModel:
    """Layers of Llama whose weights are not trained, as under a small adapter: only states have gradients."""
    heads = max(1, size // 128)
    config = LlamaConfig(
        vocab_size=8,
        hidden_size=size,
        intermediate_size=7 * size // 2,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 4),
        pad_token_id=0,
    )
    with torch.device(device):
        model = LlamaModel._from_config(config, dtype=dtype)
    return model.requires_grad_(False).train()


def _median(work: Callable[[], object], device: torch.device, runs: int) -> float:
    taken = []
    for number in range(runs + 1):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        begin = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if number:  # the first one chooses kernels
            taken.append(time.perf_counter() - begin)
    return statistics.median(taken)
