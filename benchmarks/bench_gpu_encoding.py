"""Tokens a second of the encoder on one GPU: random weights in the shapes of the paper's models and of the small one.

Each figure stands beside the floor that the card allows: the FLOPs of the layers, of attention and of the SAE, at the
rate of a large matrix product measured in the same run. All models run with sdpa, the 2B one without the cap on its
attention scores. Each runs with texts padded and packed; where their vectors differ the script fails. Nothing is
downloaded and no tokenizer runs. Run ``PYTHONPATH=. python benchmarks/bench_gpu_encoding.py``; ``--small`` tries the
script on a processor.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from harness import Figure, add_options, disagree, paired, require_close, require_found, skip, write_record
from rich.console import Console
from rich.table import Table
from transformers import AutoModel, BertConfig, Gemma2Config, Gemma2PreTrainedModel, LlamaConfig, PreTrainedConfig

from splare_plugins.backbone import Backbone, Tokens
from splare_plugins.backbone.fit import pack_where_it_fits
from splare_plugins.config import SplareConfig
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.model.batching import length_batches, top_k_rows
from splare_plugins.model.forward import token_states
from splare_plugins.model.splare import SplareModel

LENGTHS = ((512, 512), (128, 128), (64, 512))
# Largest difference of a weight of a text, to its largest weight.
SAME = {torch.float32: 1e-4, torch.bfloat16: 0.1}
VOCABULARY = 32_000  # the table of embeddings costs no FLOPs, so a small one will do
TOP_K = 400


class Shape(NamedTuple):
    """What a model is made of: its backbone, cut, and the number of latents."""

    config: PreTrainedConfig
    width: int


def shapes(tiny: bool) -> dict[str, Shape]:
    def size(usual: int, small: int) -> int:
        return small if tiny else usual

    common = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    llama = LlamaConfig(
        num_hidden_layers=size(27, 2), hidden_size=size(4096, 64), intermediate_size=size(14_336, 128),
        num_attention_heads=size(32, 4), num_key_value_heads=size(8, 2), max_position_embeddings=8192, **common,
    )  # fmt: skip
    gemma = Gemma2Config(
        num_hidden_layers=size(7, 2), hidden_size=size(2304, 64), intermediate_size=size(9216, 128),
        num_attention_heads=size(8, 2), num_key_value_heads=size(4, 1), head_dim=size(256, 32),
        query_pre_attn_scalar=size(256, 32), attn_logit_softcapping=None, **common,
    )  # fmt: skip
    bert = BertConfig(
        num_hidden_layers=size(12, 2), hidden_size=size(384, 64), intermediate_size=size(1536, 128),
        num_attention_heads=size(12, 2), **common,
    )  # fmt: skip
    return {
        "SPLARE-7B": Shape(llama, size(131_072, 2048)),
        "SPLARE-2B": Shape(gemma, size(65_536, 1024)),
        "small": Shape(bert, size(16_384, 512)),
    }


def build(shape: Shape, device: torch.device, dtype: torch.dtype) -> SplareModel:
    """A random model, made where it will run."""
    # Newer versions of transformers refuse it for the cap on its scores, which these random weights do without.
    Gemma2PreTrainedModel._supports_sdpa = True
    extra = {"add_pooling_layer": False} if isinstance(shape.config, BertConfig) else {}
    size = shape.config.hidden_size
    with torch.device(device), torch.no_grad():
        network = AutoModel.from_config(shape.config, dtype=dtype, attn_implementation="sdpa", **extra)
        W = torch.empty(shape.width, size, dtype=dtype).normal_(std=size**-0.5)
        head = SparseAutoencoder(W, torch.zeros(shape.width))
    if hasattr(network, "norm"):
        network.norm = torch.nn.Identity()
    network.config.__dict__.pop("is_causal", None)  # as in splare_plugins.backbone.load
    network.config.is_causal = False
    tokenizer: Any = SimpleNamespace(is_fast=True, pad_token_id=0)
    config = SplareConfig(name="random", revision="0", backbone="backbone", width=shape.width)
    model = SplareModel(config, Backbone(network.eval(), tokenizer), head)
    with torch.inference_mode():
        reason = pack_where_it_fits(model.backbone, longest=512, anywhere=True)
    if reason is not None:
        disagree(f"{type(network).__name__} cannot take packed texts: {reason}")
    return model


@torch.inference_mode()
def require_same_vectors(model: SplareModel) -> None:
    """Of texts of mixed lengths, padded and packed."""
    batch = make_tokens([64, 512, 65, 200, 127, 3, 300])
    found = {}
    for packed in (False, True):
        model.backbone.packed = packed
        found[packed] = model._weights(batch, "document").float().cpu().numpy()
    sizes = found[False].max(axis=1, keepdims=True)
    require_found("active latents", sizes.min())
    tolerance = SAME[model.dtype]
    require_close("vectors, padded and packed,", found[True] / sizes, found[False] / sizes, absolute=tolerance)


def make_tokens(lengths: list[int]) -> list[Tokens]:
    """Texts of random tokens, the first and last of each special."""
    generator = np.random.default_rng(0)
    made = []
    for length in lengths:
        keep = np.ones(length, dtype=bool)
        keep[[0, -1]] = False
        ids = generator.integers(3, VOCABULARY, length)
        made.append(Tokens(ids, keep, np.zeros((length, 2), dtype=np.int64), False))
    return made


def flops(model: SplareModel, lengths: list[int]) -> float:
    """Of all texts: the linear layers, both products of attention, and the SAE."""
    settings = model.backbone.model.config
    linear = sum(p.weight.numel() for p in model.backbone.model.modules() if isinstance(p, torch.nn.Linear))
    heads = settings.num_attention_heads
    inner = heads * (getattr(settings, "head_dim", None) or settings.hidden_size // heads)
    attention = 4 * inner * settings.num_hidden_layers * sum(length**2 for length in lengths)
    return 2 * (linear + model.head.W.numel()) * sum(lengths) + attention


def median_seconds(work: Callable[[], Any], device: torch.device, runs: int) -> float:
    taken = []
    for _ in range(runs):
        synchronise(device)
        begin = time.perf_counter()
        work()
        synchronise(device)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matmul_rate(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """FLOPs a second of a square matrix product."""
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    result = one @ other
    repeats = 20
    seconds = median_seconds(lambda: [torch.mm(one, other, out=result) for _ in range(repeats)], device, 3)
    return 2 * size**3 * repeats / seconds


@torch.inference_mode()
def stages(model: SplareModel, batch: list[Tokens], device: torch.device, runs: int) -> list[float]:
    """Seconds of one batch in the backbone, in pool and activation, and from there to CSR."""
    states = token_states(model.config, model.backbone, batch)
    weights = model.head(*states)
    assert model._weights(batch, "document").shape == weights.shape
    return [
        median_seconds(work, device, runs)
        for work in (
            lambda: token_states(model.config, model.backbone, batch),
            lambda: model.head(*states),
            lambda: top_k_rows(weights, TOP_K),
        )
    ]


def measure(model: SplareModel, lengths: list[int], device: torch.device, budget: int, runs: int) -> dict[str, Any]:
    tokens = make_tokens(lengths)
    model.backbone.tokenize = lambda *_: tokens  # type: ignore[method-assign]
    texts = [""] * len(tokens)

    def encode() -> None:
        model.encode_documents(texts, top_k=TOP_K, tokens_per_batch=budget)

    first = [tokens[number] for number in next(length_batches(lengths, budget, packed=model.packed))]
    stages(model, first, device, 1)  # the kernels are chosen and loaded
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    taken = [median_seconds(encode, device, 1) for _ in range(runs)]
    seconds = statistics.median(taken)
    peak = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
    parts = stages(model, first, device, runs)
    return {
        "rate": sum(lengths) / seconds,
        "rates": [sum(lengths) / each for each in taken],
        "peak": peak,
        "parts": [part / sum(parts) for part in parts],
    }


def figures_of(label: str, rates: dict[tuple[tuple[int, int], bool], list[float]]) -> list[Figure]:
    """The two ratios that matter of one model: mixed lengths to uniform ones, and packed to padded."""
    uniform, mixed = LENGTHS[:2], LENGTHS[2]
    alike = [statistics.mean(pair) for pair in zip(*(rates[lengths, True] for lengths in uniform), strict=True)]
    common = {"unit": ["x"], "command": "bench_gpu_encoding.py"}
    return [
        Figure(
            what=f"encoder in the shape of {label}, texts of 64 to 512 tokens, packed, tokens/s",
            against="texts of 512 and of 128 tokens",
            ratio=[paired(rates[mixed, True], alike)],
            aim=0.92,
            **common,
        ),
        Figure(
            what=f"encoder in the shape of {label}, texts of 64 to 512 tokens, packed, tokens/s",
            against="the same padded",
            ratio=[paired(rates[mixed, True], rates[mixed, False])],
            **common,
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes and batches, to try the script")
    parser.add_argument("--models", nargs="+", default=["SPLARE-7B", "SPLARE-2B", "small"])
    parser.add_argument("--tokens", type=int, default=32_768, help="padded tokens a batch")
    parser.add_argument("--batches", type=int, default=2, help="batches of one repetition")
    parser.add_argument("--runs", type=int, default=3, help="repetitions; the median counts")
    add_options(parser, {"device": "cpu", "tiny": True, "runs": 1, "batches": 1})
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        skip("there is no cuda device; --small tries the script without one")
    device = torch.device(options.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    budget = 1024 if options.tiny else options.tokens
    torch.manual_seed(0)
    rate = matmul_rate(device, dtype, 512 if options.tiny else 8192)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    table = Table(title=f"{name}, torch {torch.__version__}, {dtype}, sdpa, matmul {rate / 1e12:.0f} TFLOP/s")
    for column in ("model", "tokens a text", "texts", "tokens a batch", "tokens/s", "texts/s", "of the floor"):
        table.add_column(column, justify="right")
    for column in ("backbone", "pool", "top-k, CSR", "peak GiB", "of it weights"):
        table.add_column(column, justify="right")
    rows: list[dict[str, Any]] = []
    ratios: list[Figure] = []
    for label in options.models:
        begin = time.perf_counter()
        model = build(shapes(options.tiny)[label], device, dtype)
        synchronise(device)
        weights = sum(part.nbytes for part in (*model.backbone.parameters(), *model.head.parameters())) / 2**30
        built = time.perf_counter() - begin
        require_same_vectors(model)
        rates = {}
        for (low, high), packed in ((lengths, packed) for lengths in LENGTHS for packed in (False, True)):
            model.backbone.packed = packed
            mean = (low + high) // 2
            lengths = np.linspace(low, high, options.batches * budget // mean).astype(int).tolist()
            figures = measure(model, lengths, device, budget, options.runs)
            rates[(low, high), packed] = figures["rates"]
            floor = rate / (flops(model, lengths) / sum(lengths))
            table.add_row(
                label,
                str(low) if low == high else f"{low} to {high}",
                "packed" if packed else "padded",
                f"{budget:,}",
                f"{figures['rate']:,.0f}",
                f"{figures['rate'] * len(lengths) / sum(lengths):,.0f}",
                f"{figures['rate'] / floor:.0%} of {floor:,.0f}",
                *(f"{part:.1%}" for part in figures["parts"]),
                f"{figures['peak'] or 0:.1f}",
                f"{weights:.1f}",
            )
            rows.append(
                {"model": label, "tokens": [low, high], "packed": packed, "of the floor": figures["rate"] / floor}
            )
            rows[-1] |= {name: figures[name] for name in ("rate", "peak", "parts")}
        ratios += figures_of(label, rates)
        print(f"{label}: built in {built:.1f} s, measured in {time.perf_counter() - begin - built:.1f} s", flush=True)
        del model
        if device.type == "cuda":
            torch.cuda.empty_cache()
    Console(width=160).print(table)
    for figure in ratios:
        print(f"{figure.what} / {figure.against}: {figure.ratio[0]:.2f}")
    write_record(options, ratios, rows=rows)


if __name__ == "__main__":
    main()
