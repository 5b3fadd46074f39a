"""From a model and texts to a static query encoder: targets, the bag's training, the table."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_array, vstack
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from splare_plugins.backbone.tokens import tokenise
from splare_plugins.config import FULL
from splare_plugins.corpus import read_queries
from splare_plugins.errors import InputError, SplareError
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.machine import Progress
from splare_plugins.machine.files import require_free
from splare_plugins.model.encoder import Encoder
from splare_plugins.model.splare import SplareModel
from splare_plugins.static.encoder import StaticQueryEncoder
from splare_plugins.static.folder import CARD_FILE, save_static
from splare_plugins.static.table import TokenTable
from splare_plugins.training.static.bag import TokenBag
from splare_plugins.training.static.settings import StaticSettings
from splare_plugins.training.static.start import rarity, states_alone
from splare_plugins.training.static.store import Store

Steps = Callable[[str, int], Progress]
"""Told what begins and how much there is to do; gives what is told of its progress."""

_AT_ONCE = 1024
_KEPT_AT_ONCE = 10_000
_LEAST_RATE = 0.1


def train_static(
    settings: StaticSettings,
    *,
    device: str = "auto",
    overwrite: bool = False,
    steps: Steps = lambda *_: lambda _: None,
) -> StaticQueryEncoder:
    """Train the query side of a model as a table of its tokens, and write it.

    Each text's vector by the full encoder is the target of the maximum over its tokens: the loss is one minus their
    cosine, a cross-entropy that tells a text's target from those of its batch, and the divergence between the rankings
    of other texts by both.

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
    texts = _texts(settings)
    tokenizer = Tokenizer.from_str(model.backbone.tokenizer.backend_tokenizer.to_str())
    tokenizer.no_padding()
    ids = [text.ids[text.keep] for text in _tokenised(tokenizer, texts, model.config.query.max_length)]
    dtype = "bfloat16" if settings.bfloat16 else "auto"
    full = SplareModel.from_pretrained(settings.model, device=device, dtype=dtype, query_encoder=FULL)
    store = Store(settings.work)
    targets = _targets(full, texts, store, steps("the full encoder reads the texts", len(texts)))
    usable = [number for number, tokens in enumerate(ids) if len(tokens) and targets[[number]].nnz]
    if len(usable) < settings.batch:
        raise InputError(f"{len(usable)} texts have a vector, fewer than a batch of {settings.batch}; give more texts")
    advance = steps("the backbone reads each token alone", len(model.backbone.tokenizer))
    key = f"states-{model.config.fingerprint()}"
    alone = torch.from_numpy(store.array(key, lambda: states_alone(model, advance).numpy()))
    bag = TokenBag(
        alone, rarity(tokenizer), model.head, norm_power=model.config.norm_power, bfloat16=settings.bfloat16
    )
    total = int(settings.epochs * len(usable)) // settings.batch
    advance = steps("the table is trained", total)
    cosines = [0.0]
    for cosine in _learn(bag, settings, ids, targets, usable, total):
        cosines.append(cosine)
        advance(1)
    rows = _rows(bag, settings.latents, steps("tokens become rows", len(alone)))
    encoder = StaticQueryEncoder(model.config, TokenTable.from_weights(rows, settings.latents), tokenizer)
    places = {"texts": [Path(source).name for source in settings.texts], "model": model.config.name}
    trained = {"texts": len(usable), "steps": total, "cosine": round(cosines[-1], 4)}
    save_static(encoder, output, settings={**asdict(settings), **places, "output": output.name}, trained=trained)
    return encoder


def _texts(settings: StaticSettings) -> list[str]:
    found = list(dict.fromkeys(query.text for source in settings.texts for query in read_queries(source)))
    random.Random(settings.seed).shuffle(found)
    return found[: settings.limit]


def _targets(full: Encoder, texts: Sequence[str], store: Store, advance: Progress) -> csr_array:
    """All weights of texts by the full encoder, in parts that a later run finds again."""
    parts = []
    for start in range(0, len(texts), _KEPT_AT_ONCE):
        part = texts[start : start + _KEPT_AT_ONCE]
        digest = sha256(json.dumps([full.config.fingerprint(), str(full.dtype), *part]).encode()).hexdigest()[:24]
        encode = partial(full.encode_queries, part, top_k=None, on_progress=advance)
        parts.append(store.matrix(f"texts-{digest}", encode))
    return csr_array(vstack(parts))


def _tokenised(tokenizer: Tokenizer, texts: Sequence[str], length: int) -> list:
    tokenizer.enable_truncation(length)
    return tokenise(lambda heads: list(tokenizer.encode_batch(heads)), texts, "", length)


def _learn(
    bag: TokenBag,
    settings: StaticSettings,
    ids: Sequence[np.ndarray],
    targets: csr_array,
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
        made = functional.normalize(bag([ids[number] for number in batch]), dim=1)
        others = order.choice(usable, settings.others) if settings.ranking else batch[:0]
        ranked = functional.normalize(torch.from_numpy(targets[[*batch, *others]].toarray()), dim=1)
        wanted = ranked[: len(batch)]
        cosine = (made * wanted).sum(1).mean()
        contrast = functional.cross_entropy(settings.scale * made @ wanted.T, torch.arange(len(batch)))
        loss = 1 - cosine + settings.contrast * contrast
        if settings.ranking:
            ours, theirs = ((settings.scale * each @ ranked.T).log_softmax(1) for each in (made, wanted))
            loss = loss + settings.ranking * functional.kl_div(ours, theirs, log_target=True, reduction="batchmean")
        if not torch.isfinite(loss):
            raise SplareError(f"step {step + 1}: the loss is {loss.item()}; lower learning_rate, now {rates[2]}")
        shared.zero_grad()
        own.zero_grad()
        loss.backward()
        shared.step()
        own.step()
        recent = [*recent[-99:], cosine.item()]
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
