"""sparsify's TopK autoencoder, its loss, its decoder of unit norm and its optimiser, a step at a time.

Its ``Trainer`` takes a model and rows of tokens of one length, without a mask, so texts would not be read as an
encoder of ours reads them; it sees tokens in the order of their texts; and a run that it loads goes on from the
averaged weights in place of those that were trained, so not to the same result. Hence its parts, in its loop's order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from schedulefree import ScheduleFreeWrapper  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn import functional

from splare_plugins.heads import SparseAutoencoder
from splare_plugins.heads.importers import sparsify
from splare_plugins.heads.importers.fold import Hints
from splare_plugins.training.autoencoder.learner import Learner, require_finite_loss
from splare_plugins.training.autoencoder.settings import SaeSettings

sparsify.import_library()  # quietly, before the parts of it
from sparsify import SaeConfig, SparseCoder  # noqa: E402
from sparsify.fused_encoder import EncoderOutput  # noqa: E402
from sparsify.sign_sgd import SignSGD  # noqa: E402

AUXK = 1 / 32
"""Weight of the auxiliary loss, that of Gao et al. (arXiv 2406.04093)."""


class Coder(SparseCoder):
    """The library's autoencoder, with a gradient for the encoder rows of dead latents.

    Its fused encoder passes gradients to the chosen k of a token alone, so the auxiliary loss would move the decoder
    of dead latents and never what decides whether they fire.

    Attributes:
        whole: whether gradients go to all latents; slower, and of use only while some are dead.
    """

    whole = False

    def encode(self, x: Tensor) -> Any:
        """The k largest of each token, their ids, and all latents."""
        if not self.whole:
            return super().encode(x)
        latents = functional.relu(functional.linear(x - self.b_dec, self.encoder.weight, self.encoder.bias))
        values, indices = latents.topk(self.cfg.k, dim=-1, sorted=False)
        return EncoderOutput(values, indices, latents)


class TopKLearner(Learner):
    """A TopK SAE, its optimiser, and how long ago each latent fired.

    Args:
        d_model: size of the states.
        settings: of the training.
        device: where to train.
    """

    library = "eai-sparsify"

    def __init__(self, d_model: int, settings: SaeSettings, device: torch.device) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            coder = Coder(d_model, SaeConfig(num_latents=settings.width, k=settings.k))
        self.coder = coder.to(device)
        self.dead_after = settings.dead_after
        self.since_fired = torch.zeros(settings.width, dtype=torch.long, device=device)
        self._optimizer = ScheduleFreeWrapper(SignSGD(self.coder.parameters(), lr=settings.rate), momentum=0.95)
        self._optimizer.train()

    def start(self, states: Tensor) -> None:  # noqa: D102
        self.coder.b_dec.data = states.mean(0) * self.scale

    def step(self, states: Tensor) -> float:  # noqa: D102
        coder = self.coder
        coder.set_decoder_norm_to_unit_norm()
        dead = self.since_fired > self.dead_after
        coder.whole = bool(dead.any())
        out = coder(states.float() * self.scale, dead_mask=dead)
        loss = out.fvu + AUXK * out.auxk_loss
        require_finite_loss(loss)
        loss.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.since_fired += len(states)
        # Of a token with fewer positive latents than k, the others are zeros that were chosen at random.
        self.since_fired[out.latent_indices[out.latent_acts > 0]] = 0
        return 1 - float(out.fvu.detach())

    @property
    def dead_share(self) -> float:  # noqa: D102
        return float((self.since_fired > self.dead_after).float().mean())

    @torch.no_grad()
    def finish(self) -> None:
        """Take the average of the weights over the steps, which is what the optimiser is made for; fold the scale."""
        self._optimizer.eval()
        self.coder.encoder.weight *= self.scale
        self.coder.W_dec /= self.scale
        self.coder.b_dec /= self.scale
        self.scale = 1.0

    def rebuild(self, states: Tensor) -> tuple[Tensor, int]:  # noqa: D102
        out = self.coder(states)
        return out.sae_out, int((out.latent_acts > 0).sum())

    def head(self, folder: Path, layer: int) -> SparseAutoencoder:  # noqa: D102
        place = folder / f"layers.{layer}"
        self.coder.save_to_disk(place)
        return sparsify.read(place, Hints())

    def state(self) -> dict[str, Any]:  # noqa: D102
        return {
            "coder": self.coder.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "since_fired": self.since_fired,
            "scale": self.scale,
        }

    def load_state(self, state: dict[str, Any]) -> None:  # noqa: D102
        self.coder.load_state_dict(state["coder"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.since_fired = state["since_fired"].to(self.since_fired.device)
        self.scale = state["scale"]
