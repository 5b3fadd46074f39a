"""mteb on our models: a real retrieval task from the bundled data, through float vectors and through engines."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from splare_plugins.corpus import Document, Query, ReadCounts, read_documents, read_qrels, read_queries
from splare_plugins.engines import Hits, get_engine
from splare_plugins.errors import InputError, MissingPartError
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.evaluation import evaluate
from splare_plugins.retrieval.indexing import document_batches, index, query_impacts, search_queries
from splare_plugins.retrieval.mteb_search import EngineSearch
from splare_plugins.st import SplareEncoder

DATA = Path(__file__).parents[2] / "examples" / "data"


class Bundled:
    """Part of a bundled collection, and the same as a task of mteb."""

    def __init__(self, queries: Path, corpus: Path, documents: int) -> None:
        self.documents = list(read_documents(corpus))[:documents]
        known = {document.docid for document in self.documents}
        judged = {
            qid: {docid: grade for docid, grade in row.items() if docid in known}
            for qid, row in read_qrels(corpus).items()
        }
        self.qrels = {qid: row for qid, row in judged.items() if row}
        self.queries = [query for query in read_queries(queries) if query.qid in self.qrels]

    def task(self) -> Any:
        from datasets import Dataset
        from mteb.abstasks import AbsTaskRetrieval
        from mteb.abstasks.task_metadata import TaskMetadata

        corpus = Dataset.from_list(
            [{"id": each.docid, "title": each.title, "text": each.text} for each in self.documents]
        )
        queries = Dataset.from_list([{"id": query.qid, "text": query.text} for query in self.queries])
        data = {"corpus": corpus, "queries": queries, "relevant_docs": self.qrels, "top_ranked": None}

        class Task(AbsTaskRetrieval):
            metadata = TaskMetadata(
                name="Bundled",
                description="Bundled paragraphs",
                dataset={"path": "none", "revision": "1"},
                type="Retrieval",
                category="t2t",
                modalities=["text"],
                eval_splits=["test"],
                eval_langs=["deu-Latn"],
                main_score="ndcg_at_10",
            )

            def load_data(self, *_: Any, **__: Any) -> None:
                self.dataset = {"default": {"test": data}}
                self.data_loaded = True

        return Task()

    def ndcg(self, model: Any) -> float:
        """What mteb says."""
        import mteb

        result = mteb.evaluate(model, self.task(), cache=None, co2_tracker=False, show_progress_bar=False)
        return result.task_results[0].scores["test"][0]["ndcg_at_10"]

    def expected(
        self, model: SplareModel, *, integers: bool, engine: str = "memory", folder: Path | None = None
    ) -> float:
        """What our own evaluation says: of float vectors multiplied, or of an engine's index."""
        qids = [query.qid for query in self.queries]
        if integers:
            with get_engine(engine).writer(str(folder), model.config) as writer:
                counts = ReadCounts(read=len(self.documents))
                index(document_batches(model, iter(self.documents)), writer, counts=counts)
            with get_engine(engine).searcher(str(folder)) as searcher:
                run = search_queries(searcher, qids, query_impacts(model, self.queries), 1000)
        else:
            docids = [document.docid for document in self.documents]
            texts = [document.content for document in self.documents]
            queries = model.encode_queries([query.text for query in self.queries]).toarray()
            scores = queries @ model.encode_documents(texts).toarray().T
            run = {qid: Hits(docids, row.astype(float)) for qid, row in zip(qids, scores, strict=True)}
        return evaluate(self.qrels, run, ["nDCG@10"])["nDCG@10"]


@pytest.fixture(scope="module")
def xquad() -> Bundled:
    return Bundled(DATA / "xquad" / "de", DATA / "xquad" / "en", 20)


@pytest.mark.slow
def test_float_vectors_through_mteb(xquad, tiny, tiny_folder):
    assert len(xquad.queries) > 50
    found = xquad.ndcg(SplareEncoder(tiny_folder, device="cpu"))
    assert found == pytest.approx(xquad.expected(tiny, integers=False), abs=1e-5)


@pytest.mark.parametrize("engine", ["memory", pytest.param("lucene", marks=pytest.mark.java)])
def test_an_engine_through_mteb(xquad, tiny, engine, tmp_path):
    found = xquad.ndcg(EngineSearch(tiny, engine))
    own = xquad.expected(tiny, integers=True, engine=engine, folder=tmp_path / "index")
    assert found == pytest.approx(own, abs=1e-5)
    assert found == pytest.approx(xquad.expected(tiny, integers=False), abs=0.03)  # a random model has near-ties


@pytest.mark.model
def test_the_built_in_model_both_ways(builtin, tmp_path):
    xquad = Bundled(DATA / "xquad" / "de", DATA / "xquad" / "en", 8)
    floats = xquad.ndcg(SplareEncoder("splare-e5-small", device="cpu"))
    integers = xquad.ndcg(EngineSearch(builtin))
    assert floats == pytest.approx(xquad.expected(builtin, integers=False), abs=1e-5)
    assert integers == pytest.approx(xquad.expected(builtin, integers=True, folder=tmp_path / "index"), abs=1e-5)
    assert integers == pytest.approx(floats, abs=0.005)
    assert floats > 0.85


def test_vectors_through_the_wrapper_of_mteb_are_ours(xquad, tiny, tiny_folder):
    from mteb._create_dataloaders import create_dataloader
    from mteb.models import SparseEncoderWrapper
    from mteb.types import PromptType

    wrapper, task = SparseEncoderWrapper(SplareEncoder(tiny_folder, device="cpu")), xquad.task()
    task.load_data()
    data = task.dataset["default"]["test"]
    for rows, side, expected in (
        (data["corpus"], PromptType.document, tiny.encode_documents([each.content for each in xquad.documents])),
        (data["queries"], PromptType.query, tiny.encode_queries([query.text for query in xquad.queries])),
    ):
        loader = create_dataloader(rows, task_metadata=task.metadata, prompt_type=side, batch_size=8)
        names = {"task_metadata": task.metadata, "hf_split": "test", "hf_subset": "default"}
        found = wrapper.encode(loader, prompt_type=side, batch_size=8, show_progress_bar=False, **names)
        np.testing.assert_allclose(found.to_dense().numpy(), expected.toarray(), atol=1e-5)


def test_an_index_is_kept_where_it_is_asked_for(xquad, tiny, tmp_path):
    search = EngineSearch(tiny, folder=tmp_path, document_top_k=5)
    xquad.ndcg(search)
    with get_engine("memory").searcher(str(tmp_path / "Bundled-default-test")) as searcher:
        assert searcher.num_docs == 20
        tiny.config.require_same_index(searcher.config, "the index")
    assert search.mteb_model_meta.revision == tiny.config.index_fingerprint()
    assert search.mteb_model_meta.name == "splare-plugins/tiny-memory"


def test_what_cannot_be_searched_is_refused(tiny, tmp_path):
    names = {"task_metadata": SimpleNamespace(name="task"), "hf_split": "test", "hf_subset": "default"}
    search = EngineSearch(tiny, folder=tmp_path)
    with pytest.raises(InputError, match="reranks given documents"):
        search.search([], top_k=1, top_ranked={"q": ["d"]}, **names)
    with pytest.raises(InputError, match="are conversations"):
        search.search([{"id": "q", "text": [{"role": "user"}]}], top_k=1, **names)
    with pytest.raises(InputError, match="there is no engine 'none'"):
        EngineSearch(tiny, "none")


def test_a_missing_mteb_is_named(tiny, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "mteb.models", None)
    with pytest.raises(MissingPartError, match=r"pip install 'splare-plugins\[mteb\]'"):
        EngineSearch(tiny)


def test_titles_and_instructions_are_part_of_the_text():
    from splare_plugins.retrieval.mteb_search import _documents, _queries

    assert list(_documents([{"id": 1, "text": " body ", "title": None}])) == [Document("1", "body", "")]
    (query,) = _queries([{"id": 2, "text": "what", "instruction": "find it"}], "task")
    assert query == Query("2", "what find it")
