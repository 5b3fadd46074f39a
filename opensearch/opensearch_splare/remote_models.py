"""Connectors and remote models of ml-commons, found by name."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from opensearchpy import ConflictError, OpenSearch, TransportError

from opensearch_splare.bodies import connector_body, model_body, model_name
from opensearch_splare.connection import address, error_reason
from opensearch_splare.plan import Deployment
from opensearch_splare.queries import Body
from splare_plugins.config import Side
from splare_plugins.errors import InputError

log = logging.getLogger(__name__)

_MOST_FOUND = 100
# After a cold start the cluster makes the key that it encrypts credentials with; until then it refuses connectors.
_PATIENCE = 60.0
_PAUSE = 2.0


def find_model(client: OpenSearch, plan: Deployment, side: Side) -> str | None:
    """The id of a remote model that is as ``plan`` wants it, and that answers."""
    name = model_name(plan.index, side)
    wanted = connector_body(plan, side)
    del wanted["credential"]  # the server keeps it to itself; an answer says whether it is right
    fitting = {
        found
        for found, source in _search(client.ml.search_connectors, name)
        if _holds(source, wanted) and len(source["actions"][0]["headers"]) == len(wanted["actions"][0]["headers"])
    }
    for found, source in _search(client.ml.search_models, name):
        if source.get("connector_id") in fitting and _trouble(client, found) is None:
            return found
    return None


def make_model(client: OpenSearch, plan: Deployment, side: Side) -> str:
    """Connect the cluster with the encoder, and see that it answers.

    Returns:
        The id of the new model.

    Raises:
        InputError: if the cluster may not call the encoder, or gets no vectors from it; nothing is left then.
        opensearchpy.TransportError: whatever else the cluster refuses.
    """
    created = _create_connector(client, plan, side)
    try:
        found = str(client.ml.register_model(body=model_body(plan, side, created))["model_id"])
        client.ml.deploy_model(model_id=found)
        _wait_until_deployed(client, found)
        if (trouble := _trouble(client, found)) is not None:
            raise InputError(_unusable(client, plan, trouble))
    except BaseException:
        _remove(client, model_name(plan.index, side), lambda _, connector: connector == created)
        raise
    return found


def remove_models(client: OpenSearch, index: str, side: Side, *, keep: str | None = None) -> list[str]:
    """Remove the models of an index, and what belongs to them, but for the model with the id ``keep``.

    Returns:
        What was removed, for people.
    """
    return _remove(client, model_name(index, side), lambda model, _: model != keep)


def _create_connector(client: OpenSearch, plan: Deployment, side: Side) -> str:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return str(client.ml.create_connector(body=connector_body(plan, side))["connector_id"])
        except TransportError as error:
            reason = error_reason(error.info)
            if "master key" in reason and time.monotonic() < deadline:
                log.info("the cluster has no key for credentials yet: %s", reason)
                time.sleep(_PAUSE)
                continue
            if "trusted connector endpoint" in reason:
                raise InputError(_unusable(client, plan, reason)) from error
            raise


def _wait_until_deployed(client: OpenSearch, model: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        about = client.ml.get_model(model_id=model)
        state = about.get("model_state")
        if state in ("DEPLOYED", "PARTIALLY_DEPLOYED"):
            return
        if state == "DEPLOY_FAILED" or time.monotonic() > deadline:
            raise InputError(
                f"the remote model {about.get('name')!r} at {address(client)} is {state} instead of DEPLOYED; the "
                "cluster's log says why"
            )
        time.sleep(0.1)


def _trouble(client: OpenSearch, model: str) -> str | None:
    """Why a model gives no vectors; ``None`` if it does."""
    try:
        answer = client.ml.predict_model(model_id=model, body={"parameters": {"input": ["trial"]}})
        (vector,) = answer["inference_results"][0]["output"][0]["dataAsMap"]["response"]
    except TransportError as error:
        return error_reason(error.info)
    except (LookupError, TypeError, ValueError):
        return f"the answer is not a list with one map, but {answer}"[:500]
    return None if isinstance(vector, dict) and vector else "the answer to a text is empty"


def _unusable(client: OpenSearch, plan: Deployment, reason: str) -> str:
    if "private ip" in reason or "trusted connector endpoint" in reason:
        way = "allow it in the cluster's settings with --trust-encoder"
    elif reason.startswith("Error from remote service"):
        way = "that is the encoder's own answer; mend it and run again"
    else:
        way = "the nodes of the cluster must reach this address"
    return f"the cluster at {address(client)} cannot use the encoder at {plan.encoder_url}: {reason}; {way}"


def _remove(client: OpenSearch, name: str, chosen: Callable[[str, str], bool]) -> list[str]:
    """Remove models of a name, connectors that no model of it has, and its group if it is empty then."""
    removed: list[str] = []
    kept: list[str] = []
    for model, source in _search(client.ml.search_models, name):
        connector = source.get("connector_id", "")
        if not chosen(model, connector):
            kept.append(connector)
            continue
        client.ml.undeploy_model(model_id=model)
        client.ml.delete_model(model_id=model)
        removed.append(f"model {name}")
    for connector, _ in _search(client.ml.search_connectors, name):
        if connector not in kept and chosen("", connector):
            if _delete_connector(client, connector):
                removed.append(f"connector {name}")
            else:
                log.warning(
                    "the cluster takes models of other connectors for users of %s, the connector %r, and keeps it; "
                    "undeploy the index again when they are gone",
                    connector,
                    name,
                )
    for group, _ in [] if kept else _search(client.ml.search_model_group, name):
        client.ml.delete_model_group(model_group_id=group)
        removed.append(f"model group {name}")
    return removed


def _delete_connector(client: OpenSearch, connector: str) -> bool:
    """Delete a connector; false where the cluster refuses that for models of other connectors.

    ml-commons asks for its models by a field of analysed text, so that ids with equal parts between hyphens match.
    """
    try:
        client.ml.delete_connector(connector_id=connector)
    except ConflictError:
        if any(_search(client.ml.search_models, connector, field="connector_id")):
            raise
        return False
    return True


def _search(search: Callable[..., Any], value: str, *, field: str = "name") -> Iterator[tuple[str, Body]]:
    found = search(body={"size": _MOST_FOUND, "query": {"term": {f"{field}.keyword": value}}})
    return ((hit["_id"], hit["_source"]) for hit in found["hits"]["hits"])


def _holds(found: Any, wanted: Any) -> bool:
    """Whether what the server stores has all that was sent; it adds defaults, and keeps some numbers as text."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_holds(found.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_holds, found, wanted))
    return str(found) == str(wanted)
