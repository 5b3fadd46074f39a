"""``splare explain``: the latents that make the score of a query and a document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from splare_plugins.cli.options import DEFAULT_MODEL, Json, Loading, Model, expand_options, load_model

if TYPE_CHECKING:
    from rich.table import Table

    from splare_plugins.retrieval.explain import Explanation


@expand_options
def explain(
    query: Annotated[str, typer.Argument(help="A query.")],
    document: Annotated[str, typer.Argument(help="A document.")],
    loading: Loading,
    top: Annotated[int, typer.Option(min=1, help="Most latents shown.")] = 10,
    model: Model = DEFAULT_MODEL,
    as_json: Json = False,
) -> None:
    """Show why a document matches a query: which latents, how much each, and on which words they fired."""
    from splare_plugins.cli.console import print_json, results
    from splare_plugins.retrieval.explain import explain as take_apart

    explanation = take_apart(load_model(model, loading), query, document, top=top)
    if as_json:
        print_json(explanation.to_dict())
    elif not explanation.matches:
        results.print(
            f"score 0: none of the query's {explanation.query_latents} latents is among the document's "
            f"{explanation.document_latents}"
        )
    else:
        results.print(explanation_table(explanation))


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
