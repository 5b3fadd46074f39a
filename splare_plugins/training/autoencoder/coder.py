"""sparsify's TopK autoencoder, its loss, its decoder of unit norm and its optimiser, a step at a time.

Its ``Trainer`` takes a model and rows of tokens of one length, without a mask, so texts would not be read as an
encoder of ours reads them; it sees tokens in the order of their texts; and a run that it loads goes on from the
averaged weights in place of those that were trained, so not to the same result. Hence its parts, in its loop's order.
"""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from typing import Any, NamedTuple

import torch
from schedulefree import ScheduleFreeWrapper  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn import functional

from splare_plugins.errors import SplareError
from splare_plugins.training.autoencoder.settings import SaeSettings

# Its kernel in Triton takes no processor; =0 asks for it where a GPU trains.
os.environ.setdefault("SPARSIFY_DISABLE_TRITON", "1")
with redirect_stdout(io.StringIO()):  # it prints which kernel it takes
    from sparsify import SaeConfig, SparseCoder
    from sparsify.fused_encoder import EncoderOutput
    from sparsify.sign_sgd import SignSGD

AUXK = 1 / 32
"""Weight of the auxiliary loss, that of Gao et al. (arXiv 2406.04093)."""
_AT_ONCE = 1024


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


class Measured(NamedTuple):
    """What an SAE makes of states."""

    explained: float
    """Share of their variance that it rebuilds."""
    l0: float
    """Mean number of active latents of a token."""


class Learner:
    """An SAE, its optimiser, and how long ago each latent fired.

    States are brought to a mean norm of sqrt(d) while it learns, since the steps of sparsify's optimiser have one
    length whatever the states' is; at the end the scale goes into the weights, and the SAE takes states as they are.

    Args:
        d_model: size of the states.
        settings: of the training.
        device: where to train.
    """

    def __init__(self, d_model: int, settings: SaeSettings, device: torch.device) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            coder = Coder(d_model, SaeConfig(num_latents=settings.width, k=settings.k))
        self.coder = coder.to(device)
        self.scale = 1.0
        self.dead_after = settings.dead_after
        self.since_fired = torch.zeros(settings.width, dtype=torch.long, device=device)
        self._optimizer = ScheduleFreeWrapper(SignSGD(self.coder.parameters(), lr=settings.rate), momentum=0.95)
        self._optimizer.train()

    def begin(self, states: Tensor) -> None:
        """Take the scale from some states, and their mean as the decoder's bias."""
        states = states.float()
        self.scale = float(states.shape[1] ** 0.5 / states.norm(dim=1).mean())
        self.coder.b_dec.data = states.mean(0) * self.scale

    def step(self, states: Tensor) -> float:
        """Learn from a batch; the share of its variance that was explained before.

        Raises:
            SplareError: if the loss is not finite.
        """
        coder = self.coder
        coder.set_decoder_norm_to_unit_norm()
        dead = self.since_fired > self.dead_after
        coder.whole = bool(dead.any())
        out = coder(states.float() * self.scale, dead_mask=dead)
        loss = out.fvu + AUXK * out.auxk_loss
        if not bool(loss.isfinite()):
            raise SplareError(
                f"the loss is {loss.item()}: the states of a batch are all alike, or the learning rate is too high; "
                "give other text, raise --batch, or lower --lr"
            )
        loss.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.since_fired += len(states)
        # Of a token with fewer positive latents than k, the others are zeros that were chosen at random.
        self.since_fired[out.latent_indices[out.latent_acts > 0]] = 0
        return 1 - float(out.fvu.detach())

    @property
    def dead_share(self) -> float:
        """Share of the latents that have not fired for long."""
        return float((self.since_fired > self.dead_after).float().mean())

    @torch.no_grad()
    def finish(self) -> None:
        """Take the average of the weights over the steps, which is what the optimiser is made for; fold the scale."""
        self._optimizer.eval()
        self.coder.encoder.weight *= self.scale
        self.coder.W_dec /= self.scale
        self.coder.b_dec /= self.scale
        self.scale = 1.0

    @torch.no_grad()
    def measure(self, states: Tensor) -> Measured:
        """How well states are rebuilt."""
        states = states.float() * self.scale
        total, lost, active = (states - states.mean(0)).square().sum(), 0.0, 0
        for part in states.split(_AT_ONCE):
            out = self.coder(part, total_variance=total)
            lost += float(out.fvu)
            active += int((out.latent_acts > 0).sum())
        return Measured(1 - lost, active / len(states))

    def state(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {
            "coder": self.coder.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "since_fired": self.since_fired,
            "scale": self.scale,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self.coder.load_state_dict(state["coder"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.since_fired = state["since_fired"].to(self.since_fired.device)
        self.scale = state["scale"]
