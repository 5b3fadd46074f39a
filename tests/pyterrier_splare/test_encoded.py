"""Encoded shards as documents of a pipeline."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_splare import Splare
from splare_plugins.corpus import EncodedFolder
from splare_plugins.errors import InputError
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.indexing import encode_shard
from tests.pyserini_splare.conftest import python
from tests.tiny import TEXTS


@pytest.fixture(scope="module")
def folder(tiny: SplareModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny corpus in parts of two documents."""
    root = tmp_path_factory.mktemp("encoded")
    corpus = root / "corpus.jsonl"
    lines = [pd.Series({"_id": f"d{number}", "text": text}).to_json() for number, text in enumerate(TEXTS)]
    corpus.write_text("\n".join(lines) + "\n", encoding="utf-8")
    encode_shard(tiny, corpus, root / "shards", part_size=2)
    return root / "shards"


def test_the_shards_are_those_of_the_encoder(folder: Path, splare: Splare, documents: pd.DataFrame) -> None:
    expected = splare.doc_encoder()(documents)[["docno", "toks"]].to_dict("records")
    encoded = Splare.from_encoded(folder)
    assert list(encoded) == expected
    assert list(encoded) == expected  # again, for the next index
    assert len(encoded) == len(TEXTS)
    assert encoded.config == splare.model.config


def test_an_indexer_takes_them(folder: Path) -> None:
    class Collect(pt.Indexer):
        def index(self, iter: pt.model.IterDict, **_: object) -> list[str]:
            return [each["docno"] for each in iter]

    assert Collect().index(Splare.from_encoded(folder)) == ["d0", "d1", "d2", "d3", "d4"]


def test_tokens_of_results(folder: Path, splare: Splare, results: pd.DataFrame) -> None:
    shuffled = results.sample(frac=1.0, random_state=0)
    out = Splare.from_encoded(folder)(shuffled)
    assert out["toks"].tolist() == splare.doc_encoder()(shuffled)["toks"].tolist()
    assert out.index.equals(shuffled.index)


def test_frequent_latents_are_counted(folder: Path, splare: Splare, documents: pd.DataFrame) -> None:
    tokens = splare.doc_encoder()(documents)["toks"]
    counts = pd.Series([term for each in tokens for term in each]).value_counts()
    encoded = Splare.from_encoded(folder)
    for share in (0.0, 0.2, 0.5, 1.0):
        assert encoded.frequent(share) == set(counts[counts > share * len(TEXTS)].index)
    assert encoded.frequent(0.2)


def test_an_empty_frame(folder: Path) -> None:
    out = Splare.from_encoded(folder)(pd.DataFrame(columns=["qid", "docno"]))
    assert list(out.columns) == ["qid", "docno", "toks"]


def test_inspection(folder: Path) -> None:
    encoded = Splare.from_encoded(folder)
    assert pt.inspect.transformer_inputs(encoded) == [["docno"]]
    assert encoded == Splare.from_encoded(str(folder)) != Splare.query_encoder
    assert hash(encoded) == hash(Splare.from_encoded(folder))
    assert len(pt.schematic.transformer_schematic(encoded)["label"]) <= 20


def test_a_docno_that_is_not_there(folder: Path) -> None:
    with pytest.raises(InputError, match=r"docno 'x' is not among the 5 documents of .*shards"):
        Splare.from_encoded(folder)(pd.DataFrame({"docno": ["d1", "x"]}))


def test_a_missing_column(folder: Path) -> None:
    with pytest.raises(pt.validate.InputValidationError):
        Splare.from_encoded(folder)(pd.DataFrame({"qid": ["1"]}))


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        Splare.from_encoded(tmp_path)


def test_a_missing_part(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    encoding = EncodedFolder(copy).encoding
    encoding.part_path(copy, 1).unlink()
    with pytest.raises(InputError, match="lacks"):
        Splare.from_encoded(copy)


@pytest.mark.slow
def test_no_torch_and_no_java(folder: Path) -> None:
    code = """
import sys
from pyterrier_splare import Splare
documents = Splare.from_encoded(sys.argv[1])
assert len(list(documents)) == len(documents) == 5
assert documents.frequent() is not None
assert not {"torch", "jnius", "transformers"} & set(sys.modules)
"""
    done = python(code, str(folder))
    assert done.returncode == 0, done.stderr
