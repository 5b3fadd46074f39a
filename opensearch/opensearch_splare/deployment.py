"""Make a cluster call the encoder by itself, and undo that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from opensearchpy import NotFoundError, OpenSearch

from opensearch_splare.bodies import deployed_index, ingest_pipeline, pipeline_settings, search_pipeline
from opensearch_splare.connection import address, require, server_errors, server_version
from opensearch_splare.encoder_service import trust_encoder
from opensearch_splare.generations import generations
from opensearch_splare.location import check_name
from opensearch_splare.mapping import DEFAULT_FIELD, META_KEY, IndexCard, single_index
from opensearch_splare.plan import Deployment, pipeline_name
from opensearch_splare.remote_models import find_model, make_model, remove_models
from splare_plugins.errors import InputError
from splare_plugins.serving.limits import CONTENT_TYPES

PLUGINS = {"opensearch-ml": "ml-commons", "opensearch-neural-search": "neural-search"}
_DEFAULT_PIPELINES = ("default_pipeline", "search.default_pipeline")


class Outcome(NamedTuple):
    """What a deployment is, and what was done for it.

    Attributes:
        models: ids of the remote models, by ``passage`` and ``query``.
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
        for side, word in CONTENT_TYPES.items():
            found = find_model(client, plan, side)
            if found is None:
                found = make_model(client, plan, side)
                changes.append(f"{word} model")
            models[word] = found
        changes += _put_pipeline(client, "_ingest", plan.pipeline, ingest_pipeline(plan, models["passage"]))
        changes += _put_pipeline(client, "_search", plan.pipeline, search_pipeline(plan, models["query"]))
        changes += _put_index(client, plan, exists)
        for side, word in CONTENT_TYPES.items():
            remove_models(client, plan.index, side, keep=models[word])
    return Outcome(models, changes)


def undeploy(client: OpenSearch, index: str, *, with_index: bool = False) -> list[str]:
    """Remove what :func:`deploy` made for an index; ``with_index`` deletes its documents too.

    They stay searchable with ``query_tokens`` otherwise.

    Returns:
        What was removed, for people; empty if nothing was there.

    Raises:
        InputError: if the cluster refuses, the index was not made by splare, or its name cannot be one.
    """
    check_name(index)
    with server_errors(client):
        removed = _detach_index(client, index, delete=with_index)
        for kind in ("_search", "_ingest"):
            path = _pipeline_path(kind, pipeline_name(index))
            if _get(client, path):
                client.transport.perform_request("DELETE", path)
                removed.append(f"{kind[1:]} pipeline")
        for side in CONTENT_TYPES:
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
    if not (found := _get(client, _index_path(plan.index))):
        return False
    about = single_index(found, plan.index)
    card = IndexCard.from_mapping(about["mappings"], plan.index)
    if (card.field, card.field_type) != (DEFAULT_FIELD, "rank_features"):
        raise InputError(
            f"the index {plan.index!r} has its vectors in {card.field!r} of type {card.field_type}, and pipelines "
            f"fill {DEFAULT_FIELD!r} of type rank_features; make another index"
        )
    card.require_complete(plan.index)
    if card.config is None:
        raise InputError(f"the index {plan.index!r} does not say which model to encode with; make another index")
    plan.config.require_same_index(card.config, f"the index {plan.index!r}")
    if card.passages != (plan.passage_words is not None):
        has, asks = ("passages", "without") if card.passages else ("no passages", "with")
        raise InputError(
            f"the index {plan.index!r} has {has}, and this is a deployment {asks} --passage-words; make another index"
        )
    for name in _DEFAULT_PIPELINES:
        if (value := about["settings"].get(f"index.{name}")) not in (None, "_none", plan.pipeline):
            raise InputError(
                f"the index {plan.index!r} has the {name} {value!r} already; remove that setting or make another index"
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
    (about,) = _get(client, _index_path(plan.index)).values()
    if {about["settings"].get(f"index.{name}") for name in _DEFAULT_PIPELINES} == {plan.pipeline}:
        return []
    client.indices.put_settings(index=plan.index, body={"index": pipeline_settings(plan)})
    return ["settings of the index"]


def _detach_index(client: OpenSearch, index: str, *, delete: bool) -> list[str]:
    removed = []
    found = _get(client, _index_path(index))
    # Earlier generations name the pipelines too, and could not be written to without them.
    for concrete, about in {**generations(client, index), **found}.items():
        if delete and concrete in found:
            if META_KEY not in about["mappings"].get("_meta", {}):
                raise InputError(f"the index {index!r} was not made by splare, so it is not deleted here")
            client.indices.delete(index=concrete)
            removed.append(f"index {concrete}")
            continue
        for name in _DEFAULT_PIPELINES:
            if about["settings"].get(f"index.{name}") == pipeline_name(index):
                client.indices.put_settings(index=concrete, body={f"index.{name}": None})
                removed.append(f"{name} of {concrete}")
    return removed


def _index_path(index: str) -> str:
    return f"/{quote(index)}?flat_settings=true"


def _pipeline_path(kind: str, name: str) -> str:
    return f"/{kind}/pipeline/{quote(name)}"


def _get(client: OpenSearch, path: str) -> dict[str, Any]:
    """What is at a path; nothing if nothing is."""
    try:
        return dict(client.transport.perform_request("GET", path))
    except NotFoundError:
        return {}
