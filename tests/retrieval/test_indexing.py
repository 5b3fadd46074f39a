"""From text to an index: every document is accounted for, and nothing hangs."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from splare_plugins.corpus import (
    Document,
    EncodedBatch,
    EncodedCounts,
    EncodedFolder,
    Query,
    ReadCounts,
    read_documents,
)
from splare_plugins.corpus.encoded import join_batches
from splare_plugins.engines import get_engine
from splare_plugins.engines.base import Hits
from splare_plugins.errors import InputError
from splare_plugins.machine.overlap import overlapped
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.indexing import (
    Summary,
    document_batches,
    encode_shard,
    index,
    most_left_out,
    query_impacts,
    search_queries,
    without_left_out,
)
from tests.corpus.fake import FakeModel, RecordingWriter, batch
from tests.tiny import TEXTS

DOCUMENTS = [Document(f"d{number}", f"text number{number}") for number in range(10)]


def test_from_text_to_hits(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.tsv"
    lines = [
        "a\tred green",
        "b\tblue blue blue blue",
        "a\tagain",
        "c\t",
        "d\tone two three four five six seven eight nine",
    ]
    corpus.write_text("\n".join([*lines, "e\tred\x01red"]))
    model, counts, seen = FakeModel(), ReadCounts(), []
    batches = document_batches(model, read_documents(corpus, on_duplicate="first", counts=counts))
    engine = get_engine("memory")
    with engine.writer(str(tmp_path / "index"), model.config) as writer:
        summary = index(batches, writer, counts=counts, on_progress=seen.append)
    assert summary.to_dict() == {
        "read": 6,
        "indexed": 5,
        "duplicates": 1,
        "elsewhere": 0,
        "empty": 1,
        "cleaned": 1,
        "without_impacts": 1,
        "truncated": 1,
        "clipped_documents": 1,
        "clipped_weights": 1,
        "dropped_weights": 0,
    }
    assert sum(seen) == 5
    queries = [Query("q1", "red"), Query("q2", "nothing"), Query("q3", ""), Query("q4", "blue")]
    impacts = query_impacts(model, queries)
    with engine.searcher(str(tmp_path / "index")) as searcher:
        answered: list[int] = []
        qids = [query.qid for query in queries]
        run = search_queries(searcher, qids, impacts, 10, batch_size=3, on_progress=answered.append)
    assert list(run) == ["q1", "q2", "q3", "q4"]
    assert {qid: hits.docids for qid, hits in run.items()} == {"q1": ["e", "a"], "q2": [], "q3": [], "q4": ["b"]}
    assert run["q1"].scores.tolist() == [20000.0, 10000.0]
    assert answered == [3, 1]


def test_shards_give_the_index_that_text_gives(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.tsv"
    corpus.write_text("".join(f"{document.docid}\t{document.text}\n" for document in DOCUMENTS))
    encode_shard(FakeModel(), corpus, tmp_path / "shards", part_size=4)
    folder, counts = EncodedFolder(tmp_path / "shards"), ReadCounts()
    engine = get_engine("memory")
    with engine.writer(str(tmp_path / "one"), folder.config) as writer:
        one = index(folder.batches(), writer, counts=folder.read)
    batches = document_batches(FakeModel(), read_documents(corpus, counts=counts))
    with engine.writer(str(tmp_path / "two"), folder.config) as writer:
        two = index(batches, writer, counts=counts)
    assert one == two
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_real_model_gives_the_same_vectors_on_every_way(tiny: SplareModel, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.tsv"
    corpus.write_text("".join(f"d{n}\t{TEXTS[n % 5] * (n % 3)}\n" for n in range(30)))
    documents = list(read_documents(corpus))
    batches = list(document_batches(tiny, documents))
    direct = tiny.quantizer.documents(tiny.encode_documents([document.content for document in documents])).impacts
    assert [docid for each in batches for docid in each.docids] == [f"d{n}" for n in range(30)]
    together = join_batches(batches)
    assert (together.impacts != direct).nnz == 0
    assert together.truncated.tolist() == [len(f"d: {document.text}".encode()) > 126 for document in documents]
    summaries = [encode_shard(tiny, corpus, tmp_path / "out", shard=n, shards=2, part_size=7) for n in (2, 1)]
    shards = join_batches(list(EncodedFolder(tmp_path / "out").batches()))
    # Batch mates may move a weight in its last bit, and so an impact by one, but no more.
    assert abs(shards.impacts - direct).max() <= 1
    assert sum(summary.indexed for summary in summaries) == 30
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    for name in ("part-000001.parquet", "part-000002.parquet", "shard-1-of-2.json", "shard-2-of-2.json"):
        (tmp_path / "out" / name).unlink()
    for n in (1, 2):
        encode_shard(tiny, corpus, tmp_path / "out", shard=n, shards=2, part_size=7)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_ids_are_remembered_once() -> None:
    checked, unchecked = RecordingWriter(), RecordingWriter()
    index([batch("d1", "d2")], checked, counts=ReadCounts(read=2), distinct=True)
    index([batch("d1", "d2")], unchecked, counts=ReadCounts(read=2))
    assert checked.known_ids is None
    assert unchecked.known_ids is not None


@pytest.mark.parametrize("window", [3, 7, 512])
def test_a_gpu_makes_the_same_parts_while_others_are_read_and_written(
    tiny: SplareModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    corpus = tmp_path / "corpus.tsv"
    corpus.write_text("".join(f"d{n}\t{TEXTS[n % 5] * (n % 3)}\n" for n in range(30)))
    monkeypatch.setattr("splare_plugins.model.encoder._WINDOWS", {"cpu": window})
    seen: list[int] = []
    for name in ("in-turn", "ahead"):
        if name == "ahead":
            monkeypatch.setattr("splare_plugins.model.encoder._TOKENISED_AHEAD", ("cpu",))
        summaries = [
            encode_shard(tiny, corpus, tmp_path / name, shard=n, shards=2, part_size=7, on_progress=seen.append)
            for n in (2, 1)
        ]
        assert sum(summary.indexed for summary in summaries) == 30
    assert sum(seen) == 60
    usual, ahead = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("in-turn", "ahead")
    )
    assert len(usual) > 6 and ahead == usual


def test_what_breaks_while_a_gpu_works_leaves_the_parts_before_it(
    tiny: SplareModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splare_plugins.model.encoder._TOKENISED_AHEAD", ("cpu",))
    corpus = tmp_path / "corpus.tsv"
    corpus.write_text("".join(f"d{n}\ttext {n}\n" for n in range(20)) + "d0\tagain\n")
    with pytest.raises(InputError, match="d0"):
        encode_shard(tiny, corpus, tmp_path / "out", part_size=5)
    assert sorted(path.name for path in (tmp_path / "out").glob("part-*")) == [
        f"part-00000{number}.parquet" for number in range(4)
    ]
    corpus.write_text("".join(f"d{n}\ttext {n}\n" for n in range(20)))
    assert encode_shard(tiny, corpus, tmp_path / "mended", part_size=5).indexed == 20


def test_text_is_passed_on_if_asked_for() -> None:
    writer = RecordingWriter()
    documents = [Document("d1", "text", "title"), Document("d2", "")]
    index(document_batches(FakeModel(), documents, store_text=True), writer, counts=ReadCounts(read=2))
    assert writer.documents == [{"title": "title", "text": "text"}, {"title": "", "text": ""}]


def test_encoding_overlaps_and_the_writer_stays_in_the_calling_thread() -> None:
    threads = set()

    def batches() -> Iterator[EncodedBatch]:
        for document in DOCUMENTS:
            threads.add(threading.get_ident())
            yield batch(document.docid)

    writer = RecordingWriter()
    index(batches(), writer, counts=ReadCounts(read=10))
    assert writer.threads == {threading.get_ident()}
    assert len(threads) == 1
    assert threads.isdisjoint(writer.threads)
    assert writer.docids == [document.docid for document in DOCUMENTS]


def test_the_queue_is_bounded() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    stream = overlapped(items(), ahead=2)
    assert next(stream) == 0
    time.sleep(0.3)
    # One taken, two waiting, one in the worker's hand.
    assert len(made) <= 4
    assert list(stream) == list(range(1, 100))


def test_nothing_to_index() -> None:
    assert index([], RecordingWriter(), counts=ReadCounts()) == Summary(read=0, indexed=0)


@pytest.mark.parametrize("error", [InputError, KeyboardInterrupt, SystemExit])
def test_what_encoding_raises_comes_out(error: type[BaseException]) -> None:
    def batches() -> Iterator[EncodedBatch]:
        yield batch("d1")
        yield batch("d2")
        raise error

    writer = RecordingWriter()
    with pytest.raises(error), writer:
        index(batches(), writer, counts=ReadCounts())
    assert writer.docids == ["d1", "d2"]
    assert writer.ended == "aborted"
    assert_no_worker()


@pytest.mark.parametrize("error", [InputError, KeyboardInterrupt])
def test_what_the_writer_raises_ends_encoding(error: type[BaseException]) -> None:
    class Refusing(RecordingWriter):
        def add(self, *arguments: Any) -> None:
            super().add(*arguments)
            if len(self.docids) == 2:
                raise error

    made = 0

    def batches() -> Iterator[EncodedBatch]:
        nonlocal made
        for number in range(10_000):
            made += 1
            yield batch(f"d{number}")

    writer = Refusing()
    with pytest.raises(error), writer:
        index(batches(), writer, counts=ReadCounts())
    assert writer.ended == "aborted"
    assert made < 10
    assert_no_worker()


def test_lost_documents_are_noticed() -> None:
    with pytest.raises(RuntimeError, match=r"lost or made up"):
        index([batch("a")], RecordingWriter(), counts=ReadCounts(read=3, duplicates=1))


def test_a_weight_that_is_no_number_names_the_document() -> None:
    documents = [*DOCUMENTS[:4], Document("culprit", "nan")]
    with pytest.raises(InputError, match=r"^'culprit', latent \d+: the weight nan is not a finite number"):
        index(document_batches(FakeModel(), documents), RecordingWriter(), counts=ReadCounts())
    with pytest.raises(InputError, match=r"^'q7', latent"):
        query_impacts(FakeModel(), [Query("q7", "nan")])


def test_counts_add_up() -> None:
    dropped = np.array([2, 0, 1], dtype=np.int32)
    impacts = csr_array(np.array([[1, 0], [0, 0], [0, 3]], dtype=np.int32))
    encoded = EncodedCounts.of(
        EncodedBatch(
            docids=["a", "b", "c"],
            impacts=impacts,
            truncated=np.array([True, False, True]),
            clipped=np.array([0, 0, 5], dtype=np.int32),
            dropped=dropped,
        )
    )
    assert encoded == EncodedCounts(
        documents=3, without_impacts=1, truncated=2, clipped_documents=1, clipped_weights=5, dropped_weights=3
    )
    assert (encoded + encoded).dropped_weights == 6
    assert Summary.of(ReadCounts(read=4, duplicates=1), encoded).indexed == 3


INTERRUPTED = """
import time
from splare_plugins.corpus import ReadCounts
from splare_plugins.retrieval.indexing import index
from tests.corpus.fake import RecordingWriter, batch

def batches():
    print("ready", flush=True)
    for number in range(1000):
        time.sleep(0.05)
        yield batch(f"d{number}")

writer = RecordingWriter()
try:
    with writer:
        index(batches(), writer, counts=ReadCounts())
except KeyboardInterrupt:
    print(writer.ended, flush=True)
"""


@pytest.mark.slow
def test_an_interrupt_ends_both_quickly() -> None:
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED], cwd=root, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == "aborted\n"
    assert process.returncode == 0
    assert time.monotonic() - start < 10


def assert_no_worker() -> None:
    deadline = time.monotonic() + 5
    while any(thread.name == "splare-encode" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_pairs_are_queries_too(tmp_path: Path) -> None:
    pairs = [("q1", "red"), ("q2", "blue")]
    queries = [Query("q1", "red", ("e",)), Query("q2", "blue")]
    impacts = query_impacts(FakeModel(), pairs)
    assert (impacts != query_impacts(FakeModel(), queries)).nnz == 0
    run = {qid: Hits(["e", "q1"], np.array([2.0, 1.0])) for qid, _ in pairs}
    assert without_left_out(run, pairs, 2, remove_query=True)["q1"].docids == ["e"]
    assert without_left_out(run, queries, 2)["q1"].docids == ["q1"]
    assert [most_left_out(each) for each in (pairs, queries, [])] == [0, 1, 0]
    for wrong in (["ab"], [("q1",)], [("q1", "red", "more")]):
        with pytest.raises(InputError, match="a query is a pair of its id and its text"):
            query_impacts(FakeModel(), wrong)  # type: ignore[arg-type]
