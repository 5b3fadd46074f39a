"""``splare explain``: the latents that make the score of a query and a document."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from splare_plugins.cli.index_model import IndexModel, load_index_model
from splare_plugins.cli.options import (
    QUOTING,
    DocumentFields,
    Json,
    Loading,
    Marks,
    expand_options,
    fields_option,
    parse_top_k,
    to_fields,
)
from splare_plugins.cli.places import engine_of, hidden, require_index
from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from splare_plugins.corpus.fields import Fields
    from splare_plugins.engines import Searcher
    from splare_plugins.retrieval.explain import Explanation


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
    query: Annotated[str, typer.Argument(help="A query; with --queries, the id of one.")],
    document: Annotated[str, typer.Argument(help="A document; with --corpus or --index, the id of one.")],
    fields: DocumentFields,
    query_fields: NamedQueryFields,
    loading: Loading,
    top: Annotated[int, typer.Option(min=1, help="Most latents shown.")] = 10,
    index: Annotated[
        str | None, typer.Option("--index", help="Folder of an index, whose model and stored texts are taken.")
    ] = None,
    queries: Annotated[str | None, typer.Option(help="Where the query of this id stands.")] = None,
    corpus: Annotated[str | None, typer.Option(help="Where the document of this id stands.")] = None,
    model: IndexModel = None,
    query_top_k: Annotated[
        str, typer.Option(help="Latents kept of the query: a number, 'model' for the model's own, 'none' for all.")
    ] = "model",
    document_top_k: Annotated[
        str | None, typer.Option(help="Likewise of the document.", show_default="as the index says, or the model")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show why a document matches a query: which latents, how much each, and on which words they fired."""
    from splare_plugins.cli.console import print_json, results
    from splare_plugins.engines import get_engine
    from splare_plugins.retrieval.explain import explain as take_apart

    made_with = None
    kept_query, kept_document = parse_top_k(query_top_k), parse_top_k(document_top_k or "model")
    for option, place, given in (("--corpus", corpus, fields), ("--queries", queries, query_fields)):
        if place is None and (said := next((name for name, value in vars(given).items() if value), None)):
            flag = "--" + said.replace("_", "-")
            raise InputError(f"{flag} says how {option} is read, which is not given; add that, or omit {flag}")
    if queries is not None:
        query = _query(queries, query, query_fields.names)
    if corpus is not None:
        document = _document(corpus, document, fields.names)
    if index is not None:
        require_index(index)
        with get_engine(engine_of(index)).searcher(index) as searcher:
            made_with = searcher.config
            if made_with is not None and document_top_k is None:
                kept_document = made_with.document.top_k
            if corpus is None:
                document = _stored(searcher, document, index)
    loaded = load_index_model(made_with, model, loading, f"the index at {hidden(index or '')}")
    explanation = take_apart(loaded, query, document, top=top, query_top_k=kept_query, document_top_k=kept_document)
    if as_json:
        print_json(explanation.to_dict())
    elif not explanation.matches:
        results.print(
            f"score 0: none of the query's {explanation.query_latents} latents is among the document's "
            f"{explanation.document_latents}"
        )
    else:
        results.print(explanation_table(explanation))


def _query(source: str, qid: str, fields: Fields) -> str:
    from splare_plugins.corpus import read_queries

    for query in read_queries(source, fields=fields):
        if query.qid == qid:
            return query.text
    raise InputError(f"{source} has no query {qid!r}")


def _document(source: str, docid: str, fields: Fields) -> str:
    from splare_plugins.corpus import read_documents

    for document in read_documents(source, on_duplicate="first", fields=fields):
        if document.docid == docid:
            return document.content
    raise InputError(f"{source} has no document {docid!r}")


def _stored(searcher: Searcher, docid: str, index: str) -> str:
    """The text that the index keeps of a document, where it keeps any."""
    from splare_plugins.corpus import Document

    raw = searcher.document(docid)
    if raw is None:
        raise InputError(
            f"{hidden(index)} keeps no text of a document {docid!r} for this; name its corpus with --corpus"
        )
    values = json.loads(raw)
    return Document(docid, values.get("text") or values.get("contents") or "", values.get("title") or "").content


def explanation_table(explanation: Explanation) -> Table:
    """One row a latent, largest contribution first."""
    from rich.table import Table
    from rich.text import Text

    listed = sum(match.share for match in explanation.matches)
    table = Table(
        title=f"score {explanation.score:,}: {explanation.shared_latents} latents shared by "
        f"{explanation.query_latents} of the query and {explanation.document_latents} of the document",
        caption=f"these {len(explanation.matches)} make {listed:.0%} of the score",
        title_justify="left",
        title_style="bold",
        caption_justify="left",
    )
    table.add_column("latent")
    for name in ("share", "query x document"):
        table.add_column(name, justify="right")
    for name in ("fired in the query on", "fired in the document on"):
        table.add_column(name)
    for match in explanation.matches:
        label = match.term if match.name == match.term else f"{match.term} {match.name}"
        # Text, not str: words may hold square brackets, which rich would read as markup.
        table.add_row(
            Text(label),
            f"{match.share:.1%}",
            f"{match.query_impact} x {match.document_impact}",
            Text(match.query_word),
            Text(match.document_word),
        )
    return table
