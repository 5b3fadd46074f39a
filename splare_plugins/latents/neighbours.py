"""Which latents fire in the same contexts."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array, diags_array

_CHUNK = 1024


def co_firing(fired: csr_array, *, count: int) -> list[list[tuple[int, float]]]:
    """For each latent the others whose firings are most alike, with the cosine, falling.

    Args:
        fired: contexts by latents, 1 where a latent fired.
        count: neighbours of each.
    """
    lengths = np.sqrt(np.asarray(fired.sum(0)).ravel())
    scaled = csr_array(fired @ diags_array(1 / np.maximum(lengths, 1)))
    by_latent = csr_array(scaled.T)
    found: list[list[tuple[int, float]]] = []
    for first in range(0, fired.shape[1], _CHUNK):
        block = csr_array(by_latent[first : first + _CHUNK] @ scaled)
        for row in range(block.shape[0]):
            part = slice(block.indptr[row], block.indptr[row + 1])
            latents, cosines = block.indices[part], block.data[part]
            order = [each for each in np.argsort(-cosines, kind="stable")[: count + 1] if latents[each] != first + row]
            found.append([(int(latents[each]), round(float(cosines[each]), 3)) for each in order[:count]])
    return found
