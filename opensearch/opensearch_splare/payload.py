"""Documents as the JSON that goes over the wire, and what a server would refuse of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from opensearch_splare.features import FeatureMap
from opensearch_splare.queries import IMPACT_UNIT, MAX_QUERY_WEIGHT
from splare_plugins.corpus.documents import check_id
from splare_plugins.errors import InputError
from splare_plugins.impacts import latent_terms, to_dicts

MAX_DOCUMENT_IMPACT = 512
"""A ``rank_features`` field keeps nine bits of a weight; whole numbers above this one lose some."""
MAX_QUERY_IMPACT = int(MAX_QUERY_WEIGHT * IMPACT_UNIT)

_WEIGHTS = np.array([str(weight) for weight in range(MAX_DOCUMENT_IMPACT + 1)], dtype=object)


def check_ids(docids: Sequence[str]) -> None:
    """Raise an ``InputError`` for an id that is empty, longer than 512 bytes, or has white space."""
    for docid in docids:
        check_id(docid, "a document")


def check_string(value: object, whose: str) -> None:
    """Raise an ``InputError`` for a text that is not one, such as what stands for a missing one in a data frame."""
    if not isinstance(value, str):
        raise InputError(
            f"{whose} is {str(value)[:80]!r} of type {type(value).__name__}; give a string, if need be ''"
        )


def check_document_impacts(docids: Sequence[str], impacts: csr_array) -> None:
    """Raise an ``InputError`` that names the document with an impact that the field would not keep exactly."""
    row, impact = _largest(impacts)
    if impact > MAX_DOCUMENT_IMPACT:
        raise InputError(
            f"the document {docids[row]!r} has the impact {impact}, and a rank_features field is exact up to "
            f"{MAX_DOCUMENT_IMPACT}; use a smaller scale"
        )


def check_query_impacts(impacts: csr_array) -> None:
    """Raise an ``InputError`` that names the row with an impact beyond what a query can carry."""
    row, impact = _largest(impacts)
    if impact > MAX_QUERY_IMPACT:
        raise InputError(
            f"the query in row {row} has the impact {impact}, and neural_sparse takes at most {MAX_QUERY_IMPACT}; use "
            "a smaller scale"
        )


def _largest(impacts: csr_array) -> tuple[int, int]:
    """The row with the largest impact, and that impact; 0 and 0 if there is none."""
    if not impacts.nnz:
        return 0, 0
    position = int(impacts.data.argmax())
    return int(np.searchsorted(impacts.indptr, position, side="right")) - 1, int(impacts.data[position])


def to_sources(
    docids: Sequence[str],
    impacts: csr_array,
    field: str,
    *,
    fields: Sequence[Mapping[str, Any]] | None = None,
    features: FeatureMap | None = None,
) -> list[str]:
    """Each document's ``_source`` as JSON.

    The vectors are joined from strings made once for each latent and each impact, since a JSON writer that meets
    400 keys a document is most of a client's work.

    Args:
        docids: ids, one per row.
        impacts: shape ``(len(docids), width)``, values 1..512.
        field: of the vectors.
        fields: further fields of each document.
        features: of a ``sparse_vector`` field.

    Raises:
        InputError: for a field that is not JSON or impacts that are too large, naming the document.
    """
    check_document_impacts(docids, impacts)
    if features is not None:
        rows = zip(to_dicts(impacts), docids, strict=True)
        vectors = [json.dumps(features.document(row, docid)) for row, docid in rows]
    else:
        pairs = (_keys(impacts.shape[1])[impacts.indices] + _WEIGHTS[impacts.data]).tolist()
        bounds = impacts.indptr.tolist()
        vectors = ["{" + ",".join(pairs[start:end]) + "}" for start, end in pairwise(bounds)]
    name = json.dumps(field)
    if fields is None:
        return [f"{{{name}:{vector}}}" for vector in vectors]
    rest = [_fields(docid, values) for docid, values in zip(docids, fields, strict=True)]
    return [f"{{{name}:{vector}{more}}}" for vector, more in zip(vectors, rest, strict=True)]


def _fields(docid: str, values: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(values, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError) as error:
        raise InputError(f"the document {docid!r} has a field that is not JSON: {error}; mend or remove it") from error
    return f",{text[1:-1]}" if values else ""


@lru_cache(maxsize=4)
def _keys(width: int) -> np.ndarray:
    return np.array([f'"{term}":' for term in latent_terms(width).tolist()], dtype=object)
