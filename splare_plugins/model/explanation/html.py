"""Explanations as HTML that stands alone: style inside, no script, nothing loaded from elsewhere.

A word has the colour and the number of the latent that it counts most for; hovering over a word or a latent, or
reaching it by the keyboard, marks all words of that latent, which the style sheet does by itself (``:has``). It takes
the explanations as their ``to_dict`` gives them. Whatever comes from texts, ids and labels is escaped.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any

Told = Mapping[str, Any]
# Okabe and Ito's, which people who are colour-blind tell apart; the latents after them share one.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a600")
_OTHERS = "#8a8f98"
_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
"""
_PAGE = "html{background:#fff}@media (prefers-color-scheme:dark){html{background:#141517}}body{margin:0}"


def page(
    query: str, explanations: Sequence[Told], differences: Sequence[Told] = (), *, notes: Sequence[str] = ()
) -> str:
    """A whole document; see :func:`fragment`."""
    title = f"<title>Why: {escape(query[:80])}</title>\n<style>{_PAGE}</style>\n</head>\n<body>\n"
    return _HEAD + title + fragment(query, explanations, differences, notes=notes, tag="main") + "\n</body>\n</html>\n"


def fragment(
    query: str,
    explanations: Sequence[Told],
    differences: Sequence[Told] = (),
    *,
    notes: Sequence[str] = (),
    tag: str = "div",
) -> str:
    """What a notebook shows.

    Args:
        query: the query's text.
        explanations: of one document, or of several in their order.
        differences: of two documents, by latent.
        notes: sentences about all of them.
        tag: the element around it.
    """
    keys = _Keys(explanations, differences)
    matches = list(chain.from_iterable(each["matches"] + each["missing"] for each in explanations))
    firings = {match["term"]: match["query_words"] for match in matches}
    weights: dict[str, float] = defaultdict(float)
    for match in matches:
        weights[match["term"]] = max(weights[match["term"]], match["contribution"], 1)
    names = {match["term"]: match["name"] for match in matches}
    common = [note for note in (explanations[0]["notes"] if explanations else ()) if _everywhere(note, explanations)]
    cards = "".join(
        _document(place, each, keys, common, several=len(explanations) > 1)
        for place, each in enumerate(explanations, 1)
    )
    body = "".join(
        [
            f"<h1>Why {'these documents were' if len(explanations) > 1 else 'this document was'} found</h1>",
            "<section class=card><h2>Query</h2>",
            _text(query, firings, weights, names, keys),
            *(f"<p class=note>{escape(note)}</p>" for note in [*_steered(explanations), *common, *notes]),
            "</section>",
            _differences(differences, explanations, keys) if differences else "",
            f"<div class=pair>{cards}</div>" if differences else cards,
        ]
    )
    name = "x" + hashlib.sha256(body.encode()).hexdigest()[:10]
    rules = "".join(_rule(name, term) for term in keys.terms)
    return f'<{tag} class="splare-x {name}">\n<style>{_style()}{rules}</style>\n{body}\n</{tag}>'


class _Keys:
    """Number and colour of each latent, the strongest first, the same in all texts."""

    def __init__(self, explanations: Sequence[Told], differences: Sequence[Told]) -> None:
        totals: dict[str, float] = defaultdict(float)
        for row in differences:
            totals[row["term"]] = max(row["above"], row["below"])
        for each in explanations:
            for match in each["matches"]:
                totals[match["term"]] += match["share"] if not differences else 0
            for match in each["missing"]:
                totals[match["term"]] += 0
        self.terms = sorted(totals, key=lambda term: -totals[term])
        self._places = {term: place for place, term in enumerate(self.terms)}

    def number(self, term: str) -> int:
        return self._places[term] + 1

    def colour(self, term: str) -> str:
        place = self._places[term]
        return COLOURS[place] if place < len(COLOURS) else _OTHERS

    def chip(self, term: str) -> str:
        return f'<span class=key style="--c:{self.colour(term)}">{self.number(term)}</span>'


def _document(place: int, told: Told, keys: _Keys, common: Sequence[str], *, several: bool) -> str:
    docid = "" if told["docid"] is None else f" {escape(told['docid'])}"
    firings = {match["term"]: match["document_words"] for match in told["matches"]}
    weights = {match["term"]: match["contribution"] for match in told["matches"]}
    names = {match["term"]: match["name"] for match in told["matches"]}
    number = f"{place}. " if several else ""
    if told["document_latents"] is None:
        counts = ""
    else:
        counts = (
            f"<p class=note>{told['shared_latents']} latents are shared by the {told['query_latents']} of the query "
            f"and the {told['document_latents']} of the document.</p>"
        )
    text = "" if told["document"] is None else _text(told["document"], firings, weights, names, keys)
    notes = "".join(f"<p class=note>{escape(note)}</p>" for note in told["notes"] if note not in common)
    return (
        f"<section class=card><h2>{number}Document{docid} <span class=score>score {told['score']:,}</span></h2>"
        f"{text}{notes}{counts}{_matches(told, keys)}{_missing(told, keys)}</section>\n"
    )


def _matches(told: Told, keys: _Keys) -> str:
    if not told["matches"]:
        return ""
    widest = told["matches"][0]["share"] or 1
    rows = "".join(
        f'<tr tabindex=0 data-l="{match["term"]}"><td>{_latent(match, keys)}</td>'
        f"<td class=number>{match['share']:.1%}</td><td class=bars aria-hidden=true>"
        f'<span class=bar style="--c:{keys.colour(match["term"])};--s:{match["share"] / widest:.3f}"></span></td>'
        f"<td class=number>{match['query_impact']} x {match['document_impact']}</td>"
        f"<td>{_words(match['query_words'])}</td><td>{_words(match['document_words'])}</td></tr>"
        for match in told["matches"]
    )
    listed = sum(match["share"] for match in told["matches"])
    heads = (
        "Latent",
        "#Share",
        "",
        "#Query x document",
        "In the query",
        "In the document",
    )
    table = f"<div class=matches>{_table(heads, rows)}</div>"
    return table + f"<p class=note>These {len(told['matches'])} make {listed:.0%} of the score.</p>"


def _missing(told: Told, keys: _Keys) -> str:
    if not told["missing"]:
        return ""
    rows = "".join(
        f'<tr tabindex=0 data-l="{match["term"]}"><td>{_latent(match, keys)}</td>'
        f"<td class=number>{match['query_impact']}</td><td>{_words(match['query_words'])}</td></tr>"
        for match in told["missing"]
    )
    count = told["query_latents"] - told["shared_latents"]
    shown = f", the {len(told['missing'])} strongest" if len(told["missing"]) < count else ""
    summary = f"<summary>Latents of the query that the document lacks: {count}{shown}</summary>"
    return f"<details>{summary}{_table(('Latent', '#Query', 'In the query'), rows)}</details>"


def _differences(differences: Sequence[Told], explanations: Sequence[Told], keys: _Keys) -> str:
    names = [each["docid"] or f"document {place}" for place, each in enumerate(explanations, 1)]
    shown = [row for row in differences if row["difference"]][:12]
    largest = max((abs(row["difference"]) for row in shown), default=1)
    rows = "".join(
        f'<tr tabindex=0 data-l="{row["term"]}"><td>{_latent(row, keys)}</td><td class=number>{row["above"]:,}</td>'
        f"<td class=number>{row['below']:,}</td><td class=number>{row['difference']:+,}</td>"
        f'<td class=bars aria-hidden=true><span class=bar style="--c:{keys.colour(row["term"])};'
        f'--s:{abs(row["difference"]) / largest:.3f}"></span></td></tr>'
        for row in shown
    )
    ahead = explanations[0]["score"] - explanations[1]["score"]
    heads = ("Latent", *(f"#{escape(name)}" for name in names), "#Difference", "")
    rest = sum(row["difference"] for row in differences) - sum(row["difference"] for row in shown)
    said = f"<p class=note>All other latents together: {rest:+,}.</p>" if len(shown) < len(differences) else ""
    title = f"{escape(names[0])} stands above {escape(names[1])} by {ahead:,}"
    return f"<section class=card><h2>{title}</h2>{_table(heads, rows)}{said}</section>"


def _text(text: str, firings: Mapping[str, Any], weights: Mapping[str, float], names: Told, keys: _Keys) -> str:
    """A text in which each word is marked on which a latent fired."""
    by_word: dict[tuple[int, int], list[tuple[float, float, str]]] = defaultdict(list)
    count = len({(each["start"], each["end"]) for words in firings.values() for each in words})
    for term, words in firings.items():
        # One that fires everywhere says little about a word, so what counts is how far it is above its average.
        average = sum(each["strength"] for each in words) / max(count, 1)
        for each in words:
            if each["word"]:
                worth = (each["strength"] - average) * weights.get(term, 0)
                by_word[each["start"], each["end"]].append((worth, each["strength"], term))
    parts, done = [], 0
    for (start, end), found in sorted(by_word.items()):
        if start < done:  # within the word before
            continue
        found.sort(reverse=True)
        parts += [escape(text[done:start]), _word(text[start:end], found, names, keys)]
        done = end
    return f"<p class=text dir=auto>{''.join(parts)}{escape(text[done:])}</p>"


def _word(word: str, found: Sequence[tuple[float, float, str]], names: Told, keys: _Keys) -> str:
    _, strength, best = found[0]
    told = "\n".join(
        f"{keys.number(term)}  {_called(term, names[term])}: {own:.0%} of its peak" for _, own, term in found
    )
    every = " ".join(term for _, _, term in found)
    return (
        f'<span class=word tabindex=0 data-l="{best}" data-all="{every}" data-n="{keys.number(best)}" '
        f'style="--c:{keys.colour(best)};--s:{strength**2:.2f}">{escape(word)}'
        f"<span class=tip role=tooltip>{escape(told)}</span></span>"
    )


def _words(words: Sequence[Told], most: int = 6) -> str:
    """The words of a latent, strongest first, each once."""
    said = list(dict.fromkeys(each["word"] or "(special token)" for each in words))
    more = f" and {len(said) - most} more" if len(said) > most else ""
    return ", ".join(f"<bdi>{escape(word)}</bdi>" for word in said[:most]) + more


def _latent(told: Told, keys: _Keys) -> str:
    return f"{keys.chip(told['term'])}<bdi class=name>{escape(_called(told['term'], told['name']))}</bdi>"


def _called(term: str, name: str) -> str:
    return term if name == term else f"{term} {name}"


def _table(heads: Iterable[str], rows: str) -> str:
    """``#`` before the head of a column says that it has numbers; one without a head has bars."""
    head = "".join(
        f"<th scope=col{' class=number' if each[0] == '#' else ''}>{each.removeprefix('#')}</th>"
        if each
        else "<td class=bars aria-hidden=true></td>"
        for each in heads
    )
    return f"<div class=scroll tabindex=0><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"


def _steered(explanations: Sequence[Told]) -> list[str]:
    steered = explanations[0]["steered"] if explanations else {}
    told = [f"{term} {value if isinstance(value, str) else f'x {value:g}'}" for term, value in steered.items()]
    return [f"Latents of the query were changed: {', '.join(told)}."] if told else []


def _everywhere(note: str, explanations: Sequence[Told]) -> bool:
    return len(explanations) > 1 and all(note in each["notes"] for each in explanations)


def _rule(name: str, term: str) -> str:
    """Hovering over a latent or one of its words marks all its words."""
    return (
        f'.{name}:has([data-l="{term}"]:is(:hover,:focus)) :is([data-all~="{term}"],tr[data-l="{term}"])'
        "{outline:2px solid currentcolor}"
    )


@cache
def _style() -> str:
    return Path(__file__).with_name("explanation.css").read_text(encoding="utf-8")
