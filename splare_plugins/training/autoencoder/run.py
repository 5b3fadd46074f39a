"""Training of an SAE: states in, shuffled in a bounded buffer, a head out."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from splare_plugins.backbone import load_backbone
from splare_plugins.backbone.placement import choose_device, choose_precision, require_package
from splare_plugins.config import HEAD_CARD, SideConfig, SplareConfig
from splare_plugins.corpus import Fields, read_documents, source_identity
from splare_plugins.corpus.readers import OnDuplicate
from splare_plugins.corpus.sources import Source
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.heads.importers import sparsify
from splare_plugins.heads.importers.fold import Hints
from splare_plugins.machine.files import require_free
from splare_plugins.machine.folders import replacing_folder, require_elsewhere
from splare_plugins.model.assemble import backbone_settings, choose_length, identify
from splare_plugins.training.autoencoder.settings import SaeSettings
from splare_plugins.training.autoencoder.states import States
from splare_plugins.training.autoencoder.unfinished import Unfinished

logger = logging.getLogger(__name__)

MANY_DEAD = 0.5
_SAVE_SECONDS = 300.0
_REPORTS = 10


class Progressed(NamedTuple):
    """Where a training stands."""

    tokens: int
    """Learnt from so far."""
    explained: float
    """Of the last batch, before its step."""
    dead_share: float


def train_sae(
    settings: SaeSettings,
    corpus: Source,
    output: Path,
    *,
    fields: Fields | None = None,
    on_duplicate: OnDuplicate = "error",
    device: str = "auto",
    overwrite: bool = False,
    save_seconds: float = _SAVE_SECONDS,
    on_progress: Callable[[int], None] | None = None,
    on_report: Callable[[Progressed], None] | None = None,
) -> SparseAutoencoder:
    """Train a TopK SAE on the states of a backbone's layer, and write it as ``splare sae import`` writes one.

    No more states are kept than the buffer holds. A training that was killed goes on to the same result when it is
    started again with the same settings, from ``OUTPUT.unfinished``.

    Args:
        settings: of the training.
        corpus: as :func:`read_documents` takes it.
        output: folder to make.
        fields: of the corpus.
        on_duplicate: likewise.
        device: where backbone and SAE run.
        overwrite: replace the SAE that ``output`` holds, and an interrupted training with other settings.
        save_seconds: time between two savings of what is there.
        on_progress: is told how many more tokens were learnt from.
        on_report: is told ten times how it goes.

    Returns:
        the head, whose card says how well it rebuilds states of documents that it was not trained on.

    Raises:
        InputError: for settings, a backbone or a corpus that do not give an SAE, or an output that is there.
        SplareError: for states or a loss that are not finite.
        MissingPartError: if sparsify is not installed.
    """
    require_package("sparsify", "SAEs of one's own", "train")
    from splare_plugins.training.autoencoder.coder import Learner

    require_free(output, overwrite=overwrite, marker=HEAD_CARD, what="SAE")
    require_elsewhere(output)
    where = choose_device(device, None)
    config, source = identify(
        SplareConfig(
            name=settings.backbone,
            revision="as published",
            backbone=settings.backbone,
            backbone_revision=settings.revision,
            layer=settings.layer,
            width=settings.width,
            bidirectional=settings.bidirectional,
            max_token_norm_ratio=settings.max_token_norm_ratio,
        )
    )
    length = choose_length(backbone_settings(source), settings.max_length, settings.backbone)
    side = SideConfig(prompt=settings.prompt, max_length=length)
    config = dataclasses.replace(config, document=side, query=side)
    data = {
        "corpus": source_identity(corpus, fields=fields),
        "backbone": str(config.backbone_sha256 or config.backbone_revision),
    }
    unfinished = Unfinished(output, settings, data, overwrite=overwrite)
    backbone = load_backbone(config, Path(), device=where, dtype=choose_precision(settings.dtype, where))
    documents = partial(read_documents, corpus, on_duplicate=on_duplicate, fields=fields)
    states = States(backbone, documents, config, settings)
    held_out = states.held_out()
    learner = Learner(held_out.shape[1], settings, held_out.device)
    shuffling = torch.Generator().manual_seed(settings.seed)
    waiting, step, untrained = held_out[:0], 0, 0.0
    if (saved := unfinished.state) is not None:
        learner.load_state(saved)
        shuffling.set_state(saved["shuffling"])
        waiting, step, untrained = saved["waiting"].to(held_out.device), saved["step"], saved["untrained"]
        states.go_to(saved["passes"], saved["position"])
        logger.info("going on from %s after %d tokens", unfinished.path, step * settings.batch)
        if on_progress is not None:
            on_progress(step * settings.batch)
    due = time.monotonic()  # a place that cannot be written to is found early
    while step < settings.steps:
        left = settings.steps - step
        wanted = min(settings.buffer, left * settings.batch)
        if len(waiting) < wanted:
            waiting = torch.cat([waiting, states.read(wanted - len(waiting))])
        waiting = waiting[torch.randperm(len(waiting), generator=shuffling).to(waiting.device)]
        if step == 0:
            learner.begin(waiting)
            untrained = learner.measure(held_out).explained
        # Half stays, to be mixed with what is read next; the end takes all.
        steps = left if left * settings.batch <= len(waiting) else settings.buffer // (2 * settings.batch)
        taken, waiting = waiting[: steps * settings.batch], waiting[steps * settings.batch :]
        for batch in taken.split(settings.batch):
            explained = learner.step(batch)
            step += 1
            if on_progress is not None:
                on_progress(settings.batch)
            if on_report is not None and step * _REPORTS // settings.steps > (step - 1) * _REPORTS // settings.steps:
                on_report(Progressed(step * settings.batch, explained, learner.dead_share))
        if time.monotonic() >= due and step < settings.steps:
            unfinished.save(
                {
                    **learner.state(),
                    **{"shuffling": shuffling.get_state(), "waiting": waiting.clone()},
                    **{"passes": states.passes, "position": states.position, "step": step, "untrained": untrained},
                }
            )
            due = time.monotonic() + save_seconds
    learner.finish()
    measured = learner.measure(held_out)
    facts = {
        "source": f"splare sae train (eai-sparsify {version('eai-sparsify')})",
        "base_model": settings.backbone,
        "backbone_revision": config.backbone_revision,
        "backbone_sha256": config.backbone_sha256,
        "bidirectional": settings.bidirectional,
        "prompt": settings.prompt,
        "max_length": length,
        "max_token_norm_ratio": settings.max_token_norm_ratio,
        "trained_tokens": step * settings.batch,
        "passes": states.passes + (states.position > 0),
        "batch": settings.batch,
        "learning_rate": settings.rate,
        "seed": settings.seed,
        "corpus": data["corpus"],
        "held_out_tokens": len(held_out),
        "explained_variance": round(measured.explained, 4),
        "explained_untrained": round(untrained, 4),
        "l0": round(measured.l0, 2),
        "dead_share": round(learner.dead_share, 4),
        "dead_after": settings.dead_after,
    }
    head = _write(learner.coder, settings.layer, facts, output)
    unfinished.remove()
    if learner.dead_share > MANY_DEAD:
        logger.warning(
            "%.0f %% of the latents have not fired for %d tokens; train with a smaller --width, more --tokens, a "
            "larger --k, or more text",
            100 * learner.dead_share,
            settings.dead_after,
        )
    return head


def _write(coder: Any, layer: int, facts: dict[str, Any], output: Path) -> SparseAutoencoder:
    """The library's own file, read as any other of its files is."""
    with TemporaryDirectory(prefix="splare-sae-") as place:
        folder = Path(place) / f"layers.{layer}"
        coder.save_to_disk(folder)
        head = sparsify.read(folder, Hints())
    head.card |= facts
    with replacing_folder(output) as made:
        head.save(made)
    return head
