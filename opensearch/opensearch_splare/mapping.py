"""The body of an index: settings, mapping, and in ``_meta`` the model that made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from opensearch_splare.features import FeatureMap
from opensearch_splare.queries import IMPACT_UNIT, check_values
from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.impacts import MAX_IMPACT

FieldType = Literal["rank_features", "sparse_vector"]

META_KEY = "splare"
FORMAT_VERSION = 1
DEFAULT_FIELD = "splare"
PASSAGE_VECTOR = "sparse_encoding"
"""What neural-search calls a vector in the nested field of an index of passages."""
TEXT_FIELDS = ("title", "text")

LOADING, COMPLETE = "loading", "complete"


@dataclass(frozen=True, kw_only=True)
class IndexCard:
    """What stands in a mapping's ``_meta``.

    Attributes:
        config: the model that makes its vectors; ``None`` for vectors of unknown origin.
        field: name of the field with the vectors.
        field_type: its type.
        state: ``loading`` until a writer publishes the index.
        run: what is being loaded, so that the same run can go on with it.
        features: of a ``sparse_vector`` field, its :class:`FeatureMap` as text.
        passages: whether a document has a vector for each of its passages, as the field's own mapping says.
    """

    config: SplareConfig | None
    field: str = DEFAULT_FIELD
    field_type: FieldType = "rank_features"
    state: str = COMPLETE
    run: str | None = None
    features: str | None = None
    passages: bool = False

    @property
    def vector_field(self) -> str:
        """The field to ask, which is nested in an index of passages."""
        return f"{self.field}.{PASSAGE_VECTOR}" if self.passages else self.field

    def to_meta(self) -> dict[str, Any]:
        """The ``_meta`` of a mapping."""
        config = self.config.to_dict() if self.config else None
        values = {"format": FORMAT_VERSION, **asdict(self), "config": config}
        del values["passages"]
        return {META_KEY: values}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], name: str) -> IndexCard:
        """Read the card of the index ``name`` from its ``mappings``, and check that its field is there.

        Raises:
            InputError: if splare did not make it, it is of another version, or its field is missing or of another
                type.
        """
        values = dict(mapping.get("_meta", {}).get(META_KEY) or {})
        if not values:
            raise InputError(
                f"the index {name!r} was not made by splare: its mapping does not name a model; make one with "
                "splare index opensearch or SplareIndex.create"
            )
        if (version := values.pop("format", None)) != FORMAT_VERSION:
            raise InputError(f"the index {name!r} has format {version!r}; this version reads {FORMAT_VERSION}")
        config = values.pop("config")
        card = cls(config=SplareConfig.from_dict(config) if config else None, **values)
        about = mapping.get("properties", {}).get(card.field, {})
        if about.get("type") == "nested":
            about = about.get("properties", {}).get(PASSAGE_VECTOR, {})
            card = replace(card, passages=True)
        found = about.get("type")
        if found != card.field_type:
            what = "is missing" if found is None else f"has the type {found}"
            raise InputError(
                f"the field {card.field!r} of the index {name!r} {what} instead of being {card.field_type}; make the "
                "index again"
            )
        return card

    def require_whole_texts(self, name: str, what: str) -> None:
        """Raise an ``InputError`` if ``what`` wants one vector of a document, and the index ``name`` has several."""
        if self.passages:
            raise InputError(
                f"the index {name!r} has a vector for each passage, and {what} wants one of each document"
            )

    def require_complete(self, name: str) -> None:
        """Raise an ``InputError`` while a writer has not finished the index ``name``."""
        if self.state != COMPLETE:
            raise InputError(f"the index {name!r} is not complete; go on with what began it, or delete it")


def single_index(found: Mapping[str, Any], name: str) -> Any:
    """What the server says of the one index that ``name`` stands for; an ``InputError`` for an alias of several."""
    if len(found) != 1:
        raise InputError(f"{name!r} stands for {len(found)} indexes; name one of {', '.join(sorted(found))}")
    (about,) = found.values()
    return about


def index_body(
    card: IndexCard,
    *,
    shards: int = 1,
    replicas: int | None = None,
    store_vectors: bool = False,
    analyzer: str | None = None,
    fields: Mapping[str, Any] | None = None,
    method: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What creates an index.

    Unknown fields are refused, since a vector under a wrong name would become a field for each latent.

    Args:
        card: the model and the field.
        shards: primary shards.
        replicas: copies of each; ``None`` keeps one as soon as there is a second node.
        store_vectors: keep vectors in ``_source``, where reindexing and partial updates need them; takes about as
            much room again.
        analyzer: of the two text fields, for BM25; ``None`` for the standard one.
        fields: mappings of further fields, for filters.
        method: parameters of a ``sparse_vector`` field, from :func:`seismic_parameters`.

    Raises:
        InputError: for impossible numbers, or a field defined twice.
    """
    if shards < 1 or (replicas is not None and replicas < 0):
        raise InputError(f"an index has at least 1 shard and 0 replicas, not {shards} and {replicas}")
    text = {"type": "text", **({"analyzer": analyzer} if analyzer else {})}
    vector: dict[str, Any] = {"type": card.field_type}
    if method is not None:
        vector["method"] = {"name": "seismic", "parameters": dict(method)}
    properties = {**dict.fromkeys(TEXT_FIELDS, text), card.field: vector}
    if twice := set(fields or {}) & set(properties):
        raise InputError(f"the field {min(twice)!r} is splare's own; give yours another name")
    copies = {"auto_expand_replicas": "0-1"} if replicas is None else {"number_of_replicas": replicas}
    sparse = {"sparse": True} if card.field_type == "sparse_vector" else {}
    return {
        "settings": {"index": {"number_of_shards": shards, **copies, **sparse}},
        "mappings": {
            "dynamic": "strict",
            "_meta": card.to_meta(),
            **({} if store_vectors else {"_source": {"excludes": [card.field]}}),
            "properties": {**properties, **(fields or {})},
        },
    }


def seismic_parameters(
    *,
    document_ceiling: float = MAX_IMPACT,
    query_ceiling: float = MAX_IMPACT / IMPACT_UNIT,
    n_postings: int | None = None,
    cluster_ratio: float = 0.1,
    summary_prune_ratio: float = 0.4,
    approximate_threshold: int = 1_000_000,
) -> dict[str, Any]:
    """Parameters of a ``sparse_vector`` field.

    Weights above a ceiling are cut off without a word, and those far below lose precision, so both ceilings should be
    the largest weight that occurs.

    Args:
        document_ceiling: largest impact of the documents.
        query_ceiling: largest weight of the queries, an impact divided by 4.
        n_postings: documents kept of each list; ``None`` for the server's choice.
        cluster_ratio: clusters of a list by its length.
        summary_prune_ratio: share of a cluster's weight that its summary keeps.
        approximate_threshold: documents of a segment from which on the search is approximate.

    Raises:
        InputError: for values that the server would refuse.
    """
    check_values(
        ("document_ceiling must be above 0", document_ceiling, document_ceiling > 0),
        ("query_ceiling must be above 0", query_ceiling, query_ceiling > 0),
        ("n_postings must be above 0", n_postings, n_postings is None or n_postings > 0),
        ("cluster_ratio must be above 0 and below 1", cluster_ratio, 0 < cluster_ratio < 1),
        ("summary_prune_ratio must be above 0 and at most 1", summary_prune_ratio, 0 < summary_prune_ratio <= 1),
        ("approximate_threshold must be at least 0", approximate_threshold, approximate_threshold >= 0),
    )
    return {
        **({} if n_postings is None else {"n_postings": n_postings}),
        "cluster_ratio": cluster_ratio,
        "summary_prune_ratio": summary_prune_ratio,
        "approximate_threshold": approximate_threshold,
        "quantization_ceiling_ingest": float(document_ceiling),
        "quantization_ceiling_search": float(query_ceiling),
    }


def feature_map(card: IndexCard) -> FeatureMap | None:
    """The map of a ``sparse_vector`` index; ``None`` for the default type.

    Raises:
        InputError: if it is missing or damaged.
    """
    if card.field_type == "rank_features":
        return None
    if card.config is None or card.features is None:
        raise InputError("a sparse_vector index needs a model and a map of features; make it again")
    return FeatureMap.from_text(card.features, card.config.width)
