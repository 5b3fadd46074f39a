"""What the tests of deployments share."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import quote

from opensearchpy import OpenSearch

from opensearch_splare import Deployment, deploy, undeploy
from opensearch_splare.bodies import model_name
from opensearch_splare.plan import pipeline_name
from splare_plugins.model.splare import SplareModel
from splare_plugins.serving.limits import CONTENT_TYPES
from tests.serving.conftest import Client, running

DOCUMENTS: dict[str, dict[str, str]] = {
    "plain": {"text": "bees navigate by the sun"},
    "titled": {"title": "Bees", "text": 'they "dance" \\ in the hive\nto show the way'},
    "umlaut": {"text": "Bienen fliegen über Äcker 🐝"},
    "chinese": {"title": "蜜蜂", "text": "蜜蜂 靠 太阳 导航"},
    "title-only": {"title": "a title alone"},
    "short": {"text": "x"},
    "long": {"text": "bees and hives " * 40},
    **{f"d{number}": {"text": f"document {number} of many, about {number % 7} things"} for number in range(40)},
}
EMPTY: dict[str, dict[str, Any]] = {"empty": {"text": ""}, "blank": {"text": " \t "}, "none": {"text": None}, "no": {}}
QUERIES = ["how do bees navigate?", "Bienen", "太阳", "document 7 about things"]


def encoder(model: SplareModel, **options: Any) -> AbstractContextManager[Client]:
    """A real encoder service on loopback; ``port`` and ``token`` are options."""
    return running(lambda device: model, **options)


def deployed(client: OpenSearch, name: str, service: Client, model: SplareModel, **options: Any) -> Deployment:
    """Deploy, without replicas."""
    plan = Deployment(index=name, encoder_url=service.url, config=model.config, replicas=0, **options)
    deploy(client, plan)
    return plan


def bulk(client: OpenSearch, index: str, documents: dict[str, dict[str, Any]]) -> dict[str, tuple[int, str]]:
    """Index documents as any client would; status and error of each."""
    lines = [line for docid, source in documents.items() for line in ({"index": {"_id": docid}}, source)]
    answer = client.bulk(index=index, body=lines, params={"refresh": "true"})
    items = [item["index"] for item in answer["items"]]
    return {item["_id"]: (item["status"], str(item.get("error", ""))) for item in items}


def scores(client: OpenSearch, index: str, query: dict[str, Any], field: str = "splare") -> dict[str, float]:
    """Score of each document that a ``neural_sparse`` query finds."""
    body = {"size": 1000, "_source": False, "query": {"neural_sparse": {field: query}}}
    hits = client.search(index=index, body=body)["hits"]["hits"]
    return {hit["_id"]: hit["_score"] for hit in hits}


def remains(client: OpenSearch, name: str) -> list[str]:
    """What a deployment of this name has on the cluster."""
    found = []
    for kind in ("connectors", "models", "model_groups"):
        for side, word in CONTENT_TYPES.items():
            body = {"query": {"term": {"name.keyword": model_name(name, side)}}}
            answer = client.transport.perform_request("POST", f"/_plugins/_ml/{kind}/_search", body=body)
            found += [f"{kind} {word}" for _ in answer["hits"]["hits"]]
    for kind in ("_ingest", "_search"):
        path = f"/{kind}/pipeline/{quote(pipeline_name(name))}"
        found += [kind for _ in client.transport.perform_request("GET", path, params={"ignore": 404})]
    return found


def clean(client: OpenSearch, name: str) -> None:
    """Remove all of it."""
    undeploy(client, name, with_index=True)
