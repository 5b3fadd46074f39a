"""Tasks of mteb as corpora, without downloading one."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from splare_plugins.corpus import Document, Query, read_documents, read_queries, source_identity
from splare_plugins.corpus.mteb_tasks import _loaded, mteb_language, mteb_qrels
from splare_plugins.errors import InputError, MissingPartError

CORPUS = [{"id": "d1", "title": "Fox", "text": " brown "}, {"id": "d2", "title": None, "text": "dog"}]
QUERIES = [
    {"id": "d1", "text": "which fox", "instruction": None},
    {"id": "q2", "text": "a dog", "instruction": "Find animals."},
]
JUDGED = {"d1": {"d1": 1, "d2": 2}, "q2": {"d2": 1}}


def task(
    name: str, langs: Any, splits: list[str], *, ranked: Any = None, same: bool = False, modality: str = "text"
) -> type[Any]:
    from datasets import Dataset
    from mteb.abstasks import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    class Task(AbsTaskRetrieval):
        ignore_identical_ids = same
        metadata = TaskMetadata(
            name=name,
            description="Animals",
            dataset={"path": "none", "revision": "1"},
            type="Retrieval",
            category="t2t",
            modalities=[modality],
            eval_splits=splits,
            eval_langs=langs,
            main_score="ndcg_at_10",
        )

        def load_data(self, *_: Any, **__: Any) -> None:
            if name == "Broken":
                raise ConnectionError("Couldn't reach\nthe hub")
            rows = {"corpus": Dataset.from_list(CORPUS), "queries": Dataset.from_list(QUERIES)}
            data = {**rows, "relevant_docs": JUDGED, "top_ranked": ranked}
            self.dataset = {subset: dict.fromkeys(self.eval_splits, data) for subset in self.hf_subsets}
            self.data_loaded = True

    return Task


@pytest.fixture(autouse=True)
def tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks of our own in mteb's register."""
    import mteb  # noqa: F401

    known = [
        task("Animals", ["deu-Latn"], ["test"]),
        task("Same", ["eng-Latn"], ["dev"], same=True),
        task("Many", {"de": ["deu-Latn"], "both": ["eng-Latn", "zho-Hans"]}, ["dev", "train"]),
        task("Ranked", ["eng-Latn"], ["test"], ranked={"q2": ["d2"]}),
        task("Pictures", ["eng-Latn"], ["test"], modality="image"),
        task("Broken", ["eng-Latn"], ["test"]),
    ]
    registry = vars(sys.modules["mteb.get_tasks"])["_TASKS_REGISTRY"]
    for each in known:
        monkeypatch.setitem(registry, each.metadata.name, each)
    _loaded.cache_clear()


def test_documents_queries_and_judgements():
    assert list(read_documents("mteb:Animals")) == [Document("d1", "brown", "Fox"), Document("d2", "dog")]
    assert read_queries("mteb:Animals") == [Query("d1", "which fox"), Query("q2", "a dog Find animals.")]
    assert mteb_qrels("mteb:Animals") == JUDGED
    assert mteb_language("mteb:Animals") == "de"


def test_a_document_that_is_the_query_is_no_answer_where_mteb_leaves_it_out():
    assert [query.excluded for query in read_queries("mteb:Same")] == [("d1",), ("q2",)]


def test_parts_have_identities_of_their_own():
    names = ["mteb:Animals", "mteb:Many/de/dev", "mteb:Many/de/train", "mteb:Many/both/dev"]
    assert len({source_identity(name) for name in names}) == 4
    assert source_identity("mteb:Animals") == source_identity("mteb:Animals/default/test")
    assert mteb_language("mteb:Many/de/dev") == "de" and mteb_language("mteb:Many/both/dev") is None
    assert len(list(read_documents("mteb:Same/default"))) == 2  # its one split is dev


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("mteb:Animal", "mteb has no task 'Animal'; did you mean mteb:Animals?"),
        ("mteb:qqqqqq", "mteb has no task 'qqqqqq'; mteb.get_tasks"),
        ("mteb:", "'mteb:' is not a name of a task; give mteb:TASK, mteb:TASK/SUBSET or"),
        ("mteb:Many", "mteb:Many has several subsets (de, both); name one of them, such as mteb:Many/de"),
        ("mteb:Many/fr", "mteb:Many/fr has no subset 'fr' (de, both); name one of them, such as mteb:Many/de"),
        ("mteb:Many/de", "has several splits (dev, train); name one of them, such as mteb:Many/de/dev"),
        ("mteb:Many/de/test", "has no split 'test' (dev, train); name one of them, such as mteb:Many/de/dev"),
        ("mteb:STS12", "mteb:STS12 is a task of STS; give one of retrieval"),
        ("mteb:AskUbuntuDupQuestions", "is a task of Reranking; give one of retrieval"),
        ("mteb:Pictures", "searches among image; give a task of texts alone"),
        ("mteb:Ranked", "ranks given documents anew and searches none"),
        ("mteb:Broken", "mteb cannot load mteb:Broken (Couldn't reach the hub); without a network, load it once"),
    ],
)
def test_what_is_not_a_task_to_search(source, message):
    with pytest.raises(InputError) as refused:
        list(read_documents(source))
    assert message in str(refused.value)


def test_a_missing_mteb_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(MissingPartError, match=r"pip install 'splare-plugins\[mteb\]'"):
        read_documents("mteb:Animals")
