"""Make a cluster call the encoder by itself, and undo that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from opensearchpy import NotFoundError, OpenSearch

from opensearch_splare.bodies import (
    SIDES,
    Deployment,
    deployed_index,
    ingest_pipeline,
    pipeline_name,
    pipeline_settings,
    search_pipeline,
)
from opensearch_splare.connection import address, require, server_errors, server_version
from opensearch_splare.location import check_name
from opensearch_splare.mapping import COMPLETE, DEFAULT_FIELD, META_KEY, IndexCard
from opensearch_splare.remote_models import find_model, make_model, remove_models
from opensearch_splare.trust import trust_encoder
from splare_plugins.errors import InputError

PLUGINS = {"opensearch-ml": "ml-commons", "opensearch-neural-search": "neural-search"}


class Outcome(NamedTuple):
    """What a deployment is, and what was done for it.

    Attributes:
        models: id of the remote model of each side.
        changes: what was made or changed, for people; empty if everything was there.
    """

    models: dict[str, str]
    changes: list[str]


def deploy(client: OpenSearch, plan: Deployment, *, trust: bool = False) -> Outcome:
    """Make connectors, remote models, both pipelines and the index, as far as they are not there yet.

    What differs from the plan is replaced: models first, then the pipelines that name them, so that an index in use
    goes on working meanwhile.

    Args:
        client: of the cluster.
        plan: what is wanted.
        trust: change the cluster's settings so that it may call the encoder.

    Raises:
        InputError: if the cluster lacks a plugin or cannot use the encoder, or the index is made for something else.
        IdentityError: if the index was made with another model than the encoder's.
    """
    with server_errors(client):
        require("batches in ingest pipelines", server_version(client))
        _require_plugins(client)
        exists = _check_index(client, plan)
        changes = [f"setting {name}" for name in trust_encoder(client, plan.encoder_url)] if trust else []
        models: dict[str, str] = {}
        for side in SIDES:
            found = find_model(client, plan, side)
            if found is None:
                found = make_model(client, plan, side)
                changes.append(f"{side} model")
            models[side] = found
        changes += _put_pipeline(client, "_ingest", plan.pipeline, ingest_pipeline(plan, models["passage"]))
        changes += _put_pipeline(client, "_search", plan.pipeline, search_pipeline(plan, models["query"]))
        changes += _put_index(client, plan, exists)
        for side in SIDES:
            remove_models(client, plan.index, side, keep=models[side])
    return Outcome(models, changes)


def undeploy(client: OpenSearch, index: str, *, with_index: bool = False) -> list[str]:
    """Remove what :func:`deploy` made; the documents stay searchable with ``query_tokens``.

    Args:
        client: of the cluster.
        index: name of the index.
        with_index: delete the index too.

    Returns:
        What was removed, for people; empty if nothing was there.

    Raises:
        InputError: if the cluster refuses, the index was not made by splare, or its name cannot be one.
    """
    check_name(index)
    with server_errors(client):
        removed = _detach_index(client, index, with_index)
        for kind in ("_search", "_ingest"):
            path = _pipeline_path(kind, pipeline_name(index))
            if _get(client, path):
                client.transport.perform_request("DELETE", path)
                removed.append(f"{kind[1:]} pipeline")
        for side in SIDES:
            removed += remove_models(client, index, side)
    return removed


def _require_plugins(client: OpenSearch) -> None:
    """Each node must have both: any of them may be asked."""
    found = client.cat.plugins(params={"format": "json"})
    nodes = {row["name"] for row in client.cat.nodes(params={"format": "json", "h": "name"})}
    for component, name in PLUGINS.items():
        having = {row["name"] for row in found if row["component"] == component}
        if lacking := sorted(nodes - having):
            raise InputError(
                f"the plugin {component} ({name}) is missing on {', '.join(lacking)} of the cluster at "
                f"{address(client)}; install it, or index with splare index opensearch, which needs no plugin"
            )


def _check_index(client: OpenSearch, plan: Deployment) -> bool:
    """Whether the index is there; refuses one that these pipelines must not write to."""
    found = _get(client, f"/{quote(plan.index)}")
    if not found:
        return False
    if len(found) != 1:
        raise InputError(f"{plan.index!r} stands for {len(found)} indexes; name one of {', '.join(sorted(found))}")
    (about,) = found.values()
    mapping, properties = about["mappings"], about["mappings"].get("properties", {})
    vector = properties.get(DEFAULT_FIELD, {})
    nested = vector.get("type") == "nested"
    if nested:
        vector = vector.get("properties", {}).get("sparse_encoding", {})
    card = IndexCard.from_mapping({**mapping, "properties": {**properties, DEFAULT_FIELD: vector}}, plan.index)
    if (card.field, card.field_type) != (DEFAULT_FIELD, "rank_features"):
        raise InputError(
            f"the index {plan.index!r} has its vectors in {card.field!r} of type {card.field_type}, and pipelines "
            f"fill {DEFAULT_FIELD!r} of type rank_features; make another index"
        )
    if card.state != COMPLETE:
        raise InputError(f"the index {plan.index!r} is not complete; go on with what began it, or delete it")
    if card.config is None:
        raise InputError(f"the index {plan.index!r} names no model, so nothing says what to encode with; make another")
    plan.config.require_same_index(card.config, f"the index {plan.index!r}")
    if nested != (plan.passage_words is not None):
        has, asks = ("passages", "without") if nested else ("no passages", "with")
        raise InputError(
            f"the index {plan.index!r} has {has}, and this is a deployment {asks} --passage-words; make another index"
        )
    for name in ("default_pipeline", "search.default_pipeline"):
        if _setting(about, name) not in (None, "_none", plan.pipeline):
            raise InputError(
                f"the index {plan.index!r} has the {name} {_setting(about, name)!r} already; remove that setting "
                "or make another index"
            )
    return True


def _put_pipeline(client: OpenSearch, kind: str, name: str, body: Mapping[str, Any]) -> list[str]:
    path = _pipeline_path(kind, name)
    if _get(client, path).get(name) == body:
        return []
    client.transport.perform_request("PUT", path, body=body)
    return [f"{kind[1:]} pipeline"]


def _put_index(client: OpenSearch, plan: Deployment, exists: bool) -> list[str]:
    if not exists:
        client.indices.create(index=plan.index, body=deployed_index(plan))
        return ["index"]
    (about,) = client.indices.get(index=plan.index).values()
    if {_setting(about, "default_pipeline"), _setting(about, "search.default_pipeline")} == {plan.pipeline}:
        return []
    client.indices.put_settings(index=plan.index, body={"index": pipeline_settings(plan)})
    return ["settings of the index"]


def _detach_index(client: OpenSearch, index: str, delete: bool) -> list[str]:
    removed = []
    for concrete, about in _get(client, f"/{quote(index)}").items():
        if delete:
            if META_KEY not in about["mappings"].get("_meta", {}):
                raise InputError(f"the index {index!r} was not made by splare, so it is not deleted here")
            client.indices.delete(index=concrete)
            removed.append(f"index {concrete}")
            continue
        for name in ("default_pipeline", "search.default_pipeline"):
            if _setting(about, name) == pipeline_name(index):
                client.indices.put_settings(index=concrete, body={f"index.{name}": None})
                removed.append(f"{name} of {concrete}")
    return removed


def _setting(about: Mapping[str, Any], name: str) -> str | None:
    value: Any = about["settings"]["index"]
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _pipeline_path(kind: str, name: str) -> str:
    return f"/{kind}/pipeline/{quote(name)}"


def _get(client: OpenSearch, path: str) -> dict[str, Any]:
    """What is at a path; nothing if nothing is."""
    try:
        return dict(client.transport.perform_request("GET", path))
    except NotFoundError:
        return {}
