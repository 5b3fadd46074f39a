"""``splare demo``: the main job from text to a searched Lucene index, on the data that comes with the project."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from splare_plugins.cli.options import DEFAULT_MODEL, Json, Loading, Model, expand_options, load_model
from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from splare_plugins.corpus import Query
    from splare_plugins.engines import Hits
    from splare_plugins.model.encoder import Encoder
    from splare_plugins.retrieval.explain import Explanation

DATA = Path(__file__).resolve().parents[2] / "examples" / "data"
# Small parts, so that an interrupt costs seconds.
PART_SIZE = 48
DEPTH = 100


class DemoSet(StrEnum):
    """The collections that come with the project."""

    xquad = "xquad"
    scifact = "scifact"


class Task(NamedTuple):
    """Queries in one language against the set's corpus."""

    name: str
    queries: list[Query]
    qrels: dict[str, dict[str, int]]


class Answer(NamedTuple):
    """What one task gave."""

    task: Task
    run: Mapping[str, Hits]
    figures: dict[str, float]
    """nDCG@10 by system."""
    seconds: float
    """Spent searching, encoding not included."""


@expand_options
def demo(
    loading: Loading,
    dataset: Annotated[
        DemoSet, typer.Option("--set", help="xquad: minutes; scifact: longer, resumable.")
    ] = DemoSet.xquad,
    data: Annotated[Path, typer.Option(help="Folder of the bundled collections.")] = DATA,
    work: Annotated[
        Path | None, typer.Option(help="Folder of the encoded corpus and the index; in the cache by default.")
    ] = None,
    model: Model = DEFAULT_MODEL,
    as_json: Json = False,
) -> None:
    """From text to a searchable Lucene index, measured beside BM25, with one hit explained.

    Interrupting loses nothing: documents that were encoded are not encoded again.
    """
    from splare_plugins.cli.console import print_json
    from splare_plugins.corpus import read_documents
    from splare_plugins.machine.cache import cache_root

    started = time.perf_counter()
    corpus, tasks = _tasks(dataset, data)
    documents = {document.docid: document.content for document in read_documents(corpus)}
    with _step("model") as say:
        loaded = load_model(model, loading)
        say(f"{loaded.config.name} {loaded.config.revision}: {loaded.config.width:,} latents, on {loaded.device_type}")
    work = work or cache_root() / "demo" / f"{dataset}-{loaded.config.index_fingerprint()}"
    indexed = _index(loaded, corpus, len(documents), work)
    answers = _search(loaded, documents, tasks, work / "index")
    hit = _explain(loaded, documents, answers[-1])
    rate = sum(len(answer.task.queries) for answer in answers) / sum(answer.seconds for answer in answers)
    facts = {
        "set": dataset.value,
        "model": loaded.config.describe(),
        **indexed,
        "queries_per_second": round(rate, 1),
        "ndcg@10": {answer.task.name: answer.figures for answer in answers},
        "explained": hit.to_dict() if hit else {},
        "seconds": round(time.perf_counter() - started, 1),
    }
    if as_json:
        print_json(facts)
    else:
        _show(facts, hit)


def _tasks(dataset: DemoSet, data: Path) -> tuple[Path, list[Task]]:
    from splare_plugins.corpus import read_qrels, read_queries

    folder = data / dataset
    if not folder.is_dir():
        raise InputError(f"{folder} is missing; run the demo in a clone of the project, or name its data with --data")
    scifact = dataset is DemoSet.scifact
    corpus = folder if scifact else folder / "en"
    asked = {"en": folder} if scifact else {f"{language} -> en": folder / language for language in ("de", "zh")}
    qrels = read_qrels(corpus)
    judged = {name: [query for query in read_queries(place) if query.qid in qrels] for name, place in asked.items()}
    return corpus, [Task(name, queries, qrels) for name, queries in judged.items()]


def _index(model: Encoder, corpus: Path, total: int, work: Path) -> dict[str, int]:
    from splare_plugins.cli.console import progress
    from splare_plugins.corpus import EncodedFolder
    from splare_plugins.engines import get_engine
    from splare_plugins.retrieval.indexing import encode_shard, index

    with _step("encode") as say:
        with progress(f"encoding {corpus.name}", total) as advance:
            encode_shard(model, corpus, work / "encoded", part_size=PART_SIZE, store_text=True, on_progress=advance)
        ready = EncodedFolder(work / "encoded")
        impacts = ready.encoded
        say(f"{ready.num_docs:,} documents, {impacts.truncated} truncated, {impacts.clipped_weights} weights clipped")
    with _step("index") as say:
        location = work / "index"
        writing = get_engine("lucene").writer(str(location), ready.config, overwrite=True, store_text=True)
        with writing as writer, progress("indexing", ready.num_docs) as advance:
            summary = index(ready.batches(), writer, counts=ready.read, distinct=True, on_progress=advance)
        size = sum(file.stat().st_size for file in location.iterdir())
        say(f"{summary.indexed:,} documents in Lucene, {size / 1e6:.1f} MB with their text: {location}")
    return {"documents": summary.indexed, "index_bytes": size}


def _search(model: Encoder, documents: dict[str, str], tasks: list[Task], location: Path) -> list[Answer]:
    from splare_plugins.cli.console import progress
    from splare_plugins.engines import get_engine, get_text_engine
    from splare_plugins.retrieval.evaluation import evaluate
    from splare_plugins.retrieval.indexing import query_impacts, search_queries

    answers = []
    with get_engine("lucene").searcher(str(location)) as searcher:
        for task in tasks:
            with _step("search") as say:
                texts = {query.qid: query.text for query in task.queries}
                with progress(f"encoding queries, {task.name}", len(texts)) as advance:
                    impacts = query_impacts(model, task.queries, on_progress=advance)
                begin = time.perf_counter()
                run = search_queries(searcher, list(texts), impacts, DEPTH)
                seconds = time.perf_counter() - begin
                words = get_text_engine("lucene").bm25(documents.items(), texts, DEPTH)
                figures = {
                    name: round(evaluate(task.qrels, hits, ["nDCG@10"])["nDCG@10"], 4)
                    for name, hits in (("SPLARE", run), ("BM25", words))
                }
                say(f"{task.name}: {len(texts):,} queries, {len(texts) / seconds:,.0f} a second")
            answers.append(Answer(task, run, figures, seconds))
    return answers


def _explain(model: Encoder, documents: dict[str, str], answer: Answer) -> Explanation | None:
    """The first query whose best hit is right, taken apart."""
    from splare_plugins.retrieval.explain import explain

    for query in answer.task.queries:
        best = answer.run[query.qid].docids[:1]
        if best and answer.task.qrels[query.qid].get(best[0], 0) > 0:
            return explain(model, query.text, documents[best[0]], docid=best[0], top=8)
    return None


def _show(facts: dict[str, Any], hit: Explanation | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from splare_plugins.cli.console import results
    from splare_plugins.cli.explanations import explanation_table

    table = Table(title="nDCG@10", title_justify="left", title_style="bold")
    table.add_column("queries -> documents")
    for system in ("BM25", "SPLARE"):
        table.add_column(system, justify="right")
    for name, figures in facts["ndcg@10"].items():
        table.add_row(name, f"{figures['BM25']:.3f}", f"{figures['SPLARE']:.3f}")
    results.print(table)
    if hit is not None:
        results.print(Text.assemble(("query     ", "bold"), hit.query))
        results.print(Text.assemble(("document  ", "bold"), f"{hit.docid}: {(hit.document or '')[:300]}..."))
        results.print(explanation_table(hit))
    results.print(
        f"{facts['documents']:,} documents, index {facts['index_bytes'] / 1e6:.1f} MB, "
        f"{facts['queries_per_second']:,.0f} queries a second, done in {facts['seconds']:.0f} s",
        highlight=False,
    )


@contextmanager
def _step(name: str) -> Iterator[Any]:
    """Say on stderr what a step gave and how long it took."""
    from splare_plugins.cli.console import console

    begin = time.perf_counter()
    told: list[str] = []
    yield told.append
    seconds = time.perf_counter() - begin
    console.print(f"[bold]{name:<7}[/] {'; '.join(told)} [dim]({seconds:.1f} s)[/]", highlight=False, soft_wrap=True)
