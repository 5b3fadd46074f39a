"""Labels of all latents of a model, from corpora; and the model saved with them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csc_array, csr_array

from splare_plugins.config import SplareConfig
from splare_plugins.corpus import read_documents, read_queries
from splare_plugins.errors import InputError
from splare_plugins.heads.labels import LABELS
from splare_plugins.latents.contexts import Context, Source, sample_contexts
from splare_plugins.latents.examples import strongest
from splare_plugins.latents.firing import Firing, fire
from splare_plugins.latents.llm import Writer
from splare_plugins.latents.naming import name_latents
from splare_plugins.latents.neighbours import co_firing
from splare_plugins.latents.table import LatentLabel, Shown, write_table
from splare_plugins.latents.trial import put_to_test
from splare_plugins.machine import Progress
from splare_plugins.machine.folders import keep_others, updating_folder
from splare_plugins.model.card import write_card
from splare_plugins.model.encoder import Encoder

FEWEST = 200
"""Contexts without which no label means anything."""
MOST_USED = 2000
"""Latents that the share of right choices is about."""
NAMED_FROM = 0.8
"""Share of right choices from which a label is a name; others are examples."""
SHOWN = 3
"""Contexts kept of each latent, and twice as many of the most used ones."""
NEIGHBOURS = 5
_WORDS = "words of its contexts"
_TAG = r"[a-z]{2,3}(-[A-Za-z]{2,4})?"


class Labels(NamedTuple):
    """What was made."""

    rows: list[LatentLabel]
    about: dict[str, Any]
    """How, and what the forced choice found; JSON types."""


def corpora_of(names: Sequence[str], *, queries: bool = False) -> list[Source]:
    """The corpora of a command: each a name that readers take, with or without its language before a ``=``."""
    sources = []
    for name in names:
        tagged = re.fullmatch(rf"({_TAG})=(.+)", name)
        language, place = (tagged[1], tagged[3]) if tagged and not Path(name).exists() else ("", name)
        sources.append(Source(_called(place), language, partial(_read, place, queries)))
    return sources


def _called(place: str) -> str:
    if ":" in place:
        return place
    path = Path(place)
    return path.name.partition(".")[0]


def _read(place: str, queries: bool) -> Iterable[tuple[str, str]]:
    if queries:
        return ((query.qid, query.text) for query in read_queries(place))
    return ((document.docid, document.content) for document in read_documents(place))


def require_labelable(config: SplareConfig, folder: Path, output: Path, *, overwrite: bool) -> None:
    """Refuse a model that cannot have labels, or has some that nobody said could go.

    Raises:
        InputError: then.
    """
    if config.head_kind != "sae":
        raise InputError(
            f"the latents of {config.name} are tokens of its vocabulary, which are their own labels; only SAEs take "
            "others"
        )
    if output.resolve() == folder.resolve() and (folder / config.head / LABELS).exists() and not overwrite:
        raise InputError(f"{folder} has labels already; add --overwrite to replace them, or choose another output")


def build_labels(
    model: Encoder,
    sources: Sequence[Source],
    *,
    queries: Sequence[Source] = (),
    sample: int,
    seed: int = 0,
    writer: Writer | None = None,
    written: int = MOST_USED,
    on_progress: Progress | None = None,
) -> Labels:
    """Find out what the latents of a model stand for.

    A quarter of the documents is held out: labels are made from the others and tested on these. Memory is bounded by
    the sample, whatever the corpora's size.

    Args:
        model: a SPLARE model with an SAE.
        sources: corpora; each has an equal share of the sample.
        queries: of which a quarter as many as contexts are drawn, to count in how many a latent fires.
        sample: contexts read.
        seed: of the draws.
        writer: a language model that writes labels in place of words.
        written: latents that it is asked about, the most used ones.
        on_progress: called with 1 after each text that was encoded.

    Raises:
        InputError: if the corpora have too little text.
    """
    contexts = sample_contexts(sources, count=sample, seed=seed)
    if len(contexts) < FEWEST:
        raise InputError(
            f"{', '.join(source.name for source in sources)}: {len(contexts)} contexts are too few to tell latents "
            f"apart; give a larger corpus or --sample, of at least {FEWEST} sentences"
        )
    texts = [context.text for context in contexts]
    firing = fire(model, texts, on_progress=on_progress)
    asked = [context.text for context in sample_contexts(queries, count=len(texts) // 4, seed=seed)] if queries else []
    in_queries = fire(model, asked, "query", on_progress=on_progress).weights if asked else None
    held_out = np.array([context.held_out for context in contexts])
    names = name_latents(model, texts, firing, held_out, on_progress=on_progress)
    use = np.bincount(firing.weights[~held_out].indices, minlength=model.config.width)
    most = [int(each) for each in np.argsort(-use, kind="stable")[:MOST_USED] if names[each]]
    shown = _shown(contexts, firing, names)
    author = dict.fromkeys(range(model.config.width), _WORDS)
    if writer is not None:
        for latent in most[:written]:
            if text := writer.label(shown[latent]):
                names[latent], author[latent] = text, writer.name
    verdict = put_to_test(model, texts, firing, held_out, names, most, seed=seed, on_progress=on_progress)
    scores = verdict.scores
    in_documents = np.bincount(firing.weights.indices, minlength=model.config.width) / len(texts)
    by_latent = csc_array(firing.weights)
    queried = (
        None if in_queries is None else np.bincount(in_queries.indices, minlength=model.config.width) / len(asked)
    )
    beside = co_firing(_where(firing.weights), count=NEIGHBOURS)
    rows = [
        LatentLabel(
            latent=latent,
            text=name if scores.get(latent, 0) >= NAMED_FROM else f"e.g. {name}",
            source=author[latent],
            score=scores.get(latent),
            documents=float(in_documents[latent]),
            queries=None if queried is None else float(queried[latent]),
            languages=_languages(contexts, by_latent, latent),
            contexts=shown[latent],
            neighbours=[(other, cosine) for other, cosine in beside[latent] if names[other]],
        )
        for latent, name in enumerate(names)
        if name
    ]
    named = sum(not row.text.startswith("e.g. ") for row in rows)
    about = {
        "corpora": list(dict.fromkeys(source.name for source in sources)),
        "contexts": len(texts),
        "held_out": int(held_out.sum()),
        "queries": len(asked),
        "seed": seed,
        "named": named,
        "examples": len(rows) - named,
        "forced_choice": verdict.share,
        "forced_choice_marked": verdict.marked,
        "asked_latents": len(most),
        "written_by": dict(Counter(row.source for row in rows)),
    }
    return Labels(rows, about)


def _shown(contexts: Sequence[Context], firing: Firing, names: Sequence[str]) -> list[list[Shown]]:
    columns = firing.weights.tocoo()
    order = np.argsort(columns.col, kind="stable")
    ends = np.searchsorted(columns.col[order], np.arange(len(names) + 1))
    return [
        strongest(contexts, firing, columns.row[part], part, count=SHOWN) if names[latent] else []
        for latent in range(len(names))
        if (part := order[ends[latent] : ends[latent + 1]]) is not None
    ]


def _languages(contexts: Sequence[Context], by_latent: csc_array, latent: int) -> dict[str, int]:
    rows = by_latent.indices[by_latent.indptr[latent] : by_latent.indptr[latent + 1]]
    return dict(Counter(contexts[row].language for row in rows).most_common())


def _where(weights: csr_array) -> csr_array:
    return csr_array((np.ones_like(weights.data), weights.indices, weights.indptr), shape=weights.shape)


def save_labelled(model: Encoder, output: Path, made: Labels) -> None:
    """Write the model with its labels; a new folder appears with both or not at all, and in place the table whole."""
    with updating_folder(output, source=model.folder) as folder:
        if model.folder is None or folder.resolve() != model.folder.resolve():
            keep_others(folder, output)
            model.save_pretrained(folder)
        config = SplareConfig.load(folder)
        write_table(folder / config.head / LABELS, made.rows, config, made.about)
        write_card(folder, config, repo_id=output.name)
