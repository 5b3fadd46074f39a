"""Names that people import, by the modules that they import them from: all of them keep working."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

EXPORTED = {
    "splare_plugins": "Quantizer SideConfig SplareConfig SplareError SplareModel __version__",
    "splare_plugins.backbone": "Backbone Tokens load_backbone require_bidirectional",
    "splare_plugins.corpus": "Document EncodedBatch EncodedCounts EncodedFolder Encoding Query ReadCounts ShardRecord "
    "read_documents read_qrels read_queries read_run source_identity write_run write_shard",
    "splare_plugins.engines": "Engine Hits IndexWriter Searcher engine_names get_engine",
    "splare_plugins.heads": "Head LanguageModelHead MaskedLanguageModelHead SparseAutoencoder load_head",
    "splare_plugins.heads.importers": "SUITES Hints import_sae",
    "splare_plugins.pooling": "activate sae_max_pool topk_max_pool",
    "splare_plugins.st": "SplareEncoder SplarePooling SplareTransformer StModel export_stock",
    "pyserini_splare": "Java LuceneEngine LuceneSearcher LuceneWriter SplareDocumentEncoder SplareQueryEncoder "
    "ThreadError bm25_search find_java read_json_vectors rm3 rocchio start_jvm write_json_vectors write_query_file",
    "pyterrier_splare": "DenseBackbone EncodedDocuments LatentRM3 Splare SplareDocEncoder SplareExplainer SplareIndex "
    "SplareQueryEncoder SplareScorer start_terrier",
    "pyterrier_splare.indexes": "AnseriniSplareIndex MemorySplareIndex PisaSplareIndex SeismicSplareIndex SplareIndex "
    "SplareIndexer SplareRetriever TerrierSplareIndex",
    "opensearch_splare": "BulkSender Deployment EncodedShare FeatureMap IndexReport Node OpenSearchEngine "
    "OpenSearchSearcher OpenSearchWriter ShareReport SplareIndex TextShare ask_encoder connect deploy hybrid "
    "hybrid_pipeline index_body load_share neural_sparse "
    "query_tokens rank_feature sparse_vector start_cluster two_phase_pipeline undeploy verify",
    "opensearch_splare.node": "VERSION Node node_home start_cluster",
}
"""What the packages export."""

USED = {
    "splare_plugins.backbone": "Backbone Tokens load_backbone",
    "splare_plugins.cli.app": "main",
    "splare_plugins.config": "SideConfig SplareConfig",
    "splare_plugins.errors": "IdentityError InputError MissingPartError SplareError",
    "splare_plugins.impacts": "Quantizer from_dicts latent_term latent_terms to_dicts",
    "splare_plugins.model": "SplareModel",
    "splare_plugins.training.config": "EvaluationSettings LoraSettings TrainingConfig",
    "splare_plugins.training.data": "prepare",
    "splare_plugins.training.development": "keep_largest",
    "splare_plugins.training.finish": "finish",
    "splare_plugins.training.losses": "kl_distillation",
    "splare_plugins.training.student": "add_adapter",
    "opensearch_splare.connection": "error_reason explain_reason",
    "opensearch_splare.queries": "IMPACT_UNIT Body search_body",
}
"""What documentation, examples and reports of users import from modules."""

MOVED = {
    "splare_plugins.assemble": "assemble",
    "splare_plugins.batching": "length_batches top_k_rows",
    "splare_plugins.builtin": "BUILTIN_MODEL BUILTIN_MODELS ZERO_SHOT_MODEL builtin_folder cache_root",
    "splare_plugins.builtin.calibrate": "sample_documents sample_queries",
    "splare_plugins.builtin.convert": "convert raw_head",
    "splare_plugins.card": "CardOptions",
    "splare_plugins.dense": "dense_vectors",
    "splare_plugins.describe": "describe_model",
    "splare_plugins.evaluation": "evaluate",
    "splare_plugins.explain": "explain",
    "splare_plugins.feedback": "rm3_query rocchio_query",
    "splare_plugins.files": "file_sha256 replacing",
    "splare_plugins.indexing": "encode_documents encode_queries search_queries",
    "splare_plugins.java": "find_java",
    "splare_plugins.labels": "Label",
    "splare_plugins.locate": "locate_model",
    "splare_plugins.mteb_search": "EngineSearch",
    "splare_plugins.training.embed": "Embed bm25_embedder read_texts",
    "splare_plugins.training.flops": "batch_mean flops",
    "splare_plugins.training.mine": "Question",
    "splare_plugins.training.teachers": "SIDES Teachers TeacherVectors",
    "pyserini_splare.java": "java_class",
    "pyterrier_splare.java": "terrier_jars",
}
"""Modules that have other names now, with what was imported from them."""


@pytest.mark.parametrize(("module", "names"), [*EXPORTED.items(), *USED.items()])
def test_a_name_is_where_it_was(module: str, names: str) -> None:
    for name in names.split():
        assert hasattr(import_module(module), name), name


@pytest.mark.parametrize(("module", "names"), EXPORTED.items())
def test_a_package_lists_what_it_exports(module: str, names: str) -> None:
    package = import_module(module)
    assert set(names.split()) <= set(package.__all__)
    assert set(names.split()) <= set(dir(package))


@pytest.mark.parametrize(("module", "names"), MOVED.items())
def test_an_old_module_says_where_it_is_now(module: str, names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.warns(DeprecationWarning, match=rf"{module} is [a-z_.]+ now; import that"):
        found = import_module(module)
    assert found.__name__ != module
    for name in names.split():
        assert hasattr(found, name), name
