"""The one hot operation: the maximum over a text's tokens of ``h @ W.T``, without storing ``h @ W.T``.

ReLU, JumpReLU, the bias and log1p are monotone in each latent, so they commute with the maximum:
``max_i f_j(h_i . W_j + b_j) = f_j(max_i h_i . W_j + b_j)``. :func:`sae_max_pool` therefore pools bare dot
products and :func:`activate` does the rest on one row per text. A per-token TopK SAE does not commute
(a latent lives in a token only while it is among that token's largest); :func:`topk_max_pool` is its exact
version. All of them work on packed tokens: texts one after the other, ``offsets`` marking their bounds.

May import torch and numpy only.
"""

from splare_plugins.pooling.activation import activate
from splare_plugins.pooling.chunked import sae_max_pool, topk_max_pool

__all__ = ["activate", "sae_max_pool", "topk_max_pool"]
