"""``splare train mine | score | embed``: what training data need before training."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from splare_plugins.cli.index_model import IndexModel, load_index_model
from splare_plugins.cli.options import Device, Json, Loading, expand_options
from splare_plugins.cli.places import engine_of
from splare_plugins.errors import InputError, splare_command

BM25 = "bm25"
Columns = Annotated[
    str | None,
    typer.Option(help="Columns of TSV or CSV without a header: query,positive,negative, or qid,pid,nid for ids."),
]
Queries = Annotated[str | None, typer.Option(help="Where the texts of queries are, for rows with their ids.")]


@dataclass(frozen=True, kw_only=True)
class RowFields:
    """How rows are read; the fields are the options."""

    columns: Columns = None
    queries: Queries = None
    corpus: Annotated[str | None, typer.Option(help="Where the texts of documents are, for rows with their ids.")] = (
        None
    )

    @property
    def options(self) -> dict[str, Any]:
        """As readers of rows take them."""
        return {"columns": _names(self.columns), "queries": self.queries, "corpus": self.corpus}


def _names(columns: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in columns.split(",")) if columns else ()


class TeacherKind(StrEnum):
    """What a teacher is."""

    auto = "auto"
    cross = "cross"
    bi = "bi"


@expand_options
def mine(
    data: Annotated[str, typer.Argument(help="Queries with positives: BEIR folder, rows of any layout, irds:NAME.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSONL file to make.")],
    loading: Loading,
    corpus: Annotated[
        str | None, typer.Option(help="Documents to mine from; those of a BEIR folder if left out.")
    ] = None,
    columns: Columns = None,
    queries: Queries = None,
    engine: Annotated[
        str | None,
        typer.Option(help="Engine of the index, or bm25 for the words.", show_default="told by the index, else bm25"),
    ] = None,
    index: Annotated[str | None, typer.Option(help="Index of the corpus; without one, BM25 (needs Java).")] = None,
    model: IndexModel = None,
    split: Annotated[str | None, typer.Option(help="Split of a BEIR folder.", show_default="train")] = None,
    negatives: Annotated[int, typer.Option(min=1, help="Most negatives of a query.")] = 8,
    depth: Annotated[int, typer.Option(min=1, help="Hits looked at.")] = 100,
    skip: Annotated[int, typer.Option(min=0, help="Best hits left out.")] = 0,
    random: Annotated[bool, typer.Option("--random", help="Take any of the hits instead of the best.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of the random choice.", show_default="42")] = None,
    language: Annotated[str | None, typer.Option(help="Of the documents, for bm25.", show_default="en")] = None,
    as_json: Json = False,
) -> None:
    """Find hard negatives with any engine, or with BM25.

    The model is the one that made the index; any other is refused.
    """
    from splare_plugins.cli.console import console, report
    from splare_plugins.corpus import Query, read_documents
    from splare_plugins.corpus.sources import is_irds
    from splare_plugins.engines import get_engine, get_text_engine
    from splare_plugins.machine.folders import require_no_input
    from splare_plugins.retrieval.indexing import query_impacts, search_queries
    from splare_plugins.training.data.mine import read_questions, write_negatives
    from splare_plugins.training.data.rows import row_files

    require_no_input(output, data, corpus, queries)
    if corpus is None and not (Path(data).is_dir() or is_irds(data)):
        raise InputError("mining from a file of queries needs --corpus")
    engine = engine or (BM25 if index is None else engine_of(index))
    if (engine == BM25) != (index is None):
        raise InputError(f"--engine {engine} " + ("needs --index" if index is None else "reads no --index"))
    if index is None and model is not None:
        raise InputError(f"--model {model} is for an --index; BM25 ranks by words, so omit it or name an index")
    if index is not None and language is not None:
        raise InputError(f"--language {language} is for BM25; omit it where an --index is searched")
    if seed is not None and not random:
        raise InputError("--seed is of the choice that --random makes; add that, or omit it")
    options = {"columns": _names(columns), "queries": queries}
    if row_files(Path(data)):
        options["corpus"] = corpus  # rows with ids find their positives there
    questions = read_questions(data, split=split, **options)
    texts = {question.qid: question.text for question in questions}
    source = corpus or data
    with console.status(f"mining {source} for {len(questions)} queries"):
        if index is None:
            documents = {document.docid: document.content for document in read_documents(source)}
            hits = get_text_engine("lucene").bm25(documents.items(), texts, depth, language=language or "en")
        else:
            with get_engine(engine).searcher(index) as searcher:
                loaded = load_index_model(searcher.config, model, loading, f"the index at {index}")
                asked = [Query(question.qid, question.text) for question in questions]
                hits = search_queries(searcher, list(texts), query_impacts(loaded, asked), depth)
            found = {docid for each in hits.values() for docid in each.docids}
            documents = {each.docid: each.content for each in read_documents(source) if each.docid in found}
        mined = write_negatives(
            questions,
            hits,
            documents,
            output,
            negatives=negatives,
            skip=skip,
            pick="random" if random else "first",
            seed=42 if seed is None else seed,
        )
    following = splare_command("train", "score", output, "TEACHER", "-o", "scored.jsonl")
    facts = {"file": str(output), **mined._asdict(), "next": following}
    report(f"mined {output}", facts, as_json=as_json)


@expand_options
def score(
    data: Annotated[str, typer.Argument(help="Training data: rows of any layout, in files or a folder of them.")],
    teacher: Annotated[str, typer.Argument(help="Cross-encoder or bi-encoder: folder or hub id.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSONL file to make.")],
    fields: RowFields,
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
    from splare_plugins.machine.folders import require_no_input
    from splare_plugins.training.data.score import load_teacher, score_file

    require_no_input(output, data, fields.queries, fields.corpus)
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
            **fields.options,
        )
    report(f"scored {output}", {"file": str(output), "rows": rows, "teacher": teacher}, as_json=as_json)


@expand_options
def embed(
    teacher: Annotated[
        str, typer.Option("--teacher", "-t", help="Bi-encoder (folder or hub id), bm25, or dense:MODEL.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="safetensors file to make.")],
    fields: RowFields,
    data: Annotated[
        list[str] | None, typer.Argument(help="All training data of a run: files or folders of rows.")
    ] = None,
    texts: Annotated[
        list[str] | None, typer.Option("--texts", help="Texts of a table's training, as splare search reads queries.")
    ] = None,
    documents: Annotated[
        list[str] | None,
        typer.Option("--documents", help="Documents of a table's training, as splare index reads them."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts a forward pass of a bi-encoder.")] = 64,
    max_length: Annotated[int | None, typer.Option(min=2, help="Tokens a bi-encoder reads of a text.")] = None,
    bfloat16: Annotated[bool, typer.Option("--bfloat16", help="Run the encoder in bfloat16.")] = False,
    language: Annotated[str | None, typer.Option(help="Of the words, for bm25.", show_default="en")] = None,
    originals: Annotated[
        str | None,
        typer.Option(help="JSONL or Parquet of text and original: what the teacher reads in place of a translation."),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Make a teacher's vectors of all texts, so that it scores every query with every document of a batch."""
    from splare_plugins.cli.console import progress, report
    from splare_plugins.training.data.embed import embed_file, load_embedder, read_originals

    if bool(texts) != bool(documents) or not (data or texts):
        raise InputError("name the rows of training data, or --texts together with --documents")
    if not data and (unused := [name for name, value in fields.options.items() if value]):
        raise InputError(f"--{unused[0]} is for rows of training data; name some, or omit it")
    read_instead = read_originals(originals) if originals else None
    loaded = load_embedder(
        teacher,
        device=device,
        batch_size=batch_size,
        max_length=max_length,
        dtype="bfloat16" if bfloat16 else "float32",
        language=language,
    )
    with progress("embedding") as advance:
        counts = embed_file(
            data or [],
            loaded,
            output,
            texts=texts or (),
            documents=documents or (),
            originals=read_instead,
            on_progress=advance,
            **fields.options,
        )
    facts = {"file": str(output), "queries": counts["query"], "documents": counts["document"], "teacher": teacher}
    report(f"embedded {output}", facts, as_json=as_json)
