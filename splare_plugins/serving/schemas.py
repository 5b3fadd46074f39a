"""The request of ``POST /encode``, and its answers."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator
from scipy.sparse import csr_array

from splare_plugins.config import Side
from splare_plugins.impacts import Quantizer, latent_terms
from splare_plugins.serving.limits import CONTENT_TYPES, ContentType

# OpenSearch takes query weights up to 64; a power of two is exact, so scores keep their order.
OPENSEARCH_QUERY_DIVISOR = 4
MAX_TOP_K = 4096


class EncodeRequest(BaseModel):
    """Texts to encode. The answer is a bare list with one entry per text, in the order of the texts."""

    model_config = ConfigDict(extra="forbid", strict=True)

    texts: list[str] = Field(description="An empty text has an empty entry.")
    content_type: ContentType = Field("passage", description="Queries and passages have their own prompt and top-k.")
    sparse_embedding_format: Literal["word", "token_id", "arrays"] = Field(
        "word",
        description='`word`: `{"f123": 87}`; `token_id`: `{"123": 87}`; `arrays`: `{"indices": [123], '
        '"values": [87]}`; in any case of letters.',
    )
    weights: Literal["opensearch", "impact", "float"] = Field(
        "opensearch",
        description="`opensearch`: integer impacts 1..255 for passages, the same divided by 4 for queries, which must "
        "not exceed 64 there; `impact`: integers on both sides; `float`: the latent weights before quantisation.",
    )
    top_k: int | None = Field(
        None, ge=1, le=MAX_TOP_K, description="Latents kept of a text; null is the model's own number of that side."
    )
    fingerprint: str | None = Field(
        None, description="Of the model that must answer, as `GET /model` says it; null takes any."
    )

    brace_escape: str | None = Field(
        None,
        min_length=1,
        max_length=1,
        description="A character that the sender put before braces of the texts, and doubled where they have it.",
    )

    @property
    def side(self) -> Side:
        """Which of the two the texts are."""
        return next(side for side, word in CONTENT_TYPES.items() if word == self.content_type)

    @field_validator("sparse_embedding_format", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("top_k", mode="before")
    @classmethod
    def _whole_number(cls, value: Any) -> Any:
        # For JSON 5.0 is an integer, and some clients write all numbers so.
        return int(value) if isinstance(value, float) and value.is_integer() else value


class SparseArrays(BaseModel):
    """One text in the format ``arrays``."""

    indices: list[int]
    values: list[float]


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str


class Status(BaseModel):
    """Whether this server takes work."""

    status: Literal["ok", "ready", "loading", "draining"]


class ModelInfo(BaseModel):
    """Which model answers, and how its weights are scaled."""

    name: str
    revision: str
    fingerprint: str = Field(description="What an index of impacts must agree on.")
    width: int
    query_top_k: int | None
    document_top_k: int | None
    query_scale: float
    document_scale: float
    opensearch_query_divisor: int
    config: dict[str, Any] = Field(description="What an index stores of its model, the fingerprint's source.")


def render(weights: csr_array, request: EncodeRequest, quantizer: Quantizer) -> str:
    """The answer's body, from latent weights, float32, shape ``(texts, width)``.

    Raises:
        InputError: if the model made a weight that is not a finite number >= 0.
    """
    rows = quantizer.quantize(weights, request.side).impacts
    values = rows.data
    if request.weights == "float":
        rows, values = weights, weights.data
    elif request.weights == "opensearch" and request.side == "query":
        values = values / OPENSEARCH_QUERY_DIVISOR
    keys, numbers = _keys(rows, request.sparse_embedding_format), values.tolist()
    spans = list(pairwise(rows.indptr.tolist()))
    if request.sparse_embedding_format == "arrays":
        return json.dumps([{"indices": keys[start:end], "values": numbers[start:end]} for start, end in spans])
    return json.dumps([dict(zip(keys[start:end], numbers[start:end], strict=True)) for start, end in spans])


def _keys(rows: csr_array, form: str) -> list[Any]:
    if form == "word":
        words: list[Any] = latent_terms(rows.shape[1])[rows.indices].tolist()
        return words
    ids: list[Any] = rows.indices.astype(np.int64).tolist()
    return ids if form == "arrays" else list(map(str, ids))
