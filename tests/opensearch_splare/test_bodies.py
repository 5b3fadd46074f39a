"""Mappings, the map of features of ``sparse_vector`` fields, and documents as JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from opensearch_splare import FeatureMap, index_body
from opensearch_splare.location import check_name, split_location
from opensearch_splare.mapping import IndexCard, feature_map, seismic_parameters
from opensearch_splare.payload import check_document_impacts, check_query_impacts, to_sources
from splare_plugins.errors import InputError
from splare_plugins.impacts import to_dicts
from splare_plugins.machine.places import without_password

from .conftest import impacts_of, names, random_impacts


def test_the_default_body(config):
    body = index_body(IndexCard(config=config))
    mapping = body["mappings"]
    assert body["settings"] == {"index": {"number_of_shards": 1, "auto_expand_replicas": "0-1"}}
    assert mapping["dynamic"] == "strict"
    assert mapping["_source"] == {"excludes": ["splare"]}
    assert mapping["properties"] == {
        "title": {"type": "text"},
        "text": {"type": "text"},
        "splare": {"type": "rank_features"},
    }
    assert IndexCard.from_mapping(json.loads(json.dumps(mapping)), "docs").config == config


def test_an_index_with_options(config):
    body = index_body(
        IndexCard(config=config, field="tokens"),
        shards=2,
        replicas=1,
        store_vectors=True,
        analyzer="german",
        fields={"language": {"type": "keyword"}},
    )
    assert body["settings"]["index"] == {"number_of_shards": 2, "number_of_replicas": 1}
    assert "_source" not in body["mappings"]
    assert body["mappings"]["properties"]["text"] == {"type": "text", "analyzer": "german"}
    assert body["mappings"]["properties"]["language"] == {"type": "keyword"}
    assert body["mappings"]["properties"]["tokens"] == {"type": "rank_features"}


@pytest.mark.parametrize("options", [{"shards": 0}, {"replicas": -1}, {"fields": {"text": {"type": "keyword"}}}])
def test_bodies_that_cannot_be(config, options):
    with pytest.raises(InputError):
        index_body(IndexCard(config=config), **options)


def test_a_sparse_vector_body(config):
    impacts = random_impacts(20, 10)
    card = IndexCard(config=config, field_type="sparse_vector", features=FeatureMap.of(impacts).to_text())
    body = index_body(card, method=seismic_parameters(document_ceiling=200, query_ceiling=50, n_postings=300))
    assert body["settings"]["index"]["sparse"] is True
    method = body["mappings"]["properties"]["splare"]["method"]
    assert method["name"] == "seismic"
    assert method["parameters"]["quantization_ceiling_ingest"] == 200.0
    assert method["parameters"]["quantization_ceiling_search"] == 50.0
    assert method["parameters"]["n_postings"] == 300
    found = IndexCard.from_mapping(json.loads(json.dumps(body["mappings"])), "docs")
    assert len(feature_map(found)) == len(np.unique(impacts.indices))


@pytest.mark.parametrize(
    "parameters",
    [
        {"document_ceiling": 0},
        {"query_ceiling": -1},
        {"n_postings": 0},
        {"cluster_ratio": 1},
        {"summary_prune_ratio": 0},
        {"approximate_threshold": -1},
    ],
)
def test_seismic_parameters_that_are_refused(parameters):
    with pytest.raises(InputError, match=next(iter(parameters))):
        seismic_parameters(**parameters)


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"properties": {"text": {"type": "text"}}}, "not made by splare"),
        ({"_meta": {"splare": {"format": 9}}}, "format 9"),
    ],
)
def test_foreign_mappings(mapping, words):
    with pytest.raises(InputError, match=words):
        IndexCard.from_mapping(mapping, "docs")


@pytest.mark.parametrize(("kind", "words"), [(None, "is missing"), ("float", "has the type float")])
def test_a_field_that_is_not_what_it_was(config, kind, words):
    mapping = index_body(IndexCard(config=config))["mappings"]
    del mapping["properties"]["splare"]
    if kind:
        mapping["properties"]["splare"] = {"type": kind}
    with pytest.raises(InputError, match=f"'splare' of the index 'docs' {words}"):
        IndexCard.from_mapping(mapping, "docs")


def test_the_feature_map_is_compact_and_comes_back():
    features = FeatureMap(np.array([70_000, 5, 131_071]), 131_072)
    assert len(features) == 3
    assert features.document({"f5": 1, "f70000": 2, "f131071": 3}, "d") == {"0": 1, "1": 2, "2": 3}
    again = FeatureMap.from_text(features.to_text(), 131_072)
    assert again.query({"f131071": 1.5, "f6": 9.0}) == {"2": 1.5}
    assert len(FeatureMap(np.arange(0, 262_144, 9), 262_144).to_text()) < 50_000


def test_what_the_feature_map_refuses():
    FeatureMap(np.arange(32_768), 65_536)
    with pytest.raises(InputError, match="32769 latents"):
        FeatureMap(np.arange(32_769), 65_536)
    with pytest.raises(InputError, match=r"'d7'.*f9"):
        FeatureMap(np.array([1]), 100).document({"f9": 1}, "d7")
    for text in ("not base64!", "AAAA"):
        with pytest.raises(InputError, match="damaged"):
            FeatureMap.from_text(text, 100)


def test_sources_are_what_json_would_write():
    impacts = random_impacts(30, 25)
    fields = [{"title": 'a "b" \\ ü\n', "text": f"{number}"} for number in range(29)] + [{}]
    sources = to_sources(names(30), impacts, "splare", fields=fields)
    expected = [{"splare": row, **more} for row, more in zip(to_dicts(impacts), fields, strict=True)]
    assert [json.loads(source) for source in sources] == expected
    assert [json.loads(source) for source in to_sources(["d"], impacts_of({}), "v")] == [{"v": {}}]


def test_sources_of_a_sparse_vector_index():
    impacts = impacts_of({7: 3, 900: 255})
    features = FeatureMap(np.array([7, 100, 900]), impacts.shape[1])
    assert json.loads(to_sources(["d"], impacts, "splare", features=features)[0]) == {"splare": {"0": 3, "2": 255}}


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, "\ud800"])
def test_fields_that_are_no_json(value):
    with pytest.raises(InputError, match="'d1'"):
        to_sources(["d0", "d1"], impacts_of({}, {}), "splare", fields=[{"a": 1}, {"a": value}])


def test_impacts_that_the_field_would_round():
    check_document_impacts(["a"], impacts_of({1: 512}))
    with pytest.raises(InputError, match=r"'b' has the impact 513"):
        check_document_impacts(["a", "b"], impacts_of({1: 5}, {1: 1, 9: 513}))
    check_query_impacts(impacts_of({1: 256}))
    with pytest.raises(InputError, match="row 1 has the impact 257"):
        check_query_impacts(impacts_of({1: 5}, {9: 257}))


@pytest.mark.parametrize("bad", ["", "Docs", "_docs", "-docs", ".docs", "a b", "a/b", "a*", "a,b", "a#b", "d" * 241])
def test_names_that_opensearch_refuses(bad):
    check_name("docs-2_ü.1")
    with pytest.raises(InputError, match="cannot be called"):
        check_name(bad)


def test_locations(monkeypatch):
    monkeypatch.setenv("OPENSEARCH_URL", "https://u:p@host:9200/")
    assert split_location("docs") == ("https://u:p@host:9200", "docs")
    monkeypatch.delenv("OPENSEARCH_URL")
    assert split_location("docs") == ("http://127.0.0.1:9200", "docs")
    assert split_location("https://u:p@host:9200/docs") == ("https://u:p@host:9200", "docs")
    assert without_password("https://u:p@host:9200/docs") == "https://host:9200/docs"
    for bad in ("folder/docs", "http://host:9200", "http://host:9200/", "http:///docs", "ftp://host/docs"):
        with pytest.raises(InputError, match="does not name an index"):
            split_location(bad)
