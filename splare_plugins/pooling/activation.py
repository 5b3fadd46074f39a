"""From pooled pre-activations to latent weights."""

from __future__ import annotations

import torch
from torch import Tensor


def activate(pooled: Tensor, bias: Tensor, threshold: Tensor) -> Tensor:
    """SPLADE's saturation over a JumpReLU: ``log1p(z)`` where ``z > max(threshold, 0)``, else 0.

    Args:
        pooled: maxima of ``h @ W.T``, shape ``[texts, width]``, -inf for a text without tokens.
        bias: ``b`` of the SAE, shape ``[width]``.
        threshold: ``theta`` of the SAE, shape ``[width]``; 0 is a plain ReLU.

    Returns:
        Latent weights in float32, shape ``[texts, width]`` (arXiv 2603.13277, section 3).
    """
    z = pooled.float() + bias
    # log1p of -inf is NaN and would poison the gradient, so the argument is replaced, not the result. A NaN stays one:
    # it must not look like a latent that is off.
    return torch.log1p(torch.where(z <= threshold.clamp(min=0), 0, z))
