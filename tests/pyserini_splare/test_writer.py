"""What the writer takes and refuses, and that an index is there whole or not at all."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from pyserini_splare import LuceneSearcher, LuceneWriter
from splare_plugins.config import SideConfig, SplareConfig
from splare_plugins.errors import InputError

from .conftest import impacts_of, names, python, random_impacts, write

pytestmark = [pytest.mark.java, pytest.mark.usefixtures("jvm")]

ONE = impacts_of({1: 1})


def docids(path: Path) -> list[str]:
    with LuceneSearcher(path) as searcher:
        return searcher.search(ONE, 100)[0].docids


def test_the_index_remembers_its_model_and_counts(tmp_path: Path) -> None:
    config = SplareConfig(name="m", revision="1", backbone="b", width=500, query=SideConfig(prompt="Frage: ü"))
    with LuceneWriter(tmp_path / "index", config) as writer:
        writer.add(["a", "b"], impacts_of({1: 1, 2: 2}, {}))
        assert (writer.documents, writer.empty, writer.impacts) == (2, 1, 2)
    with LuceneSearcher(tmp_path / "index") as searcher:
        assert searcher.config == config
        assert searcher.num_docs == 2
        assert {key: searcher.identity[key] for key in ("documents", "empty", "impacts")} == {
            "documents": 2,
            "empty": 1,
            "impacts": 2,
        }
        assert searcher.identity["lucene"].count(".") == 2


def test_stored_text(tmp_path: Path) -> None:
    texts = [{"title": "Über", "text": 'tab\t "quotes" 世界 😀'}, {"text": ""}]
    with LuceneWriter(tmp_path / "index", store_text=True) as writer:
        writer.add(["a", "ü😀"], impacts_of({1: 1}, {}), texts)
        writer.add(["c"], ONE)
    with LuceneSearcher(tmp_path / "index") as searcher:
        assert json.loads(searcher.document("a") or "") == {"id": "a", **texts[0]}
        assert json.loads(searcher.document("ü😀") or "") == {"id": "ü😀", "text": ""}
        assert searcher.document("c") is None
        assert searcher.document("nowhere") is None
    with LuceneWriter(tmp_path / "index", overwrite=True) as writer:
        writer.add(["a"], ONE, texts[:1])
    with LuceneSearcher(tmp_path / "index") as searcher:
        assert searcher.document("a") is None


@pytest.mark.parametrize("docid", ["", "a\ud800", "x" * 32_767, "ü" * 16_384, 7, None])
def test_unusable_ids(tmp_path: Path, docid: str) -> None:
    with pytest.raises(InputError, match="document id"), LuceneWriter(tmp_path / "index") as writer:
        writer.add([docid], ONE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("docid", ["a b", "a\nb", "a\x00b", "x" * 32_766, "ü" * 16_383])
def test_unusual_ids(tmp_path: Path, docid: str) -> None:
    write(tmp_path / "index", ONE, [docid], store_text=True)
    assert docids(tmp_path / "index") == [docid]


def test_lone_surrogates_in_text(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="'b' has a lone surrogate"),
        LuceneWriter(tmp_path / "index", store_text=True) as writer,
    ):
        writer.add(["a", "b"], impacts_of({1: 1}, {1: 1}), [{"text": "fine"}, {"text": "half \ud83d"}])


def test_a_refused_batch_adds_nothing(tmp_path: Path) -> None:
    with LuceneWriter(tmp_path / "index") as writer:
        writer.add(["a"], ONE)
        with pytest.raises(InputError, match="'a' was added before"):
            writer.add(["b", "a"], impacts_of({1: 1}, {1: 1}))
        with pytest.raises(InputError, match="2 ids came with 1 rows"):
            writer.add(["b", "c"], ONE)
        # "b" was only seen in a batch that was refused.
        writer.add(["b"], ONE)
    assert docids(tmp_path / "index") == ["a", "b"]


def test_weights_beyond_bytes(tmp_path: Path) -> None:
    write(tmp_path / "index", impacts_of({1: 70_000}, {1: 2**24}))
    with LuceneSearcher(tmp_path / "index") as searcher:
        assert searcher.search(impacts_of({1: 255}), 2)[0].scores.tolist() == [255 * 2**24, 255 * 70_000]


def test_too_large_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="up to 16777217"):
        write(tmp_path / "index", impacts_of({1: 2**24 + 1}))


def test_too_large_a_sum_of_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'d1' add up to 2147483648"):
        write(tmp_path / "index", impacts_of({1: 5}, dict.fromkeys(range(128), 2**24)))


def test_documents_keep_their_order_through_merges(tmp_path: Path) -> None:
    documents = random_impacts(600, 200)
    with LuceneWriter(tmp_path / "index", memory_buffer=0.1) as writer:
        for row in range(0, 600, 50):
            writer.add(names(600)[row : row + 50], documents[row : row + 50])
    from pyserini_splare.lucene import lucene, open_directory

    reader = lucene("index.DirectoryReader").open(open_directory(tmp_path / "index"))
    stored = reader.storedFields()
    assert [stored.document(number).get("id") for number in range(600)] == names(600)
    assert reader.leaves().size() == 1
    reader.close()


def test_without_optimizing_scores_are_the_same(tmp_path: Path) -> None:
    documents = random_impacts(600, 200)
    with LuceneWriter(tmp_path / "many", memory_buffer=0.1, optimize=False) as writer:
        for row in range(0, 600, 50):
            writer.add(names(600)[row : row + 50], documents[row : row + 50])
    write(tmp_path / "one", documents)
    queries = random_impacts(10, 40, seed=1)
    answers = []
    for name in ("many", "one"):
        with LuceneSearcher(tmp_path / name) as searcher:
            answers.append([(hits.docids, hits.scores.tolist()) for hits in searcher.search(queries, 50)])
    assert answers[0] == answers[1]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    write(tmp_path / "index", ONE)
    assert docids(tmp_path / "index") == ["d0"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_other_peoples_folders_are_left_alone(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not a Lucene index"):
        LuceneWriter(tmp_path / "index", overwrite=overwrite)
    assert [path.name for path in tmp_path.rglob("*")] == ["index", "thesis.tex"]


def test_two_writers_at_one_place(tmp_path: Path) -> None:
    with LuceneWriter(tmp_path / "index") as writer:
        writer.add(["first"], ONE)
        with pytest.raises(InputError, match="if another program is writing it, wait for that"):
            LuceneWriter(tmp_path / "index")
    assert docids(tmp_path / "index") == ["first"]


def test_the_place_is_taken_meanwhile(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be published"), LuceneWriter(tmp_path / "index") as writer:
        writer.add(["d"], ONE)
        (tmp_path / "index").mkdir()
        (tmp_path / "index" / "something").write_text("else")
    assert [path.name for path in tmp_path.rglob("*")] == ["index", "something"]


def test_a_closed_writer(tmp_path: Path) -> None:
    with LuceneWriter(tmp_path / "index") as writer:
        pass
    with pytest.raises(InputError, match="closed"):
        writer.add(["d"], ONE)
    writer.abort()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="no index can be written"):
        LuceneWriter(tmp_path / "file" / "index")


KILLED = """
import os, signal, sys
import numpy as np
from scipy.sparse import csr_array
from pyserini_splare import LuceneWriter
moment = sys.argv[2]
writer = LuceneWriter(sys.argv[1], overwrite=True, memory_buffer=0.1)
dense = np.random.default_rng(0).integers(0, 256, size=(300, 500)).astype(np.int32)
dense[:, 1] = 1
for start in range(0, 300, 50):
    writer.add([f"new{row}" for row in range(start, start + 50)], csr_array(dense[start:start + 50]))
if moment == "merged":
    writer._writer.forceMerge(1)
if moment == "flushed":
    writer._writer.flush()
if moment == "published":
    writer.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moment", ["adding", "merged", "published"])
@pytest.mark.parametrize("old", [False, True])
def test_killed_at_any_moment(tmp_path: Path, moment: str, old: bool) -> None:
    index = tmp_path / "index"
    if old:
        write(index, ONE, ["old"])
    assert python(KILLED, str(index), moment).returncode == -signal.SIGKILL
    if moment == "published":
        assert len(docids(index)) == 100
    elif old:
        assert docids(index) == ["old"]
    else:
        assert not index.exists()
    # The next run finds its place clear, and clears what the killed one left.
    write(index, ONE, ["next"], overwrite=True)
    assert docids(index) == ["next"]
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    fresh = tmp_path / "fresh"
    write(fresh, ONE, ["next"])
    assert len(list(index.iterdir())) == len(list(fresh.iterdir()))


FULL = """
import resource, signal, sys
import numpy as np
from scipy.sparse import csr_array
from pyserini_splare import LuceneWriter
from splare_plugins.errors import InputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with LuceneWriter(sys.argv[1], overwrite=True, memory_buffer=0.5) as writer:
        # No file may grow beyond this: as when a disk is full, a write fails.
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        rng = np.random.default_rng(0)
        for start in range(0, 2000, 100):
            dense = rng.integers(0, 256, size=(100, 500)).astype(np.int32)
            writer.add([f"new{start + row}" for row in range(100)], csr_array(dense))
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("old", [False, True])
def test_a_full_disk(tmp_path: Path, old: bool) -> None:
    index = tmp_path / "index"
    if old:
        write(index, ONE, ["old"])
    done = python(FULL, str(index))
    assert "cannot be written" in done.stdout and "full disk" in done.stdout, done.stderr
    assert len(done.stdout.splitlines()) == 1
    if old:
        assert docids(index) == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == (["index"] if old else [])


def test_int64_and_unsorted_rows(tmp_path: Path) -> None:
    rows = csr_array((np.array([5, 7], dtype=np.int64), np.array([9, 1]), np.array([0, 2])), shape=(1, 10))
    write(tmp_path / "index", rows)
    with LuceneSearcher(tmp_path / "index") as searcher:
        assert searcher.search(impacts_of({1: 2, 9: 3}, width=10), 1)[0].scores.tolist() == [29]
