"""Latent weights to integer impacts, and latent ids to the pseudo-terms that search engines index.

One linear scale per side and no offset keeps dot products proportional, so every engine ranks as the float
vectors would, up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from splare_plugins.config import CONFIG_FILE, SIDES, Side, SplareConfig
from splare_plugins.errors import InputError, splare_command

MAX_IMPACT = 255
_MAX_INT32 = 2**31 - 1


def latent_term(latent: int) -> str:
    """The pseudo-term of a latent id: 12345 becomes ``"f12345"``."""
    return f"f{latent}"


@lru_cache(maxsize=4)
def latent_terms(width: int) -> np.ndarray:
    """All pseudo-terms of a head with ``width`` latents: an object array, position = latent id."""
    return np.array([latent_term(latent) for latent in range(width)], dtype=object)


@lru_cache(maxsize=4)
def _latent_ids(width: int) -> dict[str, int]:
    return {term: latent for latent, term in enumerate(latent_terms(width).tolist())}


def latent_id(term: str) -> int:
    """The latent id of a pseudo-term.

    Raises:
        InputError: if ``term`` is not ``f`` and a plain decimal number.
    """
    digits = term[1:]
    if term[:1] != "f" or not digits.isascii() or not digits.isdigit() or (digits[0] == "0" and digits != "0"):
        raise InputError(f"{term!r} is not a pseudo-term of a latent; those look like f12345")
    return int(digits)


class Quantized(NamedTuple):
    """Impacts and what rounding did to the weights."""

    impacts: csr_array
    """int32, shape ``(n, width)``, values 1..255, sorted column ids."""
    row_clipped: np.ndarray
    """For each row, the weights that were above the top of the scale; int32, shape ``(n,)``."""
    row_dropped: np.ndarray
    """For each row, the weights that rounded to 0; int32, shape ``(n,)``."""

    @property
    def clipped(self) -> int:
        """Weights of all rows that were above the top of the scale."""
        return int(self.row_clipped.sum())

    @property
    def dropped(self) -> int:
        """Weights of all rows that rounded to 0."""
        return int(self.row_dropped.sum())


class Quantizer:
    """Linear quantisation of latent weights, one scale for queries and one for documents.

    Args:
        query_scale: impacts per unit of query weight.
        document_scale: impacts per unit of document weight.
    """

    def __init__(self, query_scale: float, document_scale: float) -> None:
        for side, scale in zip(SIDES, (query_scale, document_scale), strict=True):
            if not (np.isfinite(scale) and scale > 0):
                raise InputError(f"the {side} scale of a quantiser must be a positive number, not {scale}")
        self.query_scale = float(query_scale)
        self.document_scale = float(document_scale)

    @classmethod
    def from_config(cls, config: SplareConfig) -> Quantizer:
        """The quantiser whose scales are stored in a model's config.

        Raises:
            InputError: if the model was never calibrated.
        """
        query, document = config.query.scale, config.document.scale
        if query is None or document is None:
            place = config.location or "MODEL"
            command = ["calibrate", place, "CORPUS", "--queries", "QUERIES"]
            if not (Path(place) / CONFIG_FILE).is_file():  # what is not ours is calibrated as a copy
                command += ["-o", "FOLDER"]
            raise InputError(
                f"{config.name} has no quantiser scales; call model.calibrate(queries, documents), or run: "
                + splare_command(*command)
            )
        return cls(query, document)

    @classmethod
    def calibrate(cls, queries: csr_array, documents: csr_array, percentile: float = 99.9) -> Quantizer:
        """Scales that map a high percentile of each side's weights to the largest impact.

        Args:
            queries: float weights, shape ``(n, width)``, pruned as they will be when searching.
            documents: likewise for documents.
            percentile: of the non-zero weights; the few above it will be clipped.

        Raises:
            InputError: if one side has no non-zero weight.
        """
        for side, weights in zip(SIDES, (queries, documents), strict=True):
            if weights.nnz == 0:
                raise InputError(f"cannot calibrate a quantiser: the {side} sample has no active latent")
        return cls(
            MAX_IMPACT / float(np.percentile(queries.data, percentile)),
            MAX_IMPACT / float(np.percentile(documents.data, percentile)),
        )

    def queries(self, weights: csr_array, ids: Sequence[str] | None = None) -> Quantized:
        """Quantise query weights; see :meth:`quantize`."""
        return self.quantize(weights, "query", ids)

    def documents(self, weights: csr_array, ids: Sequence[str] | None = None) -> Quantized:
        """Quantise document weights; see :meth:`quantize`."""
        return self.quantize(weights, "document", ids)

    def quantize(self, weights: csr_array, side: Side, ids: Sequence[str] | None = None) -> Quantized:
        """Scale, round half up, clip at 255, drop zeros.

        Args:
            weights: non-negative finite floats, shape ``(n, width)``.
            side: whose scale holds.
            ids: names of the rows, for the error message.

        Raises:
            InputError: for NaN, infinite or negative weights, naming the row.
        """
        data = weights.data.astype(np.float64)
        bad = ~(np.isfinite(data) & (data >= 0))
        if bad.any():
            position = int(np.argmax(bad))
            row = int(np.searchsorted(weights.indptr, position, side="right")) - 1
            name = f"row {row}" if ids is None else repr(ids[row])
            raise InputError(
                f"{name}, latent {weights.indices[position]}: the weight {data[position]} is not a finite number "
                ">= 0; check the model, or run it in float32"
            )
        rounded = np.floor(data * (self.query_scale if side == "query" else self.document_scale) + 0.5)
        values = np.minimum(rounded, MAX_IMPACT).astype(np.int32)
        impacts = csr_array((values, weights.indices.copy(), weights.indptr.copy()), shape=weights.shape)
        impacts.eliminate_zeros()
        impacts.sort_indices()
        return Quantized(
            impacts,
            row_clipped=_per_row(rounded > MAX_IMPACT, weights.indptr),
            row_dropped=_per_row((rounded == 0) & (data > 0), weights.indptr),
        )


def _per_row(flags: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """How many flags are set between each two neighbouring bounds."""
    rows = np.searchsorted(bounds, np.flatnonzero(flags), side="right") - 1
    return np.bincount(rows, minlength=len(bounds) - 1).astype(np.int32)


def keep_largest(weights: csr_array, top_k: int | None) -> csr_array:
    """The ``top_k`` largest weights of each row, of equal ones the first; all of them for ``None``."""
    if top_k is None or (weights.shape[0] and np.diff(weights.indptr).max() <= top_k):
        return weights
    kept = np.ones(weights.nnz, dtype=bool)
    for start, end in pairwise(weights.indptr.tolist()):
        if end - start > top_k:
            row = weights.data[start:end]
            least = np.partition(row, -top_k)[-top_k]
            kept[start:end] = row > least
            equal = start + np.flatnonzero(row == least)
            kept[equal[: top_k - np.count_nonzero(kept[start:end])]] = True
    bounds = np.concatenate([[0], np.cumsum(kept)])[weights.indptr].astype(weights.indptr.dtype)
    return csr_array((weights.data[kept], weights.indices[kept], bounds), shape=weights.shape)


def with_bits(impacts: csr_array, bits: int) -> csr_array:
    """Impacts on a coarser scale, as a quantiser of fewer bits would give them; those that round to 0 go.

    Args:
        impacts: values 1..255.
        bits: of an impact, 1 to 8; 8 leaves them as they are.
    """
    top = 2**bits - 1
    coarser = impacts.copy()
    coarser.data = (2 * top * impacts.data + MAX_IMPACT) // (2 * MAX_IMPACT)
    coarser.eliminate_zeros()
    return coarser


def to_dicts(impacts: csr_array) -> list[dict[str, int]]:
    """Rows as ``{"f12345": 87}``: the form that Pyserini, PyTerrier and OpenSearch take."""
    terms = latent_terms(impacts.shape[1])
    return [
        dict(zip(terms[impacts.indices[start:end]].tolist(), impacts.data[start:end].tolist(), strict=True))
        for start, end in pairwise(impacts.indptr.tolist())
    ]


def from_dicts(rows: Iterable[Mapping[str, float]], width: int, *, floats: bool = False) -> csr_array:
    """Read what :func:`to_dicts` wrote.

    Args:
        rows: terms with impacts.
        width: number of latents.
        floats: take any finite weight above 0, as feedback makes them, and give float64 instead of int32.

    Raises:
        InputError: for a term that is not a latent of this width, or an impact that is not an integer >= 1 of 32 bits.
    """
    ids = _latent_ids(width)
    indptr: list[int] = [0]
    indices: list[int] = []
    data: list[float] = []
    for number, row in enumerate(rows):
        try:
            indices += [ids[term] for term in row]
        except KeyError:
            _refuse_terms(number, row, width)
        data += row.values()
        indptr.append(len(indices))
    if not _plain_impacts(data, floats):
        _refuse_impacts(data, indices, indptr, floats)
    values: np.ndarray = np.array(data, dtype=np.float64 if floats else np.int32)
    impacts = csr_array(
        (values, np.array(indices, np.int32), np.array(indptr, np.int64)), shape=(len(indptr) - 1, width)
    )
    impacts.sort_indices()
    return impacts


def _refuse_terms(number: int, row: Mapping[str, float], width: int) -> None:
    for term in row:
        if latent_id(str(term)) >= width:
            raise InputError(f"row {number}: {term} is beyond the last latent f{width - 1}")


def _plain_impacts(data: list[float], floats: bool) -> bool:
    """Whether these are Python numbers in range, which is the usual case and quick to see."""
    if not set(map(type, data)) <= ({int, float} if floats else {int}):
        return False
    try:
        values = np.array(data, dtype=np.float64)
    except OverflowError:
        return False
    return bool(((values > 0) & np.isfinite(values) if floats else (values >= 1) & (values <= _MAX_INT32)).all())


def _refuse_impacts(data: list[float], indices: list[int], indptr: list[int], floats: bool) -> None:
    """Raise for the first impact that cannot be used, if there is one; NumPy's numbers can."""
    kinds: tuple[type, ...] = (int, float, np.integer, np.floating) if floats else (int, np.integer)
    wanted = "a finite number > 0" if floats else "an integer >= 1"
    for position, impact in enumerate(data):
        where = f"row {int(np.searchsorted(indptr, position, side='right')) - 1}"
        term = latent_term(indices[position])
        number = isinstance(impact, kinds) and not isinstance(impact, bool)
        if not number or not (0 < impact < np.inf if floats else impact >= 1):
            raise InputError(f"{where}: the impact of {term} must be {wanted}, not {impact!r}")
        if not floats and impact > _MAX_INT32:
            raise InputError(f"{where}: the impact of {term} is beyond {_MAX_INT32}: {impact}")
