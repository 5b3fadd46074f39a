"""Small numbers for the latents that a collection uses, which ``sparse_vector`` fields need.

Such a field folds its keys into 15 or 16 bits (modulo 65,536 in OpenSearch 3.3 to 3.8, where half of that range does
not work; modulo 32,768 from 3.9 on), so that latents of wide models collide. Numbers below 32,768 are safe in every
version.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_array

from splare_plugins.errors import InputError
from splare_plugins.impacts import latent_term

MAX_FEATURES = 1 << 15


class FeatureMap:
    """Latents that are in use, numbered in their order from 0.

    Args:
        latents: ids that may occur in documents, any order.
        width: latents of the model.

    Raises:
        InputError: if more than 32,768 latents are in use.
    """

    def __init__(self, latents: np.ndarray, width: int) -> None:
        self._used = np.zeros(width, dtype=bool)
        self._used[latents] = True
        used = np.flatnonzero(self._used).tolist()
        self._numbers = {latent_term(latent): str(number) for number, latent in enumerate(used)}
        if len(self) > MAX_FEATURES:
            raise InputError(
                f"{len(self)} latents are in use and a sparse_vector field holds {MAX_FEATURES}; prune the documents "
                "to fewer latents, or use rank_features"
            )

    @classmethod
    def of(cls, impacts: csr_array) -> FeatureMap:
        """The map of all latents of a collection, shape ``(n, width)``."""
        return cls(np.unique(impacts.indices), impacts.shape[1])

    def __len__(self) -> int:
        return len(self._numbers)

    def document(self, impacts: Mapping[str, int], docid: str) -> dict[str, int]:
        """A document's latents by number.

        Raises:
            InputError: for a latent that was not in use when the map was made.
        """
        try:
            return {self._numbers[term]: impact for term, impact in impacts.items()}
        except KeyError as error:
            raise InputError(
                f"the document {docid!r} has the latent {error.args[0]}, which the index's map of features lacks; "
                "make the index again with a map of all documents"
            ) from None

    def query(self, tokens: Mapping[str, float]) -> dict[str, float]:
        """A query's tokens by number; latents that no document has are left out, since they find nothing."""
        return {self._numbers[term]: weight for term, weight in tokens.items() if term in self._numbers}

    def to_text(self) -> str:
        """The map as text, for the mapping's ``_meta``: a compressed bit for each latent."""
        return base64.b64encode(zlib.compress(np.packbits(self._used).tobytes(), 9)).decode("ascii")

    @classmethod
    def from_text(cls, text: str, width: int) -> FeatureMap:
        """Read what :meth:`to_text` wrote.

        Raises:
            InputError: if it is damaged.
        """
        try:
            bits = np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), dtype=np.uint8)
            used = np.unpackbits(bits, count=width).astype(bool)
        except (ValueError, zlib.error) as error:
            raise InputError(f"the index's map of features is damaged ({error}); make the index again") from error
        if len(used) != width:
            raise InputError(f"the index's map of features is not of {width} latents; make the index again")
        return cls(np.flatnonzero(used), width)
