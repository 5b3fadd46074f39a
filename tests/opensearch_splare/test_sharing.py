"""Several loaders of one index: each document once, and published once, whoever is killed or started twice."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from opensearch_splare import SplareIndex
from opensearch_splare.generations import create_once, read_indexes
from opensearch_splare.part_log import PartLog, PartNote, remove_orphans
from opensearch_splare.shares import TextShare
from opensearch_splare.sharing import SharedWriter, load_share
from opensearch_splare.writer import OpenSearchWriter
from splare_plugins.corpus import Document, ReadCounts
from splare_plugins.errors import InputError

from .conftest import names, random_impacts
from .test_index import encoded

pytestmark = pytest.mark.java

COUNT, SIZE = 20, 3
IMPACTS = random_impacts(COUNT, 20)


class Loader:
    """One of several: what it encoded, and a share of a corpus whose vectors are known."""

    def __init__(self, location, config, run="corpus", docids=None, **options):
        self.location, self.config, self.run, self.options = location, config, run, options
        self.docids = docids or names(COUNT)
        self.encoded: list[str] = []

    def share(self, shard, shards, *, stop_after=None, text=""):
        """Interrupted, like a killed one, when so many parts were encoded."""
        rows = {docid: row for row, docid in enumerate(self.docids)}
        read = ReadCounts()

        def encode(part):
            if stop_after is not None and len(self.encoded) >= stop_after * SIZE:
                raise KeyboardInterrupt
            self.encoded += [document.docid for document in part]
            batch = encoded(IMPACTS[[rows[document.docid] for document in part]])
            batch.docids[:] = [document.docid for document in part]
            yield batch

        def documents():
            for docid in self.docids:
                read.read += 1
                yield Document(docid, text)

        return TextShare(documents(), encode, read=read, shard=shard, shards=shards, part_size=SIZE)

    def load(self, shard, shards, **how):
        share = self.share(shard, shards, **how)
        return load_share(self.location, self.config, share, run=self.run, **self.options)


@pytest.fixture
def location(opensearch_url, name):
    return f"{opensearch_url}/{name}"


def assert_whole(client, name, config, *, generation=1, form="neural_sparse"):
    index = SplareIndex(client, name, config, form=form)
    assert index.count() == COUNT
    queries = random_impacts(5, 30, seed=2)
    scores = (queries @ IMPACTS.T).toarray()
    for hits, row in zip(index.search_impacts(queries, COUNT), scores, strict=True):
        assert {docid: row[int(docid[1:])] for docid in hits.docids} == dict(
            zip(hits.docids, hits.scores.tolist(), strict=True)
        )
        assert len(hits.docids) == (row > 0).sum()
    assert list(client.indices.get_alias(index=name)) == [f"{name}-{generation:06d}"]
    assert [each for each in read_indexes(client, f"{name}*") if "loading" in each] == []


def test_the_last_loader_publishes(client, name, config, location):
    loader = Loader(location, config)
    first = loader.load(1, 3)
    assert (first.published, first.missing) == (False, (1, 2, 4, 5))
    assert (first.summary.read, first.summary.indexed, first.summary.elsewhere) == (COUNT, 8, 12)
    assert not client.indices.exists(index=name)
    assert not loader.load(2, 3).published
    again = loader.load(2, 3)
    assert (again.summary.indexed, again.missing) == (0, (2, 5))
    assert loader.load(3, 3).published
    assert sorted(loader.encoded) == sorted(names(COUNT))
    assert_whole(client, name, config)
    late = Loader(location, config, overwrite=True)
    assert late.load(1, 3).published
    assert late.encoded == []
    assert_whole(client, name, config)


def test_all_at_once_and_each_twice(client, name, config, location):
    start = threading.Barrier(6)

    def load(shard):
        start.wait()
        return Loader(location, config).load(shard, 3).published

    with ThreadPoolExecutor(6) as pool:
        published = list(pool.map(load, (1, 2, 3) * 2))
    assert any(published)
    assert_whole(client, name, config)


def test_another_loader_takes_the_share_of_one_that_was_interrupted(client, name, config, location):
    with pytest.raises(KeyboardInterrupt):
        Loader(location, config).load(1, 2, stop_after=2)
    other = Loader(location, config)
    assert other.load(2, 2).missing
    # By another division of the corpus, too: parts are what counts.
    assert other.load(1, 1).published
    assert not set(other.encoded) & set(names(SIZE))
    assert_whole(client, name, config)


def test_a_loader_killed_between_the_documents_and_the_note(client, name, config, location, monkeypatch):
    loader = Loader(location, config)
    with monkeypatch.context() as patch:
        patch.setattr(PartLog, "add", interrupt)
        with pytest.raises(KeyboardInterrupt):
            loader.load(1, 1)
    assert loader.load(1, 1).published
    assert_whole(client, name, config)


def test_a_loader_killed_just_before_the_swap(client, name, config, location, monkeypatch):
    loader = Loader(location, config)
    with monkeypatch.context() as patch:
        patch.setattr(OpenSearchWriter, "_publish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            loader.load(1, 1)
    assert not client.indices.exists(index=name)
    assert loader.load(1, 1).published
    assert len(loader.encoded) == COUNT
    assert_whole(client, name, config)


def interrupt(*_):
    raise KeyboardInterrupt


def test_a_loader_whose_index_another_one_publishes_under_its_hands(client, name, config, location):
    slow = Loader(location, config)
    share, load = slow.share(1, 1), slow.share(1, 1).load

    def overtaken(is_in):
        for number, part in enumerate(load(is_in)):
            if number == 2:
                assert Loader(location, config).load(1, 1).published
            yield part

    share.load = overtaken
    outcome = load_share(location, config, share, run="corpus")
    assert (outcome.published, outcome.summary) == (True, None)
    assert_whole(client, name, config)


def test_replacing(client, name, config, location):
    with OpenSearchWriter(location, config) as writer:
        writer.add(["old"], IMPACTS[:1])
    with pytest.raises(InputError, match="exists already"):
        Loader(location, config).load(1, 2)
    loader = Loader(location, config, overwrite=True)
    assert not loader.load(1, 2).published
    assert SplareIndex(client, name, config).count() == 1
    assert loader.load(2, 2).published
    assert_whole(client, name, config, generation=2)
    assert client.indices.exists(index=f"{name}-000001")


def test_the_unfinished_index_of_another_run(client, name, config, location):
    assert not Loader(location, config, run="before").load(1, 2).published
    with pytest.raises(InputError, match="that another run began"):
        Loader(location, config).load(1, 2)
    loader = Loader(location, config, overwrite=True)
    assert not loader.load(1, 2).published
    assert not client.indices.exists(index=f"{name}-000001")
    assert loader.load(2, 2).published
    assert_whole(client, name, config, generation=2)


def test_a_loader_makes_its_index_before_it_deletes_a_stale_one(client, name, config, location, monkeypatch):
    """Else one that looks in between would begin a second index of the same run."""
    Loader(location, config, run="before").load(1, 2)
    seen = []

    def create(*arguments):
        seen.append(client.indices.exists(index=f"{name}-000001"))
        return create_once(*arguments)

    monkeypatch.setattr("opensearch_splare.writer.create_once", create)
    SharedWriter(location, config, run="corpus", overwrite=True)
    assert seen == [True]


def test_loaders_with_different_corpora(client, name, config, location):
    loader = Loader(location, config)
    loader.load(1, 2)
    with pytest.raises(InputError, match=r"part 0 .* was loaded from other documents"):
        loader.load(2, 2, text="another text")
    assert not client.indices.exists(index=name)


def test_two_documents_with_one_id_are_not_published(client, name, config, location):
    """No reader gives such, so the loaders look at the sum."""
    loader = Loader(location, config, docids=[*names(COUNT - 1), "d0"])
    loader.load(1, 2)
    with pytest.raises(InputError, match=r"holds 19 documents and the collection 20: .* two documents have one id"):
        loader.load(2, 2)
    assert not client.indices.exists(index=name)


def test_an_index_that_is_not_an_alias_is_not_kept(client, name, config, location):
    SplareIndex(client, name, config).create()
    with pytest.raises(InputError, match="--drop-previous"):
        Loader(location, config, overwrite=True).load(1, 1)
    assert Loader(location, config, overwrite=True, keep_previous=False).load(1, 1).published
    assert_whole(client, name, config)


def test_shares_that_there_are_not(config, location):
    for shard in (0, 4):
        with pytest.raises(InputError, match=f"no share {shard} of 3"):
            Loader(location, config).load(shard, 3)


def test_a_note_stays_as_it_was_made_first(client, name):
    alias = f"{name}-000001-loading-0a1b2c"
    log = PartLog(client, alias)
    log.open()
    log.open()
    log.add(1, PartNote(3, "first"))
    log.add(1, PartNote(4, "second"))
    assert (0 in log, 1 in log) == (False, True)
    assert list(log.read(3)) == [None, PartNote(3, "first"), None]
    assert f"{alias}-parts" not in client.indices.get(index=f"{name}*")
    remove_orphans(client, name)
    assert list(log.read(3)) == [None, None, None]
    with pytest.raises(Exception, match="require_alias"):
        log.add(2, PartNote(1, "late"))
    assert read_indexes(client, f"{name}*") == {}
