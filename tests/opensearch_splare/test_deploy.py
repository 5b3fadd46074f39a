"""The cluster encodes by itself: real node, real encoder service, plain texts and ``query_text``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import requests
from opensearchpy import ConflictError, helpers

from opensearch_splare import Deployment, SplareIndex, ask_encoder, deploy, neural_sparse, query_tokens, undeploy
from opensearch_splare.bodies import model_name
from opensearch_splare.remote_models import _delete_connector
from splare_plugins.corpus import Document, read_documents, read_qrels, read_queries
from splare_plugins.errors import IdentityError, InputError
from splare_plugins.serving.limits import Limits
from tests.serving.conftest import wait_until
from tests.serving.test_process import is_ready, splare_serve
from tests.tiny import tiny_model

from .deploying import DOCUMENTS, EMPTY, QUERIES, bulk, clean, deployed, encoder, remains, scores

pytestmark = pytest.mark.java

XQUAD = Path(__file__).parents[2] / "examples" / "data" / "xquad"

ALL = ["connectors passage", "connectors query", "models passage", "models query"]
ALL += ["model_groups passage", "model_groups query", "_ingest", "_search"]


@pytest.fixture(scope="module")
def service(tiny):
    with encoder(tiny) as running:
        yield running


@pytest.fixture
def place(client, name):
    """A name whose deployment is removed at the end."""
    yield name
    clean(client, name)


def tokens(model, query):
    (row,) = query_tokens(model.quantizer.queries(model.encode_queries([query])).impacts)
    return row


def answered(url):
    """Requests that an encoder answered with vectors."""
    lines = requests.get(f"{url}/metrics", timeout=20).text.splitlines()
    counts = [line for line in lines if line.startswith('splare_requests_total{path="/encode",status="200"}')]
    return sum(float(line.split()[-1]) for line in counts)


def assert_same_up_to_rounding(found, expected, weights):
    """Texts that share a batch differ between here and there, so an impact on an edge may come out as either."""
    assert found.keys() == expected.keys()
    differences = np.array([found[docid] - expected[docid] for docid in expected])
    assert np.abs(differences).max(initial=0) <= sum(weights)
    assert (differences == 0).mean() > 0.8


def test_deployed_twice_then_removed(client, place, service, tiny):
    plan = Deployment(index=place, encoder_url=service.url, config=tiny.config, replicas=0)
    first = deploy(client, plan)
    assert first.changes == ["passage model", "query model", "ingest pipeline", "search pipeline", "index"]
    assert sorted(remains(client, place)) == sorted(ALL)
    settings = client.indices.get(index=place)
    again = deploy(client, plan)
    assert again == (first.models, [])
    assert sorted(remains(client, place)) == sorted(ALL)
    assert client.indices.get(index=place) == settings
    assert bulk(client, place, {"a": {"text": "one"}})["a"][0] == 201
    query = {"query_tokens": tokens(tiny, "one")}
    before = scores(client, place, query)
    undeploy(client, place)
    assert remains(client, place) == []
    assert scores(client, place, query) == before != {}
    assert bulk(client, place, {"b": {"text": "two"}})["b"][0] == 201
    assert undeploy(client, place) == []
    assert undeploy(client, place, with_index=True) == [f"index {place}"]
    assert not client.indices.exists(index=place)


def test_texts_and_queries_equal_the_client_side_way(client, place, service, tiny):
    deployed(client, place, service, tiny)
    here = SplareIndex(client, f"{place}-client", tiny)
    here.create(replicas=0)
    texts = {**DOCUMENTS, **EMPTY}
    here.index([Document(docid, each.get("text") or "", each.get("title", "")) for docid, each in texts.items()])
    assert {status for status, _ in bulk(client, place, texts).values()} == {201}
    assert client.count(index=place)["count"] == len(texts)
    for query in QUERIES:
        row = tokens(tiny, query)
        there = scores(client, place, {"query_text": query})
        assert there == scores(client, place, {"query_tokens": row})
        assert there.keys() <= DOCUMENTS.keys()
        expected = scores(client, here.name, {"query_tokens": row})
        assert_same_up_to_rounding(there, expected, row.values())
    # What our own client says of the index that the cluster filled.
    (hits,) = SplareIndex(client, place, tiny).search(QUERIES[:1], k=1000)
    assert dict(zip(hits.docids, hits.scores / 4, strict=True)) == scores(client, place, {"query_text": QUERIES[0]})


def test_documents_that_change(client, place, service, tiny):
    deployed(client, place, service, tiny)
    bulk(client, place, {docid: DOCUMENTS[docid] for docid in ("plain", "umlaut")})
    first = scores(client, place, {"query_text": QUERIES[0]})
    client.index(index=place, id="plain", body=DOCUMENTS["umlaut"], params={"refresh": "true"})
    second = scores(client, place, {"query_text": QUERIES[0]})
    assert second["plain"] == second["umlaut"] == first["umlaut"] != first["plain"]
    # The vector does not outlive its text.
    client.index(index=place, id="plain", body={"text": ""}, params={"refresh": "true"})
    assert scores(client, place, {"query_text": QUERIES[0]}).keys() == {"umlaut"}
    client.update(index=place, id="plain", body={"doc": DOCUMENTS["umlaut"]}, params={"refresh": "true"})
    assert scores(client, place, {"query_text": QUERIES[0]}) == {"plain": first["umlaut"], "umlaut": first["umlaut"]}
    # A limit of the server, as the documentation says: an update inside of a bulk request runs no pipeline.
    client.bulk(index=place, body=[{"update": {"_id": "umlaut"}}, {"doc": {"title": ""}}], params={"refresh": "true"})
    assert scores(client, place, {"query_text": QUERIES[0]}).keys() == {"plain"}
    client.update_by_query(index=place, params={"refresh": "true"})
    assert scores(client, place, {"query_text": QUERIES[0]})["umlaut"] == first["umlaut"]


def test_reindex_encodes_again(client, place, service, tiny):
    deployed(client, place, service, tiny)
    bulk(client, place, DOCUMENTS)
    target = f"{place}-copy"
    deployed(client, target, service, tiny)
    try:
        request = {"source": {"index": place}, "dest": {"index": target}}
        answer = client.reindex(body=request, params={"refresh": "true"})
        assert (answer["created"], answer["failures"]) == (len(DOCUMENTS), [])
        row = tokens(tiny, QUERIES[0])
        now, before = (scores(client, each, {"query_tokens": row}) for each in (target, place))
        assert_same_up_to_rounding(now, before, row.values())
    finally:
        clean(client, target)


@pytest.mark.parametrize("value", [5, ["a", "b"], {"a": "b"}])
def test_fields_that_are_no_text_fail_alone(client, place, service, tiny, value):
    deployed(client, place, service, tiny)
    outcome = bulk(client, place, {"good": {"text": "a"}, "bad": {"text": value}, "fine": {"text": "b"}})
    assert [status for status, _ in outcome.values()] == [201, 400, 201]
    assert "the field text must be a string" in outcome["bad"][1]
    assert client.count(index=place)["count"] == 2


def test_the_encoder_goes_and_comes_back(client, place, tiny):
    with encoder(tiny) as service:
        deployed(client, place, service, tiny)
        bulk(client, place, {"before": {"text": "before"}})
    outcome = bulk(client, place, DOCUMENTS)
    assert all(status >= 400 and "Connection refused" in error for status, error in outcome.values()), outcome
    assert client.count(index=place)["count"] == 1
    with pytest.raises(Exception, match="Connection refused"):
        scores(client, place, {"query_text": "before"})
    row = tokens(tiny, "before")
    assert scores(client, place, {"query_tokens": row}).keys() == {"before"}
    with encoder(tiny, port=int(service.url.rsplit(":", 1)[1])):
        assert {status for status, _ in bulk(client, place, DOCUMENTS).values()} == {201}
        assert len(scores(client, place, {"query_text": "before"})) == len(DOCUMENTS) + 1


@pytest.mark.slow
def test_an_encoder_killed_while_it_encodes(client, place, tiny, tiny_folder):
    """Each document is in with its vector or is refused; with the refused ones sent again, all are there, once."""
    texts = {f"d{number}": {"text": f"document {number} " * 20} for number in range(900)}
    query = {"query_tokens": dict.fromkeys((f"f{latent}" for latent in range(tiny.config.width)), 1.0)}
    with splare_serve(tiny_folder) as (process, url, _), ThreadPoolExecutor(1) as threads:
        wait_until(lambda: is_ready(url), 60)
        deploy(client, Deployment(index=place, encoder_url=url, config=tiny.config, replicas=0))
        sending = threads.submit(bulk, client, place, texts)
        wait_until(lambda: answered(url) > 10)
        process.kill()
        outcome = sending.result(60)
    taken = {docid for docid, (status, _) in outcome.items() if status == 201}
    refused = {docid: error for docid, (status, error) in outcome.items() if status >= 400}
    assert outcome.keys() == texts.keys() == taken | refused.keys()
    assert 0 < len(taken) < len(texts)
    assert all("Error communicating with remote model" in error for error in refused.values()), refused
    assert client.count(index=place)["count"] == len(taken)
    assert scores(client, place, query).keys() == taken
    with encoder(tiny, port=int(url.rsplit(":", 1)[1])):
        again = bulk(client, place, {docid: texts[docid] for docid in refused})
    assert {status for status, _ in again.values()} == {201}
    assert client.count(index=place)["count"] == len(texts)
    assert scores(client, place, query).keys() == texts.keys()


def test_a_busy_encoder_is_asked_again(client, place, tiny):
    """Its 429 is that of each document, which the stock client repeats."""
    texts = {f"d{number}": {"text": f"document {number} " * 9} for number in range(160)}
    actions = [{"_id": docid, **source} for docid, source in texts.items()]
    with encoder(tiny, limits=Limits(queue_tokens=1)) as service:
        deployed(client, place, service, tiny)
        with ThreadPoolExecutor(4) as threads:
            patience = {"raise_on_error": False, "max_retries": 30, "initial_backoff": 0.1, "max_backoff": 1}
            send = partial(helpers.bulk, client, index=place, **patience)
            for written, failed in threads.map(send, [actions[start::4] for start in range(4)]):
                assert (written, failed) == (40, [])
        assert 'status="429"' in service.get("/metrics").text
        client.indices.refresh(index=place)
        assert len(scores(client, place, {"query_text": "document"})) == 160
        for docid in ("d0", "d77", "d159"):
            assert client.get(index=place, id=docid)["_source"] == texts[docid]


def test_an_encoder_of_another_model_fills_nothing(client, place, tiny):
    other = tiny_model(seed=1)
    with encoder(tiny) as service:
        plan = deployed(client, place, service, tiny)
    with encoder(other, port=int(service.url.rsplit(":", 1)[1])) as service:
        ((status, error),) = bulk(client, place, {"a": {"text": "one"}}).values()
        assert status >= 400
        assert "tiny seed-1" in error
        assert tiny.config.index_fingerprint() in error
        assert client.count(index=place)["count"] == 0
        with pytest.raises(IdentityError, match="seed-0"):
            deploy(client, Deployment(index=place, encoder_url=service.url, config=other.config))
        with pytest.raises(InputError, match="this encoder runs tiny seed-1"):
            deploy(client, plan)
    assert sorted(remains(client, place)) == sorted(ALL)


def test_a_new_token_and_a_new_address(client, place, tiny):
    with encoder(tiny, token="first") as service:
        plan = deployed(client, place, service, tiny, token="first")
        assert bulk(client, place, {"a": {"text": "one"}})["a"][0] == 201
        connectors = client.transport.perform_request("POST", "/_plugins/_ml/connectors/_search", body={})
        assert "first" not in str(connectors)
    port = int(service.url.rsplit(":", 1)[1])
    with encoder(tiny, token="second", port=port), encoder(tiny) as elsewhere:
        with pytest.raises(InputError, match="send the server's token"):
            deploy(client, plan)
        ((_, error),) = bulk(client, place, {"b": {"text": "two"}}).values()
        assert "token as Authorization" in error
        for plan in (
            Deployment(index=place, encoder_url=service.url, config=tiny.config, token="second"),
            Deployment(index=place, encoder_url=elsewhere.url, config=tiny.config, token="not asked for"),
            Deployment(index=place, encoder_url=elsewhere.url, config=tiny.config),
        ):
            changed = deploy(client, plan).changes
            assert changed == ["passage model", "query model", "ingest pipeline", "search pipeline"]
            assert deploy(client, plan).changes == []
            assert bulk(client, place, {"b": {"text": "two"}})["b"][0] in (200, 201)
            assert scores(client, place, {"query_text": "two"}).keys() == {"a", "b"}
            assert sorted(remains(client, place)) == sorted(ALL)


def test_a_connector_that_a_model_uses_is_not_taken_for_one_that_others_use(client, place, service, tiny):
    deployed(client, place, service, tiny)
    body = {"query": {"term": {"name.keyword": model_name(place, "query")}}}
    found = client.transport.perform_request("POST", "/_plugins/_ml/connectors/_search", body=body)
    with pytest.raises(ConflictError, match="still using this connector"):
        _delete_connector(client, found["hits"]["hits"][0]["_id"])
    assert sorted(remains(client, place)) == sorted(ALL)


def test_an_index_that_the_client_filled(client, place, service, tiny):
    here = SplareIndex(client, place, tiny)
    here.create(replicas=0)
    here.index([Document("client", "bees navigate by the sun")])
    plan = Deployment(index=place, encoder_url=service.url, config=tiny.config)
    assert deploy(client, plan).changes[-1] == "settings of the index"
    assert deploy(client, plan).changes == []
    bulk(client, place, {"cluster": {"text": "bees navigate by the sun"}})
    found = scores(client, place, {"query_text": QUERIES[0]})
    assert found["client"] == found["cluster"]


def test_a_name_with_signs(client, place, service, tiny):
    name = f"{place}-ü%41'b"
    deployed(client, name, service, tiny)
    assert bulk(client, name, {"a": {"text": "one"}})["a"][0] == 201
    plan = Deployment(index=name, encoder_url=service.url + "/", config=tiny.config)
    assert deploy(client, plan).changes == []
    assert len(undeploy(client, name, with_index=True)) == 9
    assert remains(client, name) == []
    with pytest.raises(InputError, match="cannot be called"):
        undeploy(client, "*", with_index=True)


def test_passages(client, place, service, tiny):
    deployed(client, place, service, tiny, passage_words=5)
    words = [f"word{number}" for number in range(12)]
    texts = {"twelve": {"title": "Twelve", "text": " ".join(words)}, "one": {"text": "alone"}, **EMPTY}
    assert {status for status, _ in bulk(client, place, texts).values()} == {201}
    stored = client.get(index=place, id="twelve")["_source"]
    assert [passage.split() for passage in stored["passages"]] == [["Twelve", *words[:4]], words[4:9], words[9:]]
    row = tokens(tiny, "word10 word11")
    inner = neural_sparse("splare.sparse_encoding", row)["neural_sparse"]
    expected = {}
    for docid, passages in (("twelve", stored["passages"]), ("one", ["alone"])):
        impacts = tiny.quantizer.documents(tiny.encode_documents(passages)).impacts.toarray()
        query = np.zeros(impacts.shape[1])
        query[[int(term[1:]) for term in row]] = list(row.values())
        expected[docid] = float((impacts @ query).max())
    for asked in (inner, {"splare.sparse_encoding": {"query_text": "word10 word11"}}):
        nested = {"path": "splare", "score_mode": "max", "query": {"neural_sparse": asked}}
        hits = client.search(index=place, body={"query": {"nested": nested}})["hits"]["hits"]
        assert_same_up_to_rounding({hit["_id"]: hit["_score"] for hit in hits}, expected, row.values())
    plan = Deployment(index=place, encoder_url=service.url, config=tiny.config)
    with pytest.raises(InputError, match="has passages, and this is a deployment without"):
        deploy(client, plan)


def test_two_phases(client, place, service, tiny):
    deployed(client, place, service, tiny, two_phase=True)
    bulk(client, place, DOCUMENTS)
    body = {"size": 10, "query": {"neural_sparse": {"splare": {"query_text": QUERIES[0]}}}}
    pipelines = client.transport.perform_request("GET", "/_search/pipeline")
    processors = pipelines[f"splare-{place}"]["request_processors"]
    assert [next(iter(each)) for each in processors] == ["neural_query_enricher", "neural_sparse_two_phase_processor"]
    assert len(client.search(index=place, body=body)["hits"]["hits"]) == 10


@pytest.mark.model
@pytest.mark.slow
def test_the_builtin_model_behind_its_own_process(client, place, builtin):
    """German questions, English paragraphs: the cluster ranks as the client does."""
    documents = [document for document, _ in zip(read_documents(XQUAD / "en"), range(16), strict=False)]
    kept = {document.docid for document in documents}
    qrels = {qid: docs for qid, docs in read_qrels(XQUAD / "de").items() if docs.keys() & kept}
    queries = [query for query in read_queries(XQUAD / "de") if query.qid in qrels][:10]
    with splare_serve() as (_, url, _):
        wait_until(lambda: is_ready(url), 120)
        deploy(client, Deployment(index=place, encoder_url=url, config=ask_encoder(url), replicas=0))
        sources = {each.docid: {"title": each.title, "text": each.text} for each in documents}
        assert {status for status, _ in bulk(client, place, sources).values()} == {201}
        there = [scores(client, place, {"query_text": query.text}) for query in queries]
    here = SplareIndex(client, f"{place}-client", builtin)
    here.create(replicas=0)
    here.index(documents)
    found_first = 0
    for query, found in zip(queries, there, strict=True):
        row = tokens(builtin, query.text)
        assert_same_up_to_rounding(found, scores(client, here.name, {"query_tokens": row}), row.values())
        found_first += max(found, key=found.__getitem__) in qrels[query.qid]
    assert found_first >= 7
