"""SAELens' BatchTopK and JumpReLU autoencoders under its own trainer, a step at a time.

Its runner reads texts with TransformerLens, which has few of our backbones and no mask that a retrieval model reads
with; its trainer takes states from anywhere, so it is given ours. Both kinds end as a threshold for each latent.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from splare_plugins.heads import SparseAutoencoder
from splare_plugins.heads.importers import saelens
from splare_plugins.heads.importers.fold import Hints
from splare_plugins.machine.quiet import importing_saelens
from splare_plugins.training.autoencoder.learner import Learner, require_finite_loss
from splare_plugins.training.autoencoder.settings import BATCHTOPK, SaeSettings

with importing_saelens():
    from sae_lens.config import SAETrainerConfig
    from sae_lens.saes import (
        BatchTopKTrainingSAE,
        BatchTopKTrainingSAEConfig,
        JumpReLUTrainingSAE,
        JumpReLUTrainingSAEConfig,
        TrainingSAE,
    )
    from sae_lens.saes.sae import SAEMetadata
    from sae_lens.training.sae_trainer import SAETrainer

_DECAY = 5
"""The learning rate falls to nothing over the last of so many parts."""
_BANDWIDTH = 2.0
"""Of the estimate of a threshold's gradient, on states of norm sqrt(d)."""
_FIRST_NORM = 0.3
"""Of JumpReLU's decoder rows at first: with SAELens' 0.1, a third of 1,024 latents were dead after 200 steps."""
_FOLLOWED = 10
"""BatchTopK's threshold is an average over at least so many parts of the training, SAELens' 100 steps at most."""


class ThresholdLearner(Learner):
    """An SAE whose latents fire above a threshold.

    Args:
        d_model: size of the states.
        settings: of the training.
        device: where to train.
    """

    library = "sae-lens"

    def __init__(self, d_model: int, settings: SaeSettings, device: torch.device) -> None:
        self.k = settings.k
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.sae = _untrained(d_model, settings).to(device)
        config = SAETrainerConfig(
            total_training_samples=settings.steps * settings.batch,
            train_batch_size_samples=settings.batch,
            lr=settings.rate,
            lr_end=settings.rate,
            lr_decay_steps=settings.steps // _DECAY,
            device=str(device),
            dead_feature_window=math.ceil(settings.dead_after / settings.batch),
        )
        self._trainer = SAETrainer(config, self.sae, iter(()))

    @property
    def threshold(self) -> Tensor:
        """Of all latents together, or of each."""
        return self.sae.topk_threshold if isinstance(self.sae, BatchTopKTrainingSAE) else self.sae.threshold

    @torch.no_grad()
    def start(self, states: Tensor) -> None:
        """With thresholds at which k latents of a token fire, or a short training would end before they are there."""
        self.sae.b_dec.data = states.mean(0) * self.scale
        some = states[: self._trainer.cfg.train_batch_size_samples] * self.scale
        _, values = self.sae.encode_with_hidden_pre(some)
        self.threshold.fill_(float(values.relu().flatten().topk(self.k * len(some)).values[-1]))

    def step(self, states: Tensor) -> float:  # noqa: D102
        states = states.float()
        self._trainer.activation_scaler.scaling_factor = self.scale
        out = self._trainer.step(states)
        self._trainer.n_training_steps += 1
        variance = (out.sae_in - out.sae_in.mean(0)).square().sum(1).mean()
        require_finite_loss(out.loss.detach() / variance)
        return 1 - float(out.losses["mse_loss"].detach() / variance)

    def rebuild(self, states: Tensor) -> tuple[Tensor, int]:
        """As it will be used: by BatchTopK's threshold, not by a comparison of the tokens of a batch."""
        _, values = self.sae.encode_with_hidden_pre(states)
        active = values * (values > self.threshold)
        return self.sae.decode(active), int((active > 0).sum())

    @property
    def dead_share(self) -> float:  # noqa: D102
        return float(self._trainer.dead_neurons.float().mean())

    def finish(self) -> None:  # noqa: D102
        self.sae.fold_activation_norm_scaling_factor(self.scale)
        self.scale = 1.0

    def head(self, folder: Path, layer: int) -> SparseAutoencoder:  # noqa: D102
        self.sae.cfg.metadata = SAEMetadata(hook_name=f"blocks.{layer}.hook_resid_post")
        self.sae.save_inference_model(folder)
        return saelens.read(folder, Hints())

    def state(self) -> dict[str, Any]:  # noqa: D102
        trainer = self._trainer
        return {
            "coder": self.sae.state_dict(),
            "optimizer": trainer.optimizer.state_dict(),
            "schedule": trainer.lr_scheduler.state_dict(),
            "coefficients": {name: each.state_dict() for name, each in trainer.coefficient_schedulers.items()},
            "since_fired": trainer.n_forward_passes_since_fired,
            "steps": trainer.n_training_steps,
            "scale": self.scale,
        }

    def load_state(self, state: dict[str, Any]) -> None:  # noqa: D102
        trainer = self._trainer
        self.sae.load_state_dict(state["coder"])
        trainer.optimizer.load_state_dict(state["optimizer"])
        trainer.lr_scheduler.load_state_dict(state["schedule"])
        for name, each in state["coefficients"].items():
            trainer.coefficient_schedulers[name].load_state_dict(each)
        trainer.n_forward_passes_since_fired = state["since_fired"].to(self.sae.device)
        trainer.n_training_steps = state["steps"]
        self.scale = state["scale"]


def _untrained(d_model: int, settings: SaeSettings) -> TrainingSAE[Any]:
    if settings.activation == BATCHTOPK:
        rate = max(0.01, _FOLLOWED / settings.steps)
        return BatchTopKTrainingSAE(
            BatchTopKTrainingSAEConfig(
                d_in=d_model, d_sae=settings.width, k=settings.k, topk_threshold_lr=min(1.0, rate)
            )
        )
    # The quadratic loss of Gemma Scope 2 aims at k latents; gradients go to the encoder too, as at Anthropic.
    return JumpReLUTrainingSAE(
        JumpReLUTrainingSAEConfig(
            d_in=d_model,
            d_sae=settings.width,
            jumprelu_sparsity_loss_mode="quadratic",
            target_l0=settings.k,
            jumprelu_bandwidth=_BANDWIDTH,
            decoder_init_norm=_FIRST_NORM,
            jumprelu_ste_to_input=True,
        )
    )
