"""The SAEs of two models on the same texts: what their latents explain, which fire together, what they find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from splare_plugins.corpus import read_documents
from splare_plugins.corpus.sources import Source
from splare_plugins.errors import InputError
from splare_plugins.heads import Head
from splare_plugins.impacts import keep_largest
from splare_plugins.model.splare import SplareModel
from splare_plugins.training.config import EvaluationSettings
from splare_plugins.training.development import JudgedSet
from splare_plugins.training.drift import explained
from splare_plugins.training.finish import BUDGETS, Budget

LEAST_FIRINGS = 3
"""Latents that fire on fewer tokens have no partner: with one token in common, any two would be the same."""
_AT_ONCE = 64


@dataclass(frozen=True)
class Fired:
    """What one model's latents do on some tokens.

    Attributes:
        spans: document, first and last + 1 character of each token, shape ``[tokens, 3]``.
        firing: 1 where a latent is active on a token, shape ``(tokens, width)``.
        explained: share of the states' variance that lies in the span of their active latents' encoder rows.
    """

    spans: np.ndarray
    firing: csr_array
    explained: float

    @property
    def l0(self) -> float:
        """Mean number of active latents of a token."""
        return float(self.firing.nnz / len(self.spans))

    @property
    def silent_share(self) -> float:
        """Share of the latents that fire on none of the tokens."""
        return float((np.asarray(self.firing.sum(axis=0)) == 0).mean())


@dataclass(frozen=True)
class Overlap:
    """How alike the latents of two SAEs fire on the same tokens: tokens of both over tokens of either (Jaccard).

    Attributes:
        a: each latent of the first with its best partner in the second, the mean.
        b: likewise of the second.
        same_id: each latent with that of the same id, for SAEs of which one began as the other; ``None`` where widths
            differ.
    """

    a: float
    b: float
    same_id: float | None


def fired(model: SplareModel, corpus: Source, *, tokens: int) -> Fired:
    """What a model's latents do on the first tokens of a corpus, those that it pools.

    Raises:
        InputError: if the corpus has no tokens.
    """
    found, states, spans = 0, [], []
    for number, document in enumerate(read_documents(corpus)):
        own, places = model.pooled_tokens(document.content, "document")
        states.append(own)
        spans.append(np.column_stack([np.full(len(places), number), places]))
        found += len(places)
        if found >= tokens:
            break
    if not found:
        raise InputError("the corpus has no tokens to compare on; give one with text")
    every = torch.cat(states)[:tokens]
    active = active_latents(model.head, every)
    columns = torch.cat(active).cpu().numpy()
    ends = np.cumsum([0, *map(len, active)])
    firing = csr_array((np.ones(len(columns)), columns, ends), shape=(len(active), model.head.width))
    share = explained(every.float() - every.float().mean(0), model.head.W, active)
    return Fired(np.concatenate(spans)[:tokens], firing, float(share))


@torch.inference_mode()
def active_latents(head: Head, states: Tensor) -> list[Tensor]:
    """The active latents of each token."""
    parts = (head.activate(head.token_values(part)) for part in states.to(head.W.dtype).split(_AT_ONCE))
    return [weights.nonzero()[:, 0] for part in parts for weights in part]


def overlap(a: Fired, b: Fired) -> Overlap | None:
    """How alike two SAEs fire; ``None`` where their models split texts into other tokens."""
    if not np.array_equal(a.spans, b.spans):
        return None
    both = csr_array(a.firing.T @ b.firing)
    counts = [np.asarray(each.firing.sum(axis=0)) for each in (a, b)]
    pairs = both.tocoo()
    either = counts[0][pairs.row] + counts[1][pairs.col] - pairs.data
    shares = csr_array((pairs.data / either, pairs.coords), both.shape)
    enough = [each >= LEAST_FIRINGS for each in counts]
    best = [shares.max(axis=axis).toarray() for axis in (1, 0)]
    same = shares.diagonal()[enough[0] | enough[1]] if both.shape[0] == both.shape[1] else None
    mine, theirs = (_mean(each[fires]) for each, fires in zip(best, enough, strict=True))
    return Overlap(mine, theirs, None if same is None else _mean(same))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0


def ndcg(
    models: Sequence[SplareModel], settings: EvaluationSettings, budgets: Sequence[Budget] = BUDGETS
) -> dict[Budget, list[float]]:
    """The measure with each model's float weights, cut to the same numbers of latents of a query and a document."""
    judged = JudgedSet(settings)
    values: dict[Budget, list[float]] = {budget: [] for budget in budgets}
    for model in models:
        queries = model.encode_queries(judged.queries, top_k=None)
        documents = model.encode_documents(judged.documents, top_k=None)
        for query_top_k, document_top_k in budgets:
            cut = keep_largest(queries, query_top_k), keep_largest(documents, document_top_k)
            values[query_top_k, document_top_k].append(judged.measure(*cut))
    return values
