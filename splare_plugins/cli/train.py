"""``splare train``: a model from a config, and what stands before and after it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from splare_plugins.cli.options import DEFAULT_MODEL, Device, Json, Model, Overwrite
from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from splare_plugins.engines.base import Hits
    from splare_plugins.training.mine import Question


class Method(StrEnum):
    """How adapters are averaged."""

    cat = "cat"
    svd = "svd"


class TeacherKind(StrEnum):
    """What a teacher is."""

    auto = "auto"
    cross = "cross"
    bi = "bi"


class _ConfigFirst(TyperGroup):
    """``splare train CONFIG.yaml`` is ``splare train run CONFIG.yaml``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = {"-h", "--help"}
        if args and args[0] not in self.commands and args[0] not in options:
            args = ["run", *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


train = typer.Typer(
    help="Train a model: splare train CONFIG.yaml; other verbs prepare data and finish models.",
    cls=_ConfigFirst,
    no_args_is_help=True,
)


@train.command()
def run(
    config: Annotated[Path, typer.Argument(help="YAML file with the settings; see docs/training.md.")],
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train a model by a config; the same command goes on after an interruption."""
    from splare_plugins.cli.console import progress, report
    from splare_plugins.training.config import TrainingConfig
    from splare_plugins.training.progress import Advance

    settings = TrainingConfig.from_yaml(config)
    with progress("training") as advance:
        from transformers.utils import logging as transformers_logging

        from splare_plugins.training.run import train as train_model

        transformers_logging.disable_progress_bar()
        outcome = train_model(settings, overwrite=overwrite, callbacks=[Advance(advance)])
    shown = ("objective", "kl", "active_query", "active_document", "dead_latents", "drift_cosine", "eval_dev")
    facts = {
        "folder": str(outcome.folder),
        "model": f"{outcome.config.name} {outcome.config.revision}",
        "steps": outcome.steps,
        **{name: round(outcome.figures[name], 4) for name in shown if name in outcome.figures},
        "next": f"splare train finish {outcome.folder} BEIR-FOLDER",
    }
    report(f"trained {outcome.folder}", facts, as_json=as_json)


@train.command()
def average(
    models: Annotated[list[Path], typer.Argument(help="Folders of models trained from the same base.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model folder to make.")],
    method: Annotated[
        Method, typer.Option(help="cat adds the ranks up and is exact; svd cuts to a rank.")
    ] = Method.cat,
    rank: Annotated[
        int | None, typer.Option(min=1, help="Rank for svd; the largest of the models' by default.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """The mean of several runs."""
    from splare_plugins.cli.console import report
    from splare_plugins.training.average import average_models

    config = average_models(models, output, method=method.value, rank=rank, name=name, overwrite=overwrite)
    facts = {"folder": str(output), "model": f"{config.name} {config.revision}", "of": len(models)}
    report(f"averaged {output}", {**facts, "next": f"splare train finish {output} BEIR-FOLDER"}, as_json=as_json)


@train.command()
def merge(
    model: Annotated[str, typer.Argument(help="Folder, hub id or built-in name of a model with an adapter.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model folder to make.")],
    dtype: Annotated[str, typer.Option(help="Of the weights written: float32, bfloat16, float16.")] = "float32",
    name: Annotated[str | None, typer.Option(help="Name of the model; the same if left out.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Put a model's adapter into the weights of its backbone; the vectors stay the same."""
    from splare_plugins.cli.console import console, report
    from splare_plugins.training.average import merge_model

    with console.status(f"merging {model}"):
        config = merge_model(model, output, dtype=dtype, name=name, overwrite=overwrite)
    facts = {"folder": str(output), "model": f"{config.name} {config.revision}"}
    report(f"merged {output}", facts, as_json=as_json)


@train.command()
def mine(
    data: Annotated[str, typer.Argument(help="Queries with positives: BEIR folder, JSONL, Parquet, irds:NAME.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSONL file to make.")],
    corpus: Annotated[
        str | None, typer.Option(help="Documents to mine from; those of a BEIR folder if left out.")
    ] = None,
    engine: Annotated[str, typer.Option(help="Engine of the index, or bm25 for the words (needs Java).")] = "bm25",
    index: Annotated[str | None, typer.Option(help="Index of the corpus, for an engine.")] = None,
    model: Model = DEFAULT_MODEL,
    split: Annotated[str | None, typer.Option(help="Split of a BEIR folder.", show_default="train")] = None,
    negatives: Annotated[int, typer.Option(min=1, help="Most negatives of a query.")] = 8,
    depth: Annotated[int, typer.Option(min=1, help="Hits looked at.")] = 100,
    skip: Annotated[int, typer.Option(min=0, help="Best hits left out.")] = 0,
    random: Annotated[bool, typer.Option("--random", help="Take any of the hits instead of the best.")] = False,
    seed: Annotated[int, typer.Option(help="Of the random choice.")] = 42,
    language: Annotated[str, typer.Option(help="Of the documents, for bm25.")] = "en",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Find hard negatives with any engine, or with BM25."""
    from splare_plugins.cli.console import console, report
    from splare_plugins.corpus import read_documents
    from splare_plugins.corpus.sources import is_irds
    from splare_plugins.training.mine import read_questions, write_negatives

    if corpus is None and not (Path(data).is_dir() or is_irds(data)):
        raise InputError("mining from a file of queries needs --corpus")
    if (engine == "bm25") != (index is None):
        raise InputError(f"--engine {engine} " + ("needs --index" if index is None else "reads no --index"))
    questions = read_questions(data, split=split)
    documents = {document.docid: document.content for document in read_documents(corpus or data)}
    with console.status(f"searching {len(documents)} documents for {len(questions)} queries"):
        if index is None:
            from pyserini_splare.bm25 import BM25Index

            words = BM25Index(documents.items(), language=language)
            hits = {question.qid: words.search(question.text, depth) for question in questions}
        else:
            hits = _search(questions, engine, index, model, device, depth)
        mined = write_negatives(
            questions,
            hits,
            documents,
            output,
            negatives=negatives,
            skip=skip,
            pick="random" if random else "first",
            seed=seed,
        )
    facts = {"file": str(output), **mined._asdict(), "next": f"splare train score {output} TEACHER -o scored.jsonl"}
    report(f"mined {output}", facts, as_json=as_json)


@train.command()
def score(
    data: Annotated[str, typer.Argument(help="Training data: JSONL, Parquet, a folder of them.")],
    teacher: Annotated[str, typer.Argument(help="Cross-encoder or bi-encoder: folder or hub id.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSONL file to make.")],
    kind: Annotated[TeacherKind, typer.Option(help="What the teacher is.")] = TeacherKind.auto,
    scale: Annotated[float, typer.Option(help="Factor on the scores; cosines need 20 to 100.")] = 1.0,
    add: Annotated[bool, typer.Option("--add", help="Add to the scores that the data have: a blend.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts or pairs a forward pass.")] = 32,
    query_prompt: Annotated[str | None, typer.Option(help="Before queries, for a bi-encoder.")] = None,
    document_prompt: Annotated[str | None, typer.Option(help="Before documents, for a bi-encoder.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Score training data with a teacher; the same command goes on after an interruption."""
    from splare_plugins.cli.console import progress, report
    from splare_plugins.training.score import load_teacher, score_file

    loaded = load_teacher(
        teacher,
        kind=kind.value,
        device=None if device == "auto" else device,
        batch_size=batch_size,
        query_prompt=query_prompt,
        document_prompt=document_prompt,
    )
    with progress("scoring") as advance:
        rows = score_file(
            data,
            loaded,
            output,
            identity=repr((teacher, kind.value, query_prompt, document_prompt)),
            scale=scale,
            add=add,
            on_progress=advance,
        )
    report(f"scored {output}", {"file": str(output), "rows": rows, "teacher": teacher}, as_json=as_json)


@train.command()
def embed(
    data: Annotated[list[str], typer.Argument(help="All training data of a run: JSONL, Parquet, folders of them.")],
    teacher: Annotated[
        str, typer.Option("--teacher", "-t", help="Bi-encoder (folder or hub id), bm25, or dense:MODEL.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="safetensors file to make.")],
    batch_size: Annotated[int, typer.Option(min=1, help="Texts a forward pass of a bi-encoder.")] = 64,
    max_length: Annotated[int | None, typer.Option(min=2, help="Tokens a bi-encoder reads of a text.")] = None,
    bfloat16: Annotated[bool, typer.Option("--bfloat16", help="Run a bi-encoder in bfloat16.")] = False,
    language: Annotated[str, typer.Option(help="Of the words, for bm25.")] = "en",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Make a teacher's vectors of all texts, so that it scores every query with every document of a batch."""
    from splare_plugins.cli.console import progress, report
    from splare_plugins.training.embed import embed_file, load_embedder

    loaded = load_embedder(
        teacher,
        device=device,
        batch_size=batch_size,
        max_length=max_length,
        dtype="bfloat16" if bfloat16 else "float32",
        language=language,
    )
    with progress("embedding") as advance:
        counts = embed_file(data, loaded, output, on_progress=advance)
    facts = {"file": str(output), "queries": counts["query"], "documents": counts["document"], "teacher": teacher}
    report(f"embedded {output}", facts, as_json=as_json)


def _search(
    questions: list[Question], engine: str, index: str, model: str, device: str, depth: int
) -> dict[str, Hits]:
    from splare_plugins.corpus import Query
    from splare_plugins.engines import get_engine
    from splare_plugins.indexing import encode_queries, search_queries
    from splare_plugins.model import SplareModel

    with get_engine(engine).searcher(index) as searcher:
        loaded = SplareModel.from_pretrained(model, device=device)
        if searcher.config is not None:
            loaded.config.require_same_index(searcher.config, f"the index at {index}")
        impacts = encode_queries(loaded, [Query(question.qid, question.text) for question in questions])
        return search_queries(searcher, [question.qid for question in questions], impacts, depth)


@train.command()
def finish(
    model: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    corpora: Annotated[list[str], typer.Argument(help="BEIR folders with judgements; the first one sets the scales.")],
    split: Annotated[str, typer.Option(help="Split of the judgements.")] = "test",
    measure: Annotated[str, typer.Option(help="As ir-measures writes it.")] = "nDCG@10",
    queries: Annotated[int | None, typer.Option(min=1, help="Most queries of a set.")] = None,
    documents: Annotated[
        int | None, typer.Option(min=1, help="Most documents of a set; judged ones are kept.")
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="Texts a side for the scales.")] = 1000,
    licence: Annotated[str | None, typer.Option(help="Of the model, for its card.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Calibrate a trained model, measure what fewer latents cost, and write its card."""
    from rich.table import Table

    from splare_plugins.cli.console import print_json, progress, results
    from splare_plugins.training.config import EvaluationSettings
    from splare_plugins.training.finish import finish as finish_model

    options = {"split": split, "queries": queries, "documents": documents, "measure": measure}
    sets = [EvaluationSettings(source=corpus, **options) for corpus in corpora]  # type: ignore[arg-type]
    with progress("encoding") as advance:
        rows = finish_model(model, sets, sample=sample, device=device, licence=licence, on_progress=advance)
    if as_json:
        print_json({"folder": str(model), "rows": [row._asdict() for row in rows]})
        return
    table = Table("data", "split", "query top-k", "document top-k", measure, "query latents", "document latents")
    for row in rows:
        kept = ("all" if limit is None else str(limit) for limit in (row.query_top_k, row.document_top_k))
        counts = f"{row.query_latents:.1f}", f"{row.document_latents:.1f}"
        table.add_row(row.dataset, row.split, *kept, f"{row.value:.4f}", *counts)
    results.print(table)


@train.command()
def mntp(
    config: Annotated[Path, typer.Argument(help="YAML file with the settings; see docs/training.md.")],
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Accustom a language model to looking both ways: masked next token prediction, before training proper."""
    from splare_plugins.cli.console import progress, report
    from splare_plugins.training.mntp import MntpConfig
    from splare_plugins.training.mntp import mntp as predict_masked

    settings = MntpConfig.from_yaml(config)
    with progress("predicting masked tokens", settings.steps) as advance:
        from transformers.utils import logging as transformers_logging

        from splare_plugins.training.progress import Advance

        transformers_logging.disable_progress_bar()
        trained = predict_masked(settings, overwrite=overwrite, callbacks=[Advance(advance)])
    folder = Path(settings.output) / "model"
    facts = {"folder": str(folder), "model": f"{trained.name} {trained.revision}"}
    report(f"trained {folder}", {**facts, "next": f"splare train merge {folder} -o BASE"}, as_json=as_json)
