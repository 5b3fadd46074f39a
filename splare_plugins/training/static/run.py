"""From a model and texts to a static query encoder: targets, the bag's training, the table."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array, vstack
from tokenizers import Tokenizer
from torch import Tensor

from splare_plugins.config import Side, TopK
from splare_plugins.errors import InputError, SplareError
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.machine import Progress
from splare_plugins.machine.files import require_free
from splare_plugins.model.encoder import Encoder
from splare_plugins.model.splare import SplareModel
from splare_plugins.static.encoder import StaticQueryEncoder
from splare_plugins.static.folder import CARD_FILE, save_static
from splare_plugins.static.pieces import tokens_of
from splare_plugins.static.table import TokenTable
from splare_plugins.training.data.unpaired import read_contents_of, read_queries_of
from splare_plugins.training.static.bag import TokenBag
from splare_plugins.training.static.objective import Objective
from splare_plugins.training.static.pieces import table_pieces
from splare_plugins.training.static.ranking import Candidates
from splare_plugins.training.static.settings import StaticSettings
from splare_plugins.training.static.start import rarity, states_alone
from splare_plugins.training.static.store import Store
from splare_plugins.training.static.teaching import Teaching
from splare_plugins.training.static.words import frequent_words, listed_words, with_words

Steps = Callable[[str, int], Progress]
"""Told what begins and how much there is to do; gives what is told of its progress."""

_AT_ONCE = 1024
_KEPT_AT_ONCE = 10_000
_LEAST_RATE = 0.1
_SOURCES = ("texts", "documents", "word_lists")


def train_static(
    settings: StaticSettings,
    *,
    device: str = "auto",
    overwrite: bool = False,
    steps: Steps = lambda *_: lambda _: None,
) -> StaticQueryEncoder:
    """Train the query side of a model as a table of its tokens, and write it.

    Each text's vector by the full encoder is the target of the maximum over its tokens; see :class:`Objective`.

    Args:
        settings: of the training.
        device: where the model runs; the table is trained on a processor.
        overwrite: replace the encoder that is there.
        steps: see :data:`Steps`.

    Returns:
        the encoder as it was written.

    Raises:
        InputError: for a model without an SAE, texts that are fewer than a batch, or an output that is there.
        SplareError: for a loss that is not finite.
    """
    output = Path(settings.output)
    require_free(output, overwrite=overwrite, marker=CARD_FILE, what="static query encoder")
    model = SplareModel.load(settings.model, device=device)
    if not isinstance(model.head, SparseAutoencoder) or model.head.k is not None:
        raise InputError(
            f"{settings.model} has a head in which tokens do not stand for themselves: a table takes an SAE without a "
            "TopK of each token, such as splare calibrate --standardise makes"
        )
    texts, contents = _texts(settings), read_contents_of(settings.documents)
    if settings.documents and len(contents) < settings.mined:
        raise InputError(
            f"{len(contents)} documents are fewer than the {settings.mined} mined for each text; name more"
        )
    teaching = _teaching(settings, texts, contents) if settings.teachers else None
    tokenizer = Tokenizer.from_str(model.backbone.tokenizer.backend_tokenizer.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    words = frequent_words(texts, tokenizer, most=settings.words, seen=settings.seen) if settings.words else []
    words += listed_words(settings.word_lists, tokenizer, besides=words)
    tokenizer = with_words(tokenizer, words) if words else tokenizer
    pieces = table_pieces(tokenizer)
    ids = [text.ids[text.keep] for text in tokens_of(pieces, texts, model.config.query.max_length)]
    full = SplareModel.load(settings.model, device=device, dtype="bfloat16") if settings.bfloat16 else model
    store = Store(settings.work)
    targets = _encoded(full, texts, "query", store, steps("the full encoder reads the texts", len(texts)))
    found = np.diff(targets.indptr)
    usable = [number for number, tokens in enumerate(ids) if len(tokens) and found[number]]
    if len(usable) < settings.batch:
        raise InputError(f"{len(usable)} texts have a vector, fewer than a batch of {settings.batch}; give more texts")
    candidates = _candidates(full, settings, targets, contents, store, steps)
    alone = _states(model, [(token,) for token in range(len(model.backbone.tokenizer))], store, steps, "token")
    if words:
        alone = torch.cat([alone, _states(model, [word.tokens for word in words], store, steps, "word")])
    bag = TokenBag(
        alone, rarity(tokenizer), model.head, norm_power=model.config.norm_power, bfloat16=settings.bfloat16
    )
    total = int(settings.epochs * len(usable)) // settings.batch
    advance = steps("the table is trained", total)
    cosines = [0.0]
    objective = Objective(settings, targets, candidates, teaching)
    for cosine in _learn(bag, settings, objective, ids, usable, total):
        cosines.append(cosine)
        advance(1)
    rows = _rows(bag, settings.latents, steps("tokens become rows", len(alone)))
    encoder = StaticQueryEncoder(model.config, TokenTable.from_weights(rows, settings.latents), pieces)
    trained = {"texts": len(usable), "steps": total, "cosine": round(cosines[-1], 4)}
    trained |= {"taught": teaching.taught} if teaching else {}
    save_static(encoder, output, settings=_shown(settings, model.config.name), trained=trained)
    return encoder


def _shown(settings: StaticSettings, model: str) -> dict[str, Any]:
    """All settings, of files and folders the names alone."""
    sources = {each: [Path(source).name for source in getattr(settings, each)] for each in _SOURCES}
    teachers = {name: {**asdict(each), "vectors": Path(each.vectors).name} for name, each in settings.teachers.items()}
    folders = {each: Path(folder).name for each in ("output", "work") if (folder := getattr(settings, each))}
    return {**asdict(settings), **sources, **folders, "teachers": teachers, "model": model}


def _texts(settings: StaticSettings) -> list[str]:
    found = read_queries_of(settings.texts)
    random.Random(settings.seed).shuffle(found)
    return found[: settings.limit]


def _teaching(settings: StaticSettings, texts: Sequence[str], contents: Sequence[str]) -> Teaching:
    given = [("--texts", source) for source in settings.texts]
    given += [("--documents", source) for source in settings.documents]
    return Teaching(settings.teachers, texts, contents, sources=[word for pair in given for word in pair])


def _encoded(full: Encoder, texts: Sequence[str], side: Side, store: Store, advance: Progress) -> csr_array:
    """Weights by the full encoder, all of queries, in parts that a later run finds again."""
    parts, kinds = [], {"query": "texts", "document": "documents"}
    for start in range(0, len(texts), _KEPT_AT_ONCE):
        part = texts[start : start + _KEPT_AT_ONCE]
        digest = sha256(json.dumps([full.config.fingerprint(), str(full.dtype), *part]).encode()).hexdigest()[:24]
        top_k: TopK = None if side == "query" else "model"
        encode = partial(full.encode, part, side, top_k=top_k, on_progress=advance)
        parts.append(store.matrix(f"{kinds[side]}-{digest}", encode))
    return csr_array(vstack(parts))


def _states(model: SplareModel, entries: Sequence[Sequence[int]], store: Store, steps: Steps, what: str) -> Tensor:
    advance = steps(f"the backbone reads each {what} alone", len(entries))
    key = sha256(json.dumps([model.config.fingerprint(), entries]).encode()).hexdigest()[:24]
    return torch.from_numpy(store.array(f"{what}s-{key}", lambda: states_alone(model, entries, advance).numpy()))


def _candidates(
    full: Encoder, settings: StaticSettings, targets: csr_array, contents: Sequence[str], store: Store, steps: Steps
) -> Candidates:
    """What both encoders rank."""
    if not contents:
        return Candidates.texts(targets, settings.others)
    documents = _encoded(
        full, contents, "document", store, steps("the full encoder reads the documents", len(contents))
    )
    return Candidates.documents(targets, documents, mined=settings.mined, others=settings.others, top_k=settings.top_k)


def _learn(
    bag: TokenBag,
    settings: StaticSettings,
    objective: Objective,
    ids: Sequence[np.ndarray],
    usable: Sequence[int],
    total: int,
) -> Iterator[float]:
    """One step at a time; yields the mean cosine of its texts with their targets, of the last hundred steps."""
    rates = (settings.shared_rate, settings.offset_rate, settings.learning_rate, settings.offset_rate)
    shared = torch.optim.Adam([{"params": [bag.map, bag.shift]}, {"params": [bag.line]}])
    own = torch.optim.SparseAdam([{"params": [*bag.states.parameters()]}, {"params": [*bag.offsets.parameters()]}])
    order = np.random.default_rng(settings.seed)
    waiting = np.empty(0, dtype=np.int64)
    recent: list[float] = []
    for step in range(total):
        if len(waiting) < settings.batch:
            waiting = np.concatenate([waiting, order.permutation(usable)])
        batch, waiting = waiting[: settings.batch], waiting[settings.batch :]
        for group, rate in zip((*shared.param_groups, *own.param_groups), rates, strict=True):
            group["lr"] = rate * (1 - (1 - _LEAST_RATE) * step / total)
        weights = bag([ids[number] for number in batch])
        loss, cosine = objective(weights, batch, order)
        if not torch.isfinite(loss):
            raise SplareError(f"step {step + 1}: the loss is {loss.item()}; lower learning_rate, now {rates[2]}")
        shared.zero_grad()
        own.zero_grad()
        loss.backward()
        shared.step()
        own.step()
        recent = [*recent[-99:], cosine]
        yield float(np.mean(recent))


def _rows(bag: TokenBag, most: int, advance: Progress) -> csr_array:
    """The largest weights of all tokens."""
    parts = []
    for tokens in torch.arange(len(bag.start)).split(_AT_ONCE):
        largest = bag.token_weights(tokens).topk(min(most, len(bag.b)), dim=1)
        parts.append(_sparse(largest.indices, largest.values, len(bag.b)))
        advance(len(tokens))
    return csr_array(vstack(parts))


def _sparse(columns: Tensor, values: Tensor, width: int) -> csr_array:
    count, most = columns.shape
    bounds = np.arange(0, (count + 1) * most, most)
    rows = csr_array((values.numpy().ravel(), columns.numpy().ravel(), bounds), shape=(count, width))
    rows.eliminate_zeros()
    rows.sort_indices()
    return rows
