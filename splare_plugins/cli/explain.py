"""``splare explain``: the latents that make the score of a query and a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from splare_plugins.cli.index_model import (
    IndexModel,
    QueryEncoderOption,
    load_explaining,
    load_index_model,
)
from splare_plugins.cli.options import (
    QUOTING,
    DocumentFields,
    Json,
    Loading,
    Marks,
    Steer,
    expand_options,
    fields_option,
    parse_top_k,
    to_fields,
)
from splare_plugins.cli.places import engine_of, require_index
from splare_plugins.errors import InputError
from splare_plugins.machine.places import without_password

if TYPE_CHECKING:
    from splare_plugins.corpus.fields import Fields
    from splare_plugins.engines import Searcher
    from splare_plugins.model.explanation.make import Explainable
    from splare_plugins.retrieval.explain import Comparison, Explanation, RankingExplanation


@dataclass(frozen=True, kw_only=True)
class NamedQueryFields:
    """Which fields of ``--queries`` are read, beside those of ``--corpus``; the fields are the options."""

    query_id_field: Annotated[str | None, fields_option("Of --queries: field or column of the id.")] = None
    query_field: Annotated[str | None, fields_option("Of --queries: field, column or tag of the text.")] = None
    query_columns: Annotated[str | None, fields_option("Of --queries: names of columns without a header.")] = None
    query_quoting: Annotated[Marks | None, fields_option(f"Of --queries: {QUOTING}", default="none")] = None

    @property
    def names(self) -> Fields:
        """As readers take them."""
        flags = {"id": "--query-id-field", "text": "--query-field"}
        flags |= {"columns": "--query-columns", "quoting": "--query-quoting"}
        named = {"id": self.query_id_field, "text": self.query_field}
        return to_fields(flags, self.query_columns, self.query_quoting, **named)


@expand_options
def explain(
    fields: DocumentFields,
    query_fields: NamedQueryFields,
    loading: Loading,
    query: Annotated[str | None, typer.Argument(help="A query; with --queries, the id of one.")] = None,
    document: Annotated[
        str | None,
        typer.Argument(
            help="A document; with --corpus or --index, the id of one.", show_default="the best ones of the index"
        ),
    ] = None,
    named_query: Annotated[
        str | None, typer.Option("--query", help="The query, where its words might be taken for something else.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Another document: say why one of the two stands above the other.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Most latents shown.")] = 10,
    k: Annotated[int, typer.Option("-k", min=1, help="Without a document: how many of the index's best.")] = 5,
    index: Annotated[
        str | None, typer.Option("--index", help="Folder of an index, whose model and stored texts are taken.")
    ] = None,
    queries: Annotated[str | None, typer.Option(help="Where the query of this id stands.")] = None,
    corpus: Annotated[str | None, typer.Option(help="Where the document of this id stands.")] = None,
    model: IndexModel = None,
    query_encoder: QueryEncoderOption = "model",
    query_top_k: Annotated[
        str, typer.Option(help="Latents kept of the query: a number, 'model' for the model's own, 'none' for all.")
    ] = "model",
    document_top_k: Annotated[
        str | None, typer.Option(help="Likewise of the document.", show_default="as the index says, or the model")
    ] = None,
    steering: Steer = "",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File to write: .html with both texts, .json or .txt.", show_default="print"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show why a document matches a query: which latents, how much each, and on which words they fired.

    `explain QUERY DOCUMENT` takes a pair apart, `explain --index INDEX --query QUERY` the best documents of an index,
    and `--against` tells two documents apart.

    With a table for the query encoder and an index that knows its impacts, no model is loaded.
    """
    from splare_plugins.cli.console import print_json, results
    from splare_plugins.cli.explanations import require_suffix, tables, write_explanation
    from splare_plugins.engines import get_engine
    from splare_plugins.retrieval.explain import require_told
    from splare_plugins.steering import parse_steering

    require_suffix(output)
    weights = parse_steering(steering)
    kept_query, kept_document = parse_top_k(query_top_k), parse_top_k(document_top_k or "model")
    for option, place, given in (("--corpus", corpus, fields), ("--queries", queries, query_fields)):
        if place is None and (said := next((name for name, value in vars(given).items() if value), None)):
            flag = "--" + said.replace("_", "-")
            raise InputError(f"{flag} says how {option} is read, which is not given; add that, or omit {flag}")
    query, document = _asked(query, document, named_query, against, index)
    if queries is not None:
        query = _query(queries, query, query_fields.names)
    wanted = [each for each in (document, against) if each is not None]
    texts = None if corpus is None else _documents(corpus, wanted, fields.names)
    options = {"query_top_k": kept_query, "document_top_k": kept_document, "weights": weights}
    with ExitStack() as stack:
        searcher = None
        if index is not None:
            require_index(index)
            searcher = stack.enter_context(get_engine(engine_of(index)).searcher(index))
            if searcher.config is not None and document_top_k is None:
                options["document_top_k"] = searcher.config.document.top_k
            for docid in wanted if texts is None else ():
                require_told(searcher, docid)
        made_with = searcher.config if searcher else None
        what = f"the index at {without_password(index or '')}"
        loaded: Explainable
        if searcher is not None:
            loaded = load_explaining(made_with, model, query_encoder, loading, what)
        else:
            loaded = load_index_model(None, model, loading, what, query_encoder)
        told = _told(loaded, searcher, query, wanted, texts, k=k, top=top, **options)
    if output is not None:
        write_explanation(told, output)
    if as_json:
        print_json(told.to_dict())
    elif output is None:
        results.print(*tables(told), sep="\n")
    else:
        results.print(Text(f"explanation written to {output}"), soft_wrap=True)


def _asked(
    query: str | None, document: str | None, named: str | None, against: str | None, index: str | None
) -> tuple[str, str | None]:
    """The query and the document, of which the first word may be either."""
    if named is not None:
        if document is not None:
            raise InputError("the query is given twice, as the first word and by --query; keep one of them")
        query, document = named, query
    if query is None:
        raise InputError('name a query: splare explain "QUERY" "DOCUMENT", or --query "QUERY" with --index')
    if document is None and against is not None:
        raise InputError("--against names a second document and wants a first; add it, or omit --against")
    if document is None and index is None:
        raise InputError("name a document after the query, or an index whose best ones are explained, with --index")
    return query, document


def _told(
    model: Explainable,
    searcher: Searcher | None,
    query: str,
    wanted: Sequence[str],
    texts: Mapping[str, str] | None,
    *,
    k: int,
    top: int,
    **options: Any,
) -> Explanation | RankingExplanation | Comparison:
    from splare_plugins.retrieval.explain import Comparison, Explainer, explain_hit, explain_ranking

    explainer = Explainer(model, query, top=None if len(wanted) == 2 else top, **options)
    text_of = None if texts is None else texts.get
    if searcher is not None and not wanted:
        return explain_ranking(searcher, explainer, k=k, text_of=text_of)
    if searcher is not None:
        told = [explain_hit(searcher, explainer, docid, text_of=text_of) for docid in wanted]
    elif texts is not None:
        told = [explainer(texts[docid], docid=docid) for docid in wanted]
    else:
        told = [explainer(text) for text in wanted]
    return Comparison.of(*told, top=top) if len(told) == 2 else told[0]


def _query(source: str, qid: str, fields: Fields) -> str:
    from splare_plugins.corpus import read_queries

    for query in read_queries(source, fields=fields):
        if query.qid == qid:
            return query.text
    raise InputError(f"{source} has no query {qid!r}")


def _documents(source: str, docids: Sequence[str], fields: Fields) -> dict[str, str]:
    """Texts by id: of those that are named, or of all where none is."""
    from splare_plugins.corpus import read_documents

    texts: dict[str, str] = {}
    for document in read_documents(source, on_duplicate="first", fields=fields):
        if not docids or document.docid in docids:
            texts[document.docid] = document.content
        if docids and len(texts) == len(set(docids)):
            break
    if missing := [docid for docid in docids if docid not in texts]:
        raise InputError(f"{source} has no document {missing[0]!r}")
    return texts
