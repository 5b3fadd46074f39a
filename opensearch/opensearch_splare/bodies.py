"""What a cluster is sent so that it calls the encoder by itself; nothing here talks to a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from typing import Any, NamedTuple

from opensearch_splare.mapping import DEFAULT_FIELD, PASSAGE_VECTOR, IndexCard, index_body
from opensearch_splare.plan import Deployment
from opensearch_splare.queries import Body, two_phase_pipeline
from splare_plugins.config import Side
from splare_plugins.serving.limits import CONTENT_TYPES, Limits

PASSAGES = "passages"
"""Of an index of passages: the field with their texts, in the order of the nested vectors."""

BRACE_ESCAPE = "\ue000"
"""Stands between a dollar and a brace of a text on its way to the encoder; a character for private use."""

# What a script of an ingest pipeline finds beside the fields of a document.
_METADATA = ["_index", "_id", "_routing", "_version", "_version_type", "_if_seq_no", "_if_primary_term"]
# The longest form of a character in JSON, an escape.
_BYTES_PER_CHARACTER = 6


class Request(NamedTuple):
    """One request to the cluster."""

    method: str
    path: str
    body: Body | None


def model_name(index: str, side: Side) -> str:
    """The name of a remote model, its connector and its model group."""
    return f"splare-{index}-{CONTENT_TYPES[side]}"


def connector_body(plan: Deployment, side: Side) -> Body:
    """How the cluster calls the encoder; a model of another fingerprint will refuse the call."""
    body = _fill(
        "connector.json",
        name=model_name(plan.index, side),
        index=plan.index,
        encoder_url=plan.encoder_url,
        content_type=CONTENT_TYPES[side],
        fingerprint=plan.config.index_fingerprint(),
        # The server asks for a credential even where none is used.
        token=plan.token or "none",
        read_timeout=plan.read_timeout,
        connections=plan.connections,
        sign=BRACE_ESCAPE,
    )
    if side == "query":  # no pipeline could escape texts of queries; here they come as JSON, without quotation marks
        body["actions"][0]["pre_process_function"] = _read("escape_query.painless").replace("{{sign}}", BRACE_ESCAPE)
    if plan.token is not None:
        body["actions"][0]["headers"]["Authorization"] = "Bearer ${credential.token}"
    return body


def model_body(plan: Deployment, side: Side, connector_id: str) -> Body:
    """A remote model behind a connector."""
    return _fill("model.json", name=model_name(plan.index, side), index=plan.index, connector_id=connector_id)


def ingest_pipeline(plan: Deployment, model_id: str) -> Body:
    """From texts to vectors: title and text are joined as on the client, an empty text gets no vector.

    ``sparse_encoding`` of OpenSearch 2.19 damages what it is not asked to encode (neural-search issue 1260), so all
    other fields wait in the metadata of the ingestion, which no processor looks at. ``${parameters...}`` in a text
    would be taken for a placeholder by ml-commons (its issue 2712), so the dollar is told apart from the brace.
    """
    body = _fill(
        "ingest_pipeline.json",
        index=plan.index,
        field=DEFAULT_FIELD,
        set_aside=_read("set_aside.painless"),
        escape=_read("escape.painless"),
        restore=_read("restore.painless"),
        metadata=_METADATA,
        characters=_most_characters(plan),
        sign=BRACE_ESCAPE,
        model_id=model_id,
        batch_size=plan.batch_size,
    )
    if plan.passage_words is not None:
        body["processors"].insert(2, _fill("text_chunking.json", passage_words=plan.passage_words))
    return body


def _most_characters(plan: Deployment) -> int:
    """Of a text, so that a call with a whole batch is a request that the encoder takes."""
    return max(1, min(Limits.text_characters, Limits.body_bytes // (_BYTES_PER_CHARACTER * plan.batch_size) - 1))


def search_pipeline(plan: Deployment, model_id: str) -> Body:
    """The model of ``query_text``, and the two phases if they are wanted."""
    body = _fill("search_pipeline.json", index=plan.index, model_id=model_id)
    if plan.two_phase:
        body["request_processors"] += two_phase_pipeline()["request_processors"]
    return body


def pipeline_settings(plan: Deployment) -> Body:
    """What an index must say so that it uses both pipelines."""
    return {"default_pipeline": plan.pipeline, "search": {"default_pipeline": plan.pipeline}}


def deployed_index(plan: Deployment) -> Body:
    """The index that ``SplareIndex.create`` would make, with both pipelines; or one of passages."""
    card = IndexCard(config=plan.config)
    body = index_body(card, shards=plan.shards, replicas=plan.replicas, analyzer=plan.analyzer)
    if plan.passage_words is not None:
        properties = body["mappings"]["properties"]
        properties[PASSAGES] = {"type": "text", "index": False}
        properties[DEFAULT_FIELD] = {"type": "nested", "properties": {PASSAGE_VECTOR: properties[DEFAULT_FIELD]}}
    body["settings"]["index"].update(pipeline_settings(plan))
    return body


def all_requests(plan: Deployment) -> Iterator[Request]:
    """What a deployment sends to a cluster that has nothing of it yet; ids that the server gives are in ``<>``."""
    if plan.token is not None:
        plan = replace(plan, token="<token>")
    ml, models = "/_plugins/_ml", {side: f"<model {model_name(plan.index, side)}>" for side in CONTENT_TYPES}
    for side in CONTENT_TYPES:
        name = model_name(plan.index, side)
        yield Request("POST", f"{ml}/connectors/_create", connector_body(plan, side))
        yield Request("POST", f"{ml}/models/_register", model_body(plan, side, f"<connector {name}>"))
        yield Request("POST", f"{ml}/models/{models[side]}/_deploy", None)
    yield Request("PUT", f"/_ingest/pipeline/{plan.pipeline}", ingest_pipeline(plan, models["document"]))
    yield Request("PUT", f"/_search/pipeline/{plan.pipeline}", search_pipeline(plan, models["query"]))
    yield Request("PUT", f"/{plan.index}", deployed_index(plan))


def _read(template: str) -> str:
    return files("opensearch_splare").joinpath("templates", template).read_text(encoding="utf-8")


def _fill(template: str, **values: Any) -> Body:
    """A template as JSON: ``"{{name}}"`` becomes the value with its type, and ``{{name}}`` in a string its text."""
    text = _read(template)
    for name, value in values.items():
        place = "{{" + name + "}}"
        text = text.replace(f'"{place}"', json.dumps(value)).replace(place, json.dumps(str(value))[1:-1])
    body: Body = json.loads(text)
    return body
