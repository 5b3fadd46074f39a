"""The search page on an index of OpenSearch, which ranks its texts by words itself, and may be replaced."""

from __future__ import annotations

import pytest
import requests

from opensearch_splare import SplareIndex
from opensearch_splare.writer import OpenSearchWriter
from splare_plugins.corpus import Document
from splare_plugins.retrieval.indexing import document_batches
from tests.serving.collection import opened
from tests.serving.conftest import running
from tests.tiny import tiny_model

pytestmark = pytest.mark.java

TEXTS = {"fox": "The quick brown fox.", "dog": "A lazy dog and a fox.", "zh": "狐狸 和 狗"}


def fill(location, model, texts=TEXTS, *, store_text=True, **options):
    documents = [Document(docid, text, "Foxes" if docid == "dog" else "") for docid, text in texts.items()]
    with OpenSearchWriter(location, model.config, store_text=store_text, **options) as writer:
        for batch in document_batches(model, documents, store_text=store_text):
            writer.add(batch.docids, batch.impacts, batch.documents)


def test_the_page_ranks_by_the_words_of_the_server_and_notices_a_new_index(client, name, tiny, opensearch_url):
    location = f"{opensearch_url}/{name}"
    fill(location, tiny)
    index = SplareIndex(client, name, tiny)
    with running(lambda device: tiny, index=opened(location, None, "opensearch")) as page:

        def ask(query="quick foxes, a fox", **more):
            return requests.post(f"{page.url}/search", json={"query": query, "words": True, **more}, timeout=20)

        assert page.get("/index").json()["words"] is True
        told = ask().json()
        fields = {"query": "quick foxes, a fox", "fields": ["title", "text"]}
        expected = client.search(index=name, body={"query": {"multi_match": fields}})["hits"]["hits"]
        assert [hit["docid"] for hit in told["words"]] == [hit["_id"] for hit in expected]
        assert [hit["score"] for hit in told["words"]] == pytest.approx([hit["_score"] for hit in expected], rel=1e-6)
        assert {hit["docid"]: hit["text"] for hit in told["words"]} == {
            "fox": TEXTS["fox"],
            "dog": f"Foxes {TEXTS['dog']}",
        }
        (hits,) = index.search(["quick foxes, a fox"], 10)
        assert [(hit["docid"], hit["score"]) for hit in told["hits"]] == list(zip(*hits, strict=True))
        assert ask("").json()["words"] == []
        # More words than a query has room for: the beginning counts, also of a script without blanks.
        for first, many in (("lazy", "".join(f" word{number}" for number in range(5000))), ("狗", "好" * 5000)):
            (found,) = ask(f"{first}{many} quick").json()["words"]
            assert found["docid"] == ("dog" if first == "lazy" else "zh")
        assert index.search_hybrid([f"lazy{' word' * 5000}"], 1)[0].docids
        # A new generation of the same name, then one without texts, then one of another model.
        fill(location, tiny, {"new": "a fox that is new"}, overwrite=True)
        again = ask().json()
        assert [hit["docid"] for hit in again["words"]] == [hit["docid"] for hit in again["hits"]] == ["new"]
        assert again["version"] != told["version"]
        fill(location, tiny, {"bare": "a fox"}, store_text=False, overwrite=True)
        bare = ask().json()
        assert bare["words"] is None and [hit["docid"] for hit in bare["hits"]] == ["bare"]
        fill(location, tiny_model(seed=1), overwrite=True)
        refused = ask()
        assert refused.status_code == 409 and "start the server again" in refused.json()["detail"]
