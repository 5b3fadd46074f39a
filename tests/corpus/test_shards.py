"""A corpus encoded into parts by one or several machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splare_plugins.corpus import EncodedFolder, read_documents
from splare_plugins.corpus.encoded import join_batches
from splare_plugins.errors import IdentityError, InputError
from splare_plugins.retrieval.indexing import Summary, document_batches, encode_shard

from .conftest import Write
from .fake import FakeModel
from .test_parts import assert_same

LINES = [f"d{number}\t{'word ' * (number % 11)}number{number}" for number in range(23)]


@pytest.fixture
def corpus(write: Write) -> Path:
    return write("corpus.tsv", LINES)


def encode(corpus: Path, folder: Path, model: Any = None, **options: Any) -> Summary:
    return encode_shard(model or FakeModel(), corpus, folder, **{"part_size": 4, **options})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("store_text", [False, True])
def test_a_folder_equals_direct_encoding(corpus: Path, tmp_path: Path, store_text: bool) -> None:
    summary = encode(corpus, tmp_path / "out", store_text=store_text)
    folder = EncodedFolder(tmp_path / "out")
    direct = join_batches(list(document_batches(FakeModel(), read_documents(corpus), store_text=store_text)))
    assert_same(join_batches(list(folder.batches())), direct)
    assert len(folder) == folder.num_docs == 23
    assert folder.config == FakeModel().config
    assert summary == Summary.of(folder.read, folder.encoded)
    assert summary.read == summary.indexed == 23
    assert summary.truncated == 6
    assert summary.clipped_documents == summary.clipped_weights > 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(size=st.integers(1, 30), shards=st.integers(1, 4), order=st.randoms())
def test_any_cut_gives_the_same_corpus(
    corpus: Path, tmp_path_factory: pytest.TempPathFactory, size: int, shards: int, order: Any
) -> None:
    out = tmp_path_factory.mktemp("shards") / "out"
    numbers = list(range(1, shards + 1))
    order.shuffle(numbers)
    summaries = [encode(corpus, out, part_size=size, shard=shard, shards=shards) for shard in numbers]
    folder = EncodedFolder(out)
    assert [docid for batch in folder.batches() for docid in batch.docids] == [f"d{number}" for number in range(23)]
    assert sum(summary.indexed for summary in summaries) == folder.encoded.documents == 23
    assert len(list(out.glob("part-*.parquet"))) == -(-23 // size)


def test_parts_are_dealt_out_in_turn(corpus: Path, tmp_path: Path) -> None:
    summary = encode(corpus, tmp_path / "out", shard=2, shards=3)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "encoding.json",
        "part-000001.parquet",
        "part-000004.parquet",
        "shard-2-of-3.json",
    ]
    assert (summary.read, summary.indexed, summary.elsewhere) == (23, 8, 15)


def test_finished_parts_are_not_made_again(corpus: Path, tmp_path: Path) -> None:
    encode(corpus, tmp_path / "out")
    before = contents(tmp_path / "out")
    (tmp_path / "out" / "part-000002.parquet").unlink()
    (tmp_path / "out" / "shard-1-of-1.json").unlink()
    model, seen = FakeModel(), []
    encode(corpus, tmp_path / "out", model, on_progress=seen.append)
    assert [text.split()[-1] for text in model.texts] == ["number8", "number9", "number10", "number11"]
    assert sum(seen) == 23
    assert contents(tmp_path / "out") == before


def test_a_finished_shard_does_not_read_the_corpus(corpus: Path, tmp_path: Path) -> None:
    first = encode(corpus, tmp_path / "out")
    model, seen = FakeModel(), []
    assert encode(corpus, tmp_path / "out", model, on_progress=seen.append) == first
    assert (model.texts, seen) == ([], [23])


def test_an_error_leaves_the_finished_parts(corpus: Path, tmp_path: Path, write: Write) -> None:
    class Interrupted(FakeModel):
        def encode(self, texts: Sequence[str]) -> Any:
            if any("number17" in text for text in texts):
                raise KeyboardInterrupt
            return super().encode(texts)

    with pytest.raises(KeyboardInterrupt):
        encode(corpus, tmp_path / "out", Interrupted())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "encoding.json",
        *(f"part-{number:06d}.parquet" for number in range(4)),
    ]
    with pytest.raises(InputError, match=r"shard 1/1 is not finished; run: splare encode .* --shard 1/1$"):
        EncodedFolder(tmp_path / "out")
    encode(corpus, tmp_path / "out")
    encode(corpus, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_leftovers_of_killed_runs_are_removed(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".part-000001.parquet.123-abcd.tmp").write_bytes(b"half")
    encode(corpus, tmp_path / "out")
    assert not list((tmp_path / "out").glob(".*"))


def test_duplicates_are_skipped_and_counted(write: Write, tmp_path: Path) -> None:
    corpus = write("c.tsv", ["a\tx", "b\ty", "a\tz", "c\t"])
    with pytest.raises(InputError, match=r"c\.tsv:3: document 'a' came before"):
        encode(corpus, tmp_path / "out", part_size=1)
    summary = encode(corpus, tmp_path / "out", part_size=1, on_duplicate="first")
    assert (summary.read, summary.indexed, summary.duplicates, summary.empty, summary.without_impacts) == (
        4,
        3,
        1,
        1,
        1,
    )
    assert [batch.docids for batch in EncodedFolder(tmp_path / "out").batches()] == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part_size": 5}, r"documents a part: 4 there, 5 now"),
        ({"shards": 2}, r"shards: 1 there, 2 now"),
        ({"top_k": 7}, r"latents a document: 400 there, 7 now"),
        ({"top_k": None}, r"latents a document: 400 there, None now"),
        ({"store_text": True}, r"stored text: False there, True now"),
    ],
)
def test_other_settings_are_refused(corpus: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    encode(corpus, tmp_path / "out")
    with pytest.raises(InputError, match=message):
        encode(corpus, tmp_path / "out", **options)


def test_another_model_is_refused_naming_both(corpus: Path, tmp_path: Path) -> None:
    encode(corpus, tmp_path / "out")
    for model in (FakeModel(name="other"), FakeModel(scale=7.0)):
        with pytest.raises(IdentityError) as caught:
            encode(corpus, tmp_path / "out", model)
        assert "was made with fake 1, but the model at hand is " in str(caught.value)


def test_another_corpus_is_refused(corpus: Path, tmp_path: Path, write: Write) -> None:
    encode(corpus, tmp_path / "out")
    with pytest.raises(InputError, match=r"another setting for the corpus"):
        encode(write("other.tsv", ["x\ty"]), tmp_path / "out")


def test_a_corpus_that_changed_in_the_middle_is_noticed(
    corpus: Path, tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A change that the cheap identity cannot see.
    monkeypatch.setattr("splare_plugins.retrieval.indexing.source_identity", lambda source, fields: "same")
    encode(corpus, tmp_path / "out", shard=1, shards=2)
    changed = write("changed.tsv", [line.replace("number9", "number0") for line in LINES])
    encode(changed, tmp_path / "out", shard=2, shards=2)
    with pytest.raises(InputError, match=r"shards 1 and 2 were made from different corpora"):
        EncodedFolder(tmp_path / "out")
    (tmp_path / "out" / "shard-1-of-2.json").unlink()
    with pytest.raises(InputError, match=r"part-000002\.parquet was made from other documents than .*changed\.tsv"):
        encode(changed, tmp_path / "out", shard=1, shards=2)


def test_missing_shards_and_parts_are_named(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    encode(corpus, out, shard=2, shards=3)
    with pytest.raises(InputError, match=r"shard 1/3, 3/3 is not finished; run: .* --shard 1/3$"):
        EncodedFolder(out)
    encode(corpus, out, shard=1, shards=3)
    encode(corpus, out, shard=3, shards=3)
    (out / "part-000004.parquet").unlink()
    with pytest.raises(InputError, match=r"lacks part-000004\.parquet; .* --shard 2/3$"):
        EncodedFolder(out)
    encode(corpus, out, shard=2, shards=3)
    assert EncodedFolder(out).num_docs == 23


def test_a_part_of_another_folder_is_refused(corpus: Path, tmp_path: Path) -> None:
    encode(corpus, tmp_path / "out")
    encode(corpus, tmp_path / "other", FakeModel(scale=7.0))
    (tmp_path / "other" / "part-000001.parquet").rename(tmp_path / "out" / "part-000001.parquet")
    with pytest.raises(InputError, match=r"part-000001\.parquet is part 1 made with model"):
        list(EncodedFolder(tmp_path / "out").batches())
    (tmp_path / "out" / "part-000003.parquet").rename(tmp_path / "out" / "part-000001.parquet")
    with pytest.raises(InputError, match=r"part-000001\.parquet is part 3"):
        encode_again(corpus, tmp_path / "out")


def encode_again(corpus: Path, folder: Path) -> None:
    (folder / "shard-1-of-1.json").unlink()
    encode(corpus, folder)


def test_folders_that_are_no_encoded_corpus(corpus: Path, tmp_path: Path, write: Write) -> None:
    with pytest.raises(InputError, match=r"is not an encoded corpus: it has no encoding\.json"):
        EncodedFolder(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"is not empty and does not hold an encoded corpus"):
        encode(corpus, tmp_path)
    for text in ("{", "[]", "{}", '{"format": 1}'):
        write("bad/encoding.json", text)
        with pytest.raises(InputError, match=r"encoding\.json is damaged"):
            EncodedFolder(tmp_path / "bad")
    write("bad/encoding.json", json.dumps({"format": 99}))
    with pytest.raises(InputError, match=r"has format 99; this version reads 1"):
        EncodedFolder(tmp_path / "bad")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard": 0}, r"no shard 0 of 1"),
        ({"shard": 3, "shards": 2}, r"no shard 3 of 2"),
        ({"shards": 0}, r"number of shards must be at least 1"),
        ({"part_size": 0}, r"1 to 100000 documents, not 0"),
    ],
)
def test_impossible_settings(corpus: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode(corpus, tmp_path / "out", **options)


def test_an_empty_corpus(write: Write, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"empty\.tsv holds no document"):
        encode(write("empty.tsv", ""), tmp_path / "out")


def test_more_shards_than_parts(write: Write, tmp_path: Path) -> None:
    corpus = write("c.tsv", ["a\tx"])
    for shard in (1, 2, 3):
        encode(corpus, tmp_path / "out", shard=shard, shards=3)
    assert [batch.docids for batch in EncodedFolder(tmp_path / "out").batches()] == [["a"]]
