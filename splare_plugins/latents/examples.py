"""The strongest contexts of a latent, no two of them alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from splare_plugins.latents.contexts import Context
from splare_plugins.latents.firing import Firing
from splare_plugins.latents.table import Shown
from splare_plugins.latents.words import word_around

# So many of the strongest are looked through.
_SEEN = 60


def strongest(
    contexts: Sequence[Context], firing: Firing, rows: np.ndarray, entries: np.ndarray, *, count: int
) -> list[Shown]:
    """At most ``count`` contexts of one latent: every language has its strongest before any has its second.

    No two are of documents with one id, which translations share, and no two have the same word at the peak.

    Args:
        contexts: all of them.
        firing: of these.
        rows: contexts in which the latent fired.
        entries: where each of these firings stands in ``firing``.
        count: contexts to choose.
    """
    weights = firing.weights.data[entries]
    order = np.argsort(-weights, kind="stable")[:_SEEN]
    queues: dict[str, list[Shown]] = {}
    for row, entry, weight in zip(rows[order], entries[order], weights[order], strict=True):
        context = contexts[row]
        start, end = word_around(context.text, int(firing.starts[entry]), int(firing.ends[entry]))
        shown = Shown(
            text=context.text,
            start=start,
            end=end,
            weight=round(float(weight), 3),
            language=context.language,
            source=f"{context.source} {context.docid}",
        )
        queues.setdefault(context.language, []).append(shown)
    chosen: list[Shown] = []
    documents: set[str] = set()
    seen: set[str] = set()
    while len(chosen) < count and queues:
        for language in list(queues):
            queue = queues[language]
            while queue and (queue[0].word.casefold() in seen or _document(queue[0]) in documents):
                queue.pop(0)
            if not queue:
                del queues[language]
                continue
            shown = queue.pop(0)
            seen.add(shown.word.casefold())
            documents.add(_document(shown))
            chosen.append(shown)
    return chosen[:count]


def _document(shown: Shown) -> str:
    return shown.source.rpartition(" ")[2]
