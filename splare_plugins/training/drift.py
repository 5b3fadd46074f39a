"""How far the latents have moved from those of the base model, whose meaning people may have written down.

Three figures: the cosine of a text's vector now with that of the base; how many latents a token has (L0); and how much
of a token's state they account for. The decoder is not kept, so this reconstruction is the best one that the encoder's
own rows can make of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from splare_plugins.machine.files import replacing
from splare_plugins.st import SplareEncoder

PROBE = "probe.safetensors"
_TEXTS, _TOKENS = 16, 512
_AT_ONCE = 64


class Probe(NamedTuple):
    """What is measured of the probe; written down of the base."""

    vectors: Tensor
    """Of the texts, shape ``[texts, width]``."""
    active: Tensor
    """Mean number of active latents of a token."""
    center: Tensor
    """Mean state of the base's tokens, shape ``[state_size]``."""
    explained: Tensor
    """See :func:`explained`; with the base's center, as the bias of a decoder stays what it was."""


class Drift:
    """A probe of training texts, encoded by the base once.

    Args:
        encoder: what is trained.
        queries: texts to take the probe from.
        documents: likewise.
        folder: keeps the base's vectors, for a run that goes on.
    """

    def __init__(self, encoder: SplareEncoder, queries: list[str], documents: list[str], folder: Path) -> None:
        self.encoder = encoder
        self.texts = {"query": queries[:_TEXTS], "document": documents[:_TEXTS]}
        path = folder / PROBE
        if not path.is_file():
            with replacing(path) as beside:
                save_file(self._encode()._asdict(), beside)
        self.base = Probe(**load_file(path))

    def measure(self) -> dict[str, float]:
        """Cosine with the base's vectors; active latents of a token and the part they explain, now and then."""
        now = self._encode(self.base.center)
        return {
            "drift_cosine": float(functional.cosine_similarity(now.vectors, self.base.vectors).mean()),
            "token_active": float(now.active),
            "token_active_base": float(self.base.active),
            "token_explained": float(now.explained),
            "token_explained_base": float(self.base.explained),
        }

    @torch.inference_mode()
    def _encode(self, center: Tensor | None = None) -> Probe:
        training = self.encoder.training
        self.encoder.eval()
        try:
            vectors, states = [], []
            for side, texts in self.texts.items():
                prompt = self.encoder.prompts.get(side) or ""
                features = self.encoder.preprocess(texts, task=side, prompt=prompt)
                features = {name: value.to(self.encoder.device) for name, value in features.items()}
                vectors.append(self.encoder(features)["sentence_embedding"].float().cpu())
                kept = features["attention_mask"].bool() & features["keep"].bool()
                states.append(features["token_embeddings"][kept][:_TOKENS].float())
        finally:
            self.encoder.train(training)
        tokens = torch.cat(states)
        center = tokens.mean(0) if center is None else center.to(tokens.device)
        rows = self.encoder[1].head.W
        active = [each for part in tokens.split(_AT_ONCE) for each in self._active(part.to(rows.dtype))]
        return Probe(
            vectors=torch.cat(vectors),
            active=torch.tensor([len(each) for each in active]).float().mean(),
            center=center.cpu(),
            explained=explained(tokens - center, rows, active),
        )

    def _active(self, states: Tensor) -> list[Tensor]:
        """The active latents of each token."""
        offsets = torch.arange(len(states) + 1, device=states.device)  # every token a text of its own
        keep = torch.ones(len(states), dtype=torch.bool, device=states.device)
        return [weights.nonzero()[:, 0] for weights in self.encoder[1].head(states, offsets, keep)]


def explained(states: Tensor, rows: Tensor, active: Sequence[Tensor]) -> Tensor:
    """The share of the states' squared norm that lies in the span of the rows of their active latents.

    No decoder whose directions are the encoder's can reconstruct more with the same latents, whatever their weights.

    Args:
        states: of tokens, less the bias of the decoder or what stands for it, shape ``[tokens, state_size]``.
        rows: of the encoder, shape ``[width, state_size]``.
        active: latents of each token.

    Returns:
        between 0 and 1, shape ``[]``.
    """
    within = states.new_zeros(())
    for state, latents in zip(states, active, strict=True):
        if len(latents) < len(state):
            basis = torch.linalg.qr(rows[latents].float().T).Q
            within += (basis.T @ state).square().sum()
        else:  # their rows span everything
            within += state.square().sum()
    return (within / states.square().sum()).cpu()
