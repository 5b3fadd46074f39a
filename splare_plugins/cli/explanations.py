"""Explanations as tables for people, and as files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from splare_plugins.model.explanation import Comparison, Explanation, Firing, RankingExplanation

SUFFIXES = (".html", ".json", ".txt")
_WORDS = 4


def require_suffix(output: Path | None) -> None:
    """Refuse a file whose name does not say what it will hold, and a folder.

    Raises:
        InputError: saying which names do.
    """
    if output is not None and (output.suffix.lower() not in SUFFIXES or output.is_dir()):
        raise InputError(f"{output} must be a file that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")


def write_explanation(told: Explanation | RankingExplanation | Comparison, output: Path) -> None:
    """Write a file of the kind that its name says."""
    import json

    from splare_plugins.cli.console import Terminal
    from splare_plugins.machine.files import replacing

    suffix = output.suffix.lower()
    if suffix == ".html":
        content = told.to_html()
    elif suffix == ".json":
        content = json.dumps(told.to_dict(), ensure_ascii=False, indent=1) + "\n"
    else:
        console = Terminal(width=160, color_system=None)
        with console.capture() as capture:
            console.print(*tables(told), sep="\n")
        content = "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"
    with replacing(output) as beside:
        beside.write_text(content, encoding="utf-8")


def tables(told: Explanation | RankingExplanation | Comparison) -> Iterator[RenderableType]:
    """What is printed, part by part."""
    from splare_plugins.model.explanation import Comparison, Explanation

    if isinstance(told, Explanation):
        yield from _document(told)
    elif isinstance(told, Comparison):
        yield difference_table(told)
        for each in (told.above, told.below):
            yield from _document(each, missing=False)
    else:
        for place, each in enumerate(told.documents, 1):
            yield from _document(each, f"{place}. ", missing=False)
        yield from _sentences(told.notes)


def _document(told: Explanation, place: str = "", *, missing: bool = True) -> Iterator[RenderableType]:
    if told.matches:
        yield explanation_table(told, place)
    elif told.document_latents is None:
        yield Text(f"{place}{told.docid}: score {told.score:,}", style="bold")
    else:
        yield Text(
            f"{place}{f'{told.docid}: ' if told.docid else ''}score 0: none of the query's {told.query_latents} "
            f"latents is among the document's {told.document_latents}"
        )
    if missing and told.missing:
        yield missing_table(told)
    yield from _sentences(told.notes)


def explanation_table(told: Explanation, place: str = "") -> Table:
    """One row a latent, largest contribution first."""
    listed = sum(match.share for match in told.matches)
    name = f"{told.docid}: " if told.docid else ""
    table = _table(
        f"{place}{name}score {told.score:,}: {told.shared_latents} latents shared by "
        f"{told.query_latents} of the query and {told.document_latents} of the document",
        ("latent", "share", "query x document", "fired in the query on", "fired in the document on"),
        numbers=(1, 2),
        caption=f"these {len(told.matches)} make {listed:.0%} of the score",
    )
    for match in told.matches:
        table.add_row(
            _latent(match.term, match.name),
            f"{match.share:.1%}",
            f"{match.query_impact} x {match.document_impact}",
            _words(match.query_words),
            _words(match.document_words),
        )
    return table


def missing_table(told: Explanation) -> Table:
    """Latents of the query that the document lacks."""
    table = _table(
        f"missing: {told.query_latents - told.shared_latents} latents of the query that the document lacks",
        ("latent", "query", "fired in the query on"),
        numbers=(1,),
    )
    for match in told.missing:
        table.add_row(_latent(match.term, match.name), str(match.query_impact), _words(match.query_words))
    return table


def difference_table(told: Comparison, most: int = 10) -> Table:
    """One row a latent, the largest difference first."""
    one, other = (each.docid or name for each, name in ((told.above, "the first"), (told.below, "the second")))
    rows = [row for row in told.differences if row.difference]
    rest = sum(row.difference for row in rows[most:])
    table = _table(
        f"{one} stands above {other} by {told.above.score - told.below.score:,}: "
        f"{told.above.score:,} against {told.below.score:,}",
        ("latent", one, other, "difference"),
        numbers=(1, 2, 3),
        caption=f"the other {len(rows) - most} latents together: {rest:+,}" if len(rows) > most else None,
    )
    for row in rows[:most]:
        table.add_row(_latent(row.term, row.name), f"{row.above:,}", f"{row.below:,}", f"{row.difference:+,}")
    return table


def _table(title: str, heads: Sequence[str], *, numbers: Sequence[int], caption: str | None = None) -> Table:
    table = Table(
        title=Text(title, style="bold"),
        caption=caption,
        title_justify="left",
        caption_justify="left",
        min_width=min(len(title), 78),
    )
    for place, head in enumerate(heads):
        table.add_column(Text(head), justify="right" if place in numbers else "left")
    return table


# Text, not str: words, ids and labels may hold square brackets, which rich would read as markup.
def _latent(term: str, name: str) -> Text:
    return Text(term if name == term else f"{term} {name}")


def _words(words: Sequence[Firing]) -> Text:
    """The words of a latent, strongest first, each once."""
    said = list(dict.fromkeys(each.word or "(special token)" for each in words))
    more = f" +{len(said) - _WORDS}" if len(said) > _WORDS else ""
    return Text(", ".join(said[:_WORDS]) + more)


def _sentences(notes: Iterable[str]) -> Iterator[Text]:
    return (Text(note, style="dim") for note in notes)
