"""Files that exchange vectors with other tools."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from pyserini_splare import read_json_vectors, write_json_vectors, write_query_file
from pyserini_splare.vectors import JsonVectorWriter
from splare_plugins.corpus import EncodedCounts
from splare_plugins.errors import InputError
from splare_plugins.impacts import to_dicts

from .conftest import impacts_of, names, random_impacts

ROWS = st.lists(st.dictionaries(st.integers(0, 499), st.integers(1, 2**31 - 1), max_size=6), max_size=9)


@settings(deadline=None)
@given(rows=ROWS, size=st.integers(1, 4), suffix=st.sampled_from([".jsonl", ".jsonl.gz"]), texts=st.booleans())
def test_round_trip(rows: list[dict[int, int]], size: int, suffix: str, texts: bool) -> None:
    impacts = impacts_of(*rows)
    docids = [f"ü {row}\u2028" if row else "7" for row in range(len(rows))]
    contents = [f"Text {row}\n世界" for row in range(len(rows))] if texts else None
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        write_json_vectors(path, docids, impacts, contents)
        batches = list(read_json_vectors(folder if rows else path, width=500, batch_size=size))
    assert [docid for batch in batches for docid in batch.docids] == docids
    assert [vector for batch in batches for vector in to_dicts(batch.impacts)] == to_dicts(impacts)
    assert [fields.get("contents") for batch in batches for fields in batch.documents] == (
        contents or [None] * len(rows)
    )
    for batch in batches:
        assert batch.impacts.shape == (len(batch.docids), 500)
        assert batch.impacts.dtype == np.int32
        assert batch.impacts.has_sorted_indices


def test_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    write_json_vectors(tmp_path / "10.jsonl.gz", ["b"], impacts_of({1: 1}))
    write_json_vectors(tmp_path / "2.jsonl", ["c"], impacts_of({400: 1}))
    (tmp_path / "1.json").write_text('\n{"id": "a", "vector": {}}\n\n')
    (tmp_path / "README").write_text("no vectors")
    (batch,) = read_json_vectors(tmp_path)
    assert batch.docids == ["a", "b", "c"]
    assert batch.impacts.shape == (3, 512)


def test_the_width_grows_with_the_latents_met(tmp_path: Path) -> None:
    write_json_vectors(tmp_path / "a.jsonl", names(3), impacts_of({0: 1}, {5: 1}, {2: 1}))
    assert [batch.impacts.shape[1] for batch in read_json_vectors(tmp_path, batch_size=1)] == [1, 8, 8]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "x", "vector": {"f1": 3.7}}', "document 'x': the weight of f1 is 3.7"),
        ('{"id": "x", "vector": {"f1": 0.9}}', "weight of f1 is 0.9"),
        ('{"id": "x", "vector": {"f1": 0}}', "weight of f1 is 0"),
        ('{"id": "x", "vector": {"f1": -2}}', "weight of f1 is -2"),
        ('{"id": "x", "vector": {"f1": true}}', "weight of f1 is True"),
        ('{"id": "x", "vector": {"f1": "7"}}', "weight of f1 is '7'"),
        ('{"id": "x", "vector": {"f1": null}}', "weight of f1 is None"),
        ('{"id": "x", "vector": {"f1": [7]}}', r"weight of f1 is \[7\]"),
        ('{"id": "x", "vector": {"f1": NaN}}', "weight of f1 is nan"),
        ('{"id": "x", "vector": {"f1": 1e400}}', "weight of f1 is inf"),
        (f'{{"id": "x", "vector": {{"f1": 1{"0" * 400}}}}}', "weight of f1 is 1000"),
        ('{"id": "x", "vector": {"f1": 2147483648}}', "weight of f1 is 2147483648"),
        ('{"id": "x", "vector": {"word": 7}}', "document 'x': 'word' is not a pseudo-term"),
        ('{"id": "x", "vector": {"f500": 7}}', "document 'x': f500 is beyond the last latent f499"),
        ('{"id": "x", "vector": {"f1": 7}', "not valid JSON"),
        ('["x"]', "must hold a JSON object"),
        ('{"vector": {"f1": 7}}', '"id" and "vector"'),
        ('{"id": 1.5, "vector": {"f1": 7}}', "a text or whole number"),
        ('{"id": "", "vector": {"f1": 7}}', "a text or whole number"),
        ('{"id": "x"}', '"id" and "vector"'),
        ('{"id": "x", "vector": [1]}', "object of weights"),
    ],
)
def test_lines_that_cannot_be_used(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "fine", "vector": {"f1": 7}}\n' + line + "\n")
    with pytest.raises(InputError, match=message) as caught:
        list(read_json_vectors(path, width=500))
    assert str(caught.value).startswith(f"{path}:2")


def test_whole_floats_are_integers(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "x", "vector": {"f1": 87.0, "f2": 3}}\n')
    (batch,) = read_json_vectors(tmp_path)
    assert to_dicts(batch.impacts) == [{"f1": 87, "f2": 3}]
    assert EncodedCounts.of(batch) == EncodedCounts(documents=1)


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no collection at"):
        list(read_json_vectors(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="has no files"):
        list(read_json_vectors(tmp_path))
    whole = gzip.compress(b'{"id": "x", "vector": {"f1": 7}}\n' * 1000)
    (tmp_path / "a.jsonl.gz").write_bytes(whole[:-20])
    with pytest.raises(InputError, match=r"a\.jsonl\.gz"):
        list(read_json_vectors(tmp_path))


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("old")
    with pytest.raises(RuntimeError), JsonVectorWriter(path) as writer:
        writer.add(["new"], impacts_of({1: 1}))
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match=r"\.jsonl"):
        JsonVectorWriter(tmp_path / "a.txt")


@pytest.mark.parametrize("impacts", [impacts_of({1: 1}).astype(np.float32), csr_array((2, 5), dtype=np.int32)])
def test_bad_batches_are_refused(tmp_path: Path, impacts: csr_array) -> None:
    with pytest.raises(InputError):
        write_json_vectors(tmp_path / "a.jsonl", ["x"], impacts)
    assert list(tmp_path.iterdir()) == []


def test_query_file(tmp_path: Path) -> None:
    queries = random_impacts(3, 5)
    write_query_file(tmp_path / "q.jsonl", ["1", "2", "3"], ["a", "ü ö", ""], queries)
    lines = [json.loads(line) for line in (tmp_path / "q.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines == [
        {"qid": qid, "contents": text, "vector": vector}
        for qid, text, vector in zip(["1", "2", "3"], ["a", "ü ö", ""], to_dicts(queries), strict=True)
    ]
