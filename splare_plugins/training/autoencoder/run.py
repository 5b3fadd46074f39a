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
from typing import TYPE_CHECKING, Any

from splare_plugins.backbone import load_backbone
from splare_plugins.backbone.placement import choose_device, choose_precision
from splare_plugins.config import HEAD_CARD, SideConfig, SplareConfig
from splare_plugins.corpus import Fields, read_documents, source_identity
from splare_plugins.corpus.readers import OnDuplicate
from splare_plugins.corpus.sources import Source
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.machine.files import require_free
from splare_plugins.machine.folders import replacing_folder, require_elsewhere
from splare_plugins.machine.packages import require_package
from splare_plugins.model.assemble import backbone_settings, choose_length, identify
from splare_plugins.training.autoencoder.settings import TOPK, SaeSettings
from splare_plugins.training.autoencoder.states import States
from splare_plugins.training.autoencoder.unfinished import Unfinished

if TYPE_CHECKING:
    from splare_plugins.training.autoencoder.loop import Loop, Progressed

logger = logging.getLogger(__name__)

MANY_DEAD = 0.5
_SAVE_SECONDS = 300.0


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
    """Train an SAE on the states of a backbone's layer, and write it as ``splare sae import`` writes one.

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
        MissingPartError: if the library of this kind is not installed.
    """
    if settings.activation == TOPK:
        require_package("sparsify", "TopK SAEs of one's own", "train")
    else:
        require_package("sae_lens", "BatchTopK and JumpReLU SAEs of one's own", "saelens")
    from splare_plugins.training.autoencoder.loop import Loop

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
    loop = Loop(States(backbone, documents, config, settings), settings)
    if unfinished.state is not None:
        loop.load_state(unfinished.state)
        logger.info("going on from %s after %d tokens", unfinished.path, loop.tokens)
        if on_progress is not None:
            on_progress(loop.tokens)
    due = time.monotonic()  # a place that cannot be written to is found early
    for _ in loop.rounds(on_progress, on_report):
        if time.monotonic() >= due and loop.step < settings.steps:
            unfinished.save(loop.state())
            due = time.monotonic() + save_seconds
    loop.learner.finish()
    with TemporaryDirectory(prefix="splare-sae-") as place:
        head = loop.learner.head(Path(place), settings.layer)
    head.card |= _facts(loop, config, data["corpus"])
    with replacing_folder(output) as made:
        head.save(made)
    unfinished.remove()
    if (dead := loop.learner.dead_share) > MANY_DEAD:
        logger.warning(
            "%.0f %% of the latents have not fired for %d tokens; train with a smaller --width, more --tokens, a "
            "larger --k, or more text",
            100 * dead,
            settings.dead_after,
        )
    return head


def _facts(loop: Loop, config: SplareConfig, corpus: str) -> dict[str, Any]:
    """What the head's card says of its training, and how well it went."""
    settings, measured = loop.settings, loop.learner.measure(loop.held_out)
    library = loop.learner.library
    return {
        "source": f"splare sae train ({library} {version(library)})",
        # Of one on this machine its name and hash: a path says nothing elsewhere, and is nobody's business there.
        "base_model": Path(config.backbone).name if Path(config.backbone).is_absolute() else config.backbone,
        "backbone_revision": config.backbone_revision,
        "backbone_sha256": config.backbone_sha256,
        "bidirectional": config.bidirectional,
        "prompt": config.document.prompt,
        "max_length": config.document.max_length,
        "max_token_norm_ratio": config.max_token_norm_ratio,
        "trained_tokens": loop.tokens,
        "passes": loop.states.passes + (loop.states.position > 0),
        "trained_as": settings.activation,
        "trained_k": settings.k,
        "batch": settings.batch,
        "learning_rate": settings.rate,
        "seed": settings.seed,
        "corpus": corpus,
        "held_out_tokens": len(loop.held_out),
        "explained_variance": round(measured.explained, 4),
        "explained_untrained": round(loop.untrained, 4),
        "l0": round(measured.l0, 2),
        "published_l0": round(measured.l0, 2),
        "dead_share": round(loop.learner.dead_share, 4),
        "dead_after": settings.dead_after,
    }
