"""The unmodified Pyserini on our indexes, and our searcher on Anserini's.

Importing Pyserini takes half a minute, so everything that needs it stands here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from pyserini_splare import LuceneSearcher, LuceneWriter, rm3, rocchio, write_json_vectors, write_query_file
from pyserini_splare.jvm import java_class
from splare_plugins.errors import InputError
from splare_plugins.impacts import to_dicts

from .conftest import ROOT, best, impacts_of, names, products, random_impacts, write

pytestmark = [pytest.mark.java, pytest.mark.slow, pytest.mark.usefixtures("jvm")]


class Encoded:
    """Queries that were encoded beforehand."""

    def __init__(self, queries: Sequence[dict[str, int]]) -> None:
        self.queries = queries

    def encode(self, query: str, **_: Any) -> dict[str, int]:
        return self.queries[int(query)]


def corpus() -> csr_array:
    """One latent in every document but the empty one, three identical documents, weights of 1,000 and 70,000."""
    dense = random_impacts(600, 80, seed=7).toarray()
    dense[:, 0] = 3
    dense[10] = dense[11] = dense[12]
    dense[20, 5], dense[21, 5] = 1_000, 70_000
    dense[30] = 0
    return csr_array(dense)


DOCUMENTS = corpus()
QUERIES = random_impacts(30, 40, seed=8)
DICTS = to_dicts(QUERIES)
OPTIONS: dict[str, list[str]] = {"plain": [], "full": ["-storeRaw", "-storeDocvectors"]}


@pytest.fixture(scope="module")
def folder(jvm: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Indexes of the same vectors: Anserini's and ours, without and with what feedback needs."""
    root = tmp_path_factory.mktemp("stock")
    rows = [{"contents": "", "vector": vector} for vector in to_dicts(DOCUMENTS)]
    (root / "json").mkdir()
    write_json_vectors(root / "json" / "0.jsonl", names(600), DOCUMENTS, [""] * 600)
    for name, options in OPTIONS.items():
        arguments = ["-collection", "JsonVectorCollection", "-input", str(root / "json")]
        arguments += ["-index", str(root / f"anserini-{name}"), "-generator", "DefaultLuceneDocumentGenerator"]
        arguments += ["-threads", "1", "-impact", "-pretokenized", "-optimize", "-quiet", *options]
        java_class("io.anserini.index.IndexCollection").main(arguments)
        full = name == "full"
        with LuceneWriter(root / f"ours-{name}", store_text=full, store_vectors=full) as writer:
            writer.add(names(600), DOCUMENTS, rows)
    with LuceneWriter(root / "ours-raw", store_text=True) as writer:
        writer.add(names(600), DOCUMENTS, rows)
    return root


def published_indexes(*_: Any, **__: Any) -> BytesIO:
    """What Pyserini 2.4 fetches when it is imported: indexes to download, of which it looks up two at once."""
    names = ("msmarco-v1-passage.unicoil", "msmarco-v2-passage.unicoil-0shot")
    facts = dict.fromkeys(("description", "filename", "urls", "md5", "size"))
    return BytesIO(json.dumps([{"name": name, **facts} for name in names]).encode())


@pytest.fixture(scope="module")
def stock(jvm: None) -> Any:
    """Pyserini's module of searchers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("urllib.request.urlopen", published_indexes)
        import pyserini.search.lucene

    return pyserini.search.lucene


def answers(searcher: Any, k: int = 100) -> list[tuple[list[str], list[float]]]:
    found = [searcher.search(str(number), k) for number in range(len(DICTS))]
    return [([hit.docid for hit in hits], [round(hit.score) for hit in hits]) for hits in found]


def test_the_indexes_hold_the_same(folder: Path) -> None:
    with LuceneSearcher(folder / "anserini-plain") as theirs, LuceneSearcher(folder / "ours-plain") as ours:
        assert theirs.statistics() == ours.statistics()
        assert ours.statistics()["impacts"] == DOCUMENTS.data.sum()
        assert theirs.config is None
        # Anserini leaves empty documents out; we count them.
        assert (theirs.num_docs, ours.num_docs) == (599, 600)
        one, other = (
            [(hits.docids, hits.scores.tolist()) for hits in searcher.search(QUERIES, 600)]
            for searcher in (theirs, ours)
        )
    assert one == other
    assert one == [best(scores, names(600), 600) for scores in products(QUERIES, DOCUMENTS)]


def test_the_postings_are_the_same(folder: Path, stock: Any) -> None:
    from pyserini.index.lucene import LuceneIndexReader

    theirs, ours = (LuceneIndexReader(str(folder / name)) for name in ("anserini-plain", "ours-plain"))
    for latent in (0, 5, 17, 499):
        lists = []
        for reader in (theirs, ours):
            postings = reader.get_postings_list(f"f{latent}", analyzer=None)
            docids = [reader.convert_internal_docid_to_collection_docid(posting.docid) for posting in postings]
            lists.append({docid: posting.tf for docid, posting in zip(docids, postings, strict=True)})
        column = DOCUMENTS.toarray()[:, latent]
        assert lists[0] == lists[1] == {f"d{row}": column[row] for row in np.flatnonzero(column)}


@pytest.mark.parametrize("name", ["anserini-plain", "ours-plain", "ours-full"])
def test_the_stock_searcher_gives_the_dot_products(folder: Path, stock: Any, name: str) -> None:
    searcher = stock.LuceneImpactSearcher(str(folder / name), Encoded(DICTS), min_idf=-1)
    expected = [best(scores, names(600), 100) for scores in products(QUERIES, DOCUMENTS)]
    assert answers(searcher) == expected
    batch = searcher.batch_search(
        [str(number) for number in range(30)], [f"q{number}" for number in range(30)], 100, 2
    )
    assert {qid: [round(hit.score) for hit in hits] for qid, hits in batch.items()} == {
        f"q{number}": scores for number, (_, scores) in enumerate(expected)
    }
    searcher.close()


def test_min_idf_is_what_makes_the_stock_searcher_drop_latents(tmp_path: Path, stock: Any) -> None:
    write(tmp_path / "index", impacts_of({0: 3, 1: 5}, {0: 4}))
    encoder = Encoded([{"f0": 10}])
    hits = [
        stock.LuceneImpactSearcher(str(tmp_path / "index"), encoder, min_idf=least).search("0") for least in (0, -1)
    ]
    assert [len(found) for found in hits] == [0, 2]
    with LuceneSearcher(tmp_path / "index") as searcher:
        assert searcher.search(impacts_of({0: 10}), 10)[0].scores.tolist() == [40, 30]


def test_raw_text_for_the_stock_searcher(folder: Path, stock: Any) -> None:
    searcher = stock.LuceneImpactSearcher(str(folder / "ours-full"), Encoded(DICTS), min_idf=-1)
    assert json.loads(searcher.doc("d7").raw())["vector"] == to_dicts(DOCUMENTS)[7]
    assert searcher.doc("d30").docid() == "d30"
    assert searcher.num_docs == 600
    searcher.close()


@pytest.mark.parametrize("name", ["anserini-full", "ours-full", "ours-raw"])
@pytest.mark.parametrize("method", ["rm3", "rocchio"])
def test_feedback_agrees_with_the_stock_searcher(folder: Path, stock: Any, name: str, method: str) -> None:
    searcher = stock.LuceneImpactSearcher(str(folder / name), Encoded(DICTS), min_idf=-1)
    getattr(searcher, f"set_{method}")()
    theirs = [searcher.search(str(number), 50) for number in range(10)]
    searcher.close()
    with LuceneSearcher(folder / name) as own:
        ours = {"rm3": rm3, "rocchio": rocchio}[method](own, DICTS[:10], 50)
        plain = own.search_dicts(DICTS[:10], 50)
    for stock_hits, hits in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(hits.scores, [hit.score for hit in stock_hits], rtol=2e-3)
        assert len({hit.docid for hit in stock_hits} & set(hits.docids)) >= 49
    assert any(hits.docids != before.docids for hits, before in zip(ours, plain, strict=True))


def test_feedback_without_vectors(folder: Path) -> None:
    with LuceneSearcher(folder / "ours-plain") as searcher, pytest.raises(InputError, match="keeps no vectors"):
        rm3(searcher, DICTS[:1], 10)


def test_the_stock_command_line_with_encoded_queries(folder: Path, tmp_path: Path) -> None:
    """In a process and an environment in which nothing of ours has prepared the way."""
    texts = [f"query number {number}" for number in range(30)]
    write_query_file(tmp_path / "queries.jsonl", names(30), texts, QUERIES)
    (tmp_path / "topics.tsv").write_text("".join(f"q{number}\t{text}\n" for number, text in enumerate(texts)))
    arguments = ["--index", str(folder / "ours-plain"), "--topics", str(tmp_path / "topics.tsv"), "--impact"]
    arguments += ["--encoder", str(tmp_path / "queries.jsonl"), "--min-idf", "-1", "--hits", "100"]
    command = [sys.executable, "-m", "pyserini_splare.stock", "pyserini.search.lucene", *arguments]
    environment = {name: os.environ[name] for name in os.environ if name not in ("OPENAI_API_KEY", "JAVA_HOME")}
    output = ["--output", str(tmp_path / "stock.trec")]
    subprocess.run([*command, *output], env=environment, cwd=ROOT, check=True, capture_output=True)
    from pyserini_splare.search import main

    main([*arguments, "--output", str(tmp_path / "ours.trec")])
    runs = []
    for name in ("stock", "ours"):
        lines = [line.split() for line in (tmp_path / f"{name}.trec").read_text().splitlines()]
        runs.append(sorted((line[0], int(line[3]), line[2], round(float(line[4]))) for line in lines))
    assert runs[0] == runs[1]
    assert len({line[0] for line in runs[0]}) == 30


def test_encoders_for_the_stock_searcher(stock: Any, tiny: Any, tmp_path: Path) -> None:
    from pyserini.encode import DocumentEncoder, QueryEncoder

    from pyserini_splare import SplareDocumentEncoder, SplareQueryEncoder

    documents, queries = SplareDocumentEncoder(tiny), SplareQueryEncoder(tiny)
    assert isinstance(documents, DocumentEncoder)
    assert isinstance(queries, QueryEncoder)
    texts = ["Sparse autoencoders", None, "latents", None]
    titles = ["A title", "Only a title", None, None]
    vectors = documents.encode(texts=texts, titles=titles, fp16=True, max_length=256, add_sep=False)
    contents = ["A title Sparse autoencoders", "Only a title", "latents", ""]
    assert vectors == to_dicts(tiny.quantizer.documents(tiny.encode_documents(contents)).impacts)
    assert vectors == documents.encode(contents)
    assert vectors[3] == {}
    query = queries.encode("latents", device="cpu")
    assert all(type(weight) is int for weight in query.values())
    assert queries.encode("") == {}
    with LuceneWriter(tmp_path / "index", tiny.config) as writer:
        writer.add(names(4), tiny.quantizer.documents(tiny.encode_documents(contents)).impacts)
    hits = stock.LuceneImpactSearcher(str(tmp_path / "index"), queries, min_idf=-1).search("latents")
    with LuceneSearcher(tmp_path / "index") as searcher:
        own = searcher.search_dicts([query], 10)[0]
    assert [(hit.docid, round(hit.score)) for hit in hits] == list(zip(own.docids, own.scores, strict=True))


def test_a_model_by_path(stock: Any, tiny_folder: Path) -> None:
    from pyserini_splare import SplareQueryEncoder

    assert SplareQueryEncoder(str(tiny_folder), device="cpu").encode("latents")
    assert os.environ["OPENAI_API_KEY"]


@pytest.mark.parametrize("arguments", [[], ["--index", "index"], ["os"]])
def test_a_stock_program_that_is_not_named(arguments: list[str]) -> None:
    from pyserini_splare.stock import main

    with pytest.raises(InputError, match="name a program of Pyserini first"):
        main(arguments)
