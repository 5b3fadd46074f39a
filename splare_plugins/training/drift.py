"""How far the latents have moved from those of the base model, whose meaning people may have written down.

The decoder is not kept, so there is no reconstruction to compare; two things stand for it: how many latents a token
has, and the cosine of a text's vector now with that of the base.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from splare_plugins.files import replacing
from splare_plugins.st import SplareEncoder

PROBE = "probe.safetensors"
_TEXTS, _TOKENS = 16, 512
_AT_ONCE = 64


class Drift:
    """A probe of training texts, encoded by the base once.

    Args:
        encoder: what is trained.
        queries: texts to take the probe from.
        documents: the same.
        folder: keeps the base's vectors, for a run that goes on.
    """

    def __init__(self, encoder: SplareEncoder, queries: list[str], documents: list[str], folder: Path) -> None:
        self.encoder = encoder
        self.texts = {"query": queries[:_TEXTS], "document": documents[:_TEXTS]}
        path = folder / PROBE
        if not path.is_file():
            vectors, active = self._encode()
            with replacing(path) as beside:
                save_file({"vectors": vectors, "active": active}, beside)
        found = load_file(path)
        self._base, self._base_active = found["vectors"], float(found["active"])

    def measure(self) -> dict[str, float]:
        """Cosine with the base's vectors, and active latents of a token now and then."""
        vectors, active = self._encode()
        return {
            "drift_cosine": float(functional.cosine_similarity(vectors, self._base).mean()),
            "token_active": float(active),
            "token_active_base": self._base_active,
        }

    @torch.inference_mode()
    def _encode(self) -> tuple[Tensor, Tensor]:
        training = self.encoder.training
        self.encoder.eval()
        try:
            vectors, counts = [], []
            for side, texts in self.texts.items():
                prompt = self.encoder.prompts.get(side) or ""
                features = self.encoder.preprocess(texts, task=side, prompt=prompt)
                features = {name: value.to(self.encoder.device) for name, value in features.items()}
                vectors.append(self.encoder(features)["sentence_embedding"].float().cpu())
                kept = features["attention_mask"].bool() & features["keep"].bool()
                counts.append(self._active_of_tokens(features["token_embeddings"][kept]))
        finally:
            self.encoder.train(training)
        return torch.cat(vectors), torch.cat(counts).float().mean()

    def _active_of_tokens(self, states: Tensor) -> Tensor:
        head = self.encoder[1].head
        counts = []
        for part in states[:_TOKENS].to(head.W.dtype).split(_AT_ONCE):
            offsets = torch.arange(len(part) + 1, device=part.device)  # every token a text of its own
            keep = torch.ones(len(part), dtype=torch.bool, device=part.device)
            counts.append((head(part, offsets, keep) > 0).sum(1).cpu())
        return torch.cat(counts)
