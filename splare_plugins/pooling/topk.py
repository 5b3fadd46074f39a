"""The exact pool of per-token TopK SAEs, in two passes and without tokens x width memory."""

from __future__ import annotations

from torch import Tensor

from splare_plugins.pooling.chunked import drop_tokens, max_pool


def topk_max_pool(
    states: Tensor,
    weight: Tensor,
    bias: Tensor,
    k: int,
    offsets: Tensor,
    keep: Tensor,
    *,
    chunk: int | None = None,
) -> Tensor:
    """Maximum over each text's kept tokens of the ``k`` largest ``states @ weight.T + bias`` of each token.

    The first pass finds every token's k-th largest value, the second pools what is not below it; latents
    that tie with the k-th all count. Arguments are those of
    :func:`splare_plugins.pooling.sae_max_pool`.

    Args:
        states: shape ``[tokens, d]``.
        weight: shape ``[width, d]``.
        bias: shape ``[width]``; part of the result here, since it decides which latents are largest.
        k: latents kept per token.
        offsets: shape ``[texts + 1]``.
        keep: shape ``[tokens]``, boolean.
        chunk: latents computed at a time; ``None`` takes what suits the device.

    Returns:
        shape ``[texts, width]``; -inf where no token of the text kept the latent.
    """
    states, offsets = drop_tokens(states, offsets, keep)
    return max_pool(states, weight, bias, k, offsets, chunk)
