"""What a new generation of an index takes over from the one whose name it gets, and how it gets it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from opensearchpy import NotFoundError, OpenSearch, RequestError

from opensearch_splare.mapping import COMPLETE, META_KEY, TEXT_FIELDS, IndexCard
from opensearch_splare.plan import pipeline_name

# What the server writes down for itself, and refuses from others.
_PRIVATE = re.compile(
    r"index\.(uuid|creation_date|provided_name|history_uuid|verified_before_close|version\..*|resize\..*|shrink\..*"
    r"|routing\.allocation\.initial_recovery\..*)"
)
_COPIES = ("index.number_of_replicas", "index.auto_expand_replicas")
_SHARDS = ("index.number_of_shards", "index.number_of_routing_shards")
_PIPELINES = ("index.default_pipeline", "index.final_pipeline", "index.search.default_pipeline")
_LOADING_ALIAS = re.compile(r"-loading-[0-9a-f]{6}\Z")
# Said of every index, so no news after a swap.
_USUAL = {*_COPIES, *_SHARDS, "index.replication.type"}

About = Mapping[str, Any]
"""Aliases, mappings and settings of an index, as the server gives them, the settings by their full names."""


class Swap(NamedTuple):
    """What became of an index that was replaced.

    Attributes:
        published: the index that has the name now.
        carried: what it took over, for people.
        kept: earlier generations that are still there, without the name.
        removed: indexes that were deleted.
    """

    published: str
    carried: list[str]
    kept: list[str]
    removed: list[str]


def read_indexes(client: OpenSearch, name: str) -> dict[str, Any]:
    """All indexes that a name or a pattern stands for; none if there are none."""
    try:
        return dict(client.indices.get(index=name, params={"flat_settings": "true", "expand_wildcards": "all"}))
    except NotFoundError:
        return {}


def create_once(client: OpenSearch, name: str, body: Mapping[str, Any]) -> bool:
    """Make an index, and say whether this call made it: of several at the same moment, one."""
    try:
        client.indices.create(index=name, body=body)
    except RequestError as error:
        if error.error != "resource_already_exists_exception":
            raise
        return False
    return True


def delete_index(client: OpenSearch, name: str) -> None:
    """Delete an index that another process may be deleting too."""
    with suppress(NotFoundError):
        client.indices.delete(index=name)


def generations(client: OpenSearch, name: str) -> dict[str, Any]:
    """The indexes that writers built for a name, by their own names."""
    pattern = re.compile(re.escape(name) + r"-\d{6}")
    return {each: about for each, about in read_indexes(client, f"{name}-*").items() if pattern.fullmatch(each)}


def encodes_by_itself(about: About, name: str) -> bool:
    """Whether the cluster encodes what is written to an index, or searched in it, under this name."""
    return pipeline_name(name) in [about["settings"].get(each) for each in _PIPELINES]


def inherit(
    body: Mapping[str, Any],
    old: About,
    name: str,
    *,
    shards: int | None,
    replicas: int | None,
    analyzer: str | None,
    store_vectors: bool | None,
) -> dict[str, Any]:
    """``body`` of a new index with all that the old one has and that nothing was asked for instead.

    Blocks wait until the documents are in, and so does the pipeline that would encode them once more.
    """
    settings = {
        key: value
        for key, value in old["settings"].items()
        if not _PRIVATE.fullmatch(key) and not _is_late(key, value, name) and key != "index.sparse"
    }
    asked = {f"index.{key}": value for key, value in body["settings"]["index"].items()}
    for keys, value in ((_SHARDS, shards), (_COPIES, replicas)):
        for key in keys:
            (asked if value is None else settings).pop(key, None)
    if str(settings.get("index.auto_expand_replicas", "false")) != "false":
        settings.pop("index.number_of_replicas", None)
    return {
        "settings": {**settings, **asked},
        "mappings": _mappings(body["mappings"], old["mappings"], name, analyzer, store_vectors),
    }


def late_settings(old: About) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pipelines of an index, and its blocks: what a new generation gets before and after the swap."""
    settings = old["settings"]
    blocks = {key: value for key, value in settings.items() if key.startswith("index.blocks.")}
    return {key: settings[key] for key in _PIPELINES if key in settings}, blocks


def carried(old: About, field: str) -> Iterator[str]:
    """What an index has beside documents and vectors, for people."""
    for alias, about in lasting_aliases(old).items():
        yield f"alias {alias}" + (f" ({', '.join(sorted(about))})" if about else "")
    for key, value in old["settings"].items():
        if not _PRIVATE.fullmatch(key) and key not in _USUAL:
            yield f"{key}: {value}"
    for each in old["mappings"].get("properties", {}):
        if each not in (*TEXT_FIELDS, field):
            yield f"field {each}"


def loading_alias(name: str) -> str:
    """An alias to load an index through; another one each time, so that an index made anew is not taken for this."""
    return f"{name}-loading-{secrets.token_hex(3)}"


def lasting_aliases(about: About) -> dict[str, Any]:
    """The aliases of an index but those that a load goes through, or left when it was killed."""
    return {alias: how for alias, how in about["aliases"].items() if not _LOADING_ALIAS.search(alias)}


def is_idle(name: str, about: About) -> bool:
    """Whether a finished index of ours has no alias, so that nobody uses it but by its own name."""
    mapping = about["mappings"]
    ours = META_KEY in mapping.get("_meta", {}) and IndexCard.from_mapping(mapping, name).state == COMPLETE
    return ours and not lasting_aliases(about)


def keep_copy(client: OpenSearch, name: str) -> str:
    """Keep an index whose very name becomes an alias, under the number 0; the files are shared, not copied."""
    copy = f"{name}-000000"
    client.indices.delete(index=copy, params={"ignore_unavailable": "true"})
    client.indices.put_settings(index=name, body={"index.blocks.write": True})
    try:
        client.indices.clone(index=name, target=copy, body={"settings": {"index.blocks.write": None}})
    finally:
        client.indices.put_settings(index=name, body={"index.blocks.write": None})
    return copy


def _is_late(key: str, value: object, name: str) -> bool:
    return key.startswith("index.blocks.") or (key in _PIPELINES and value == pipeline_name(name))


def _mappings(
    new: Mapping[str, Any], old: Mapping[str, Any], name: str, analyzer: str | None, store_vectors: bool | None
) -> dict[str, Any]:
    before = IndexCard.from_mapping(old, name).field
    field = new["_meta"][META_KEY]["field"]
    properties = {key: value for key, value in old["properties"].items() if key != before}
    for each in TEXT_FIELDS:
        if analyzer is not None or each not in properties:
            properties[each] = {**properties.get(each, {}), **new["properties"][each]}
    properties[field] = new["properties"][field]
    source = dict(old.get("_source", {}))
    excluded = [key for key in source.pop("excludes", []) if key != before]
    stored = before not in old.get("_source", {}).get("excludes", []) if store_vectors is None else store_vectors
    if not stored:
        excluded.append(field)
    if excluded:
        source["excludes"] = excluded
    return {
        **old,
        "_meta": {**old.get("_meta", {}), **new["_meta"]},
        **({"_source": source} if source or "_source" in old else {}),
        "properties": properties,
    }
