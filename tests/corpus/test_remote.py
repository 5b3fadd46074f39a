"""Encoded corpora on S3, spoken to as in earnest: a server on this machine, and pyarrow's own client."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs

from splare_plugins.corpus import EncodedFolder
from splare_plugins.corpus.encoded import join_batches
from splare_plugins.errors import IdentityError, InputError
from splare_plugins.machine.places import find_place
from splare_plugins.machine.remote import RemotePath
from splare_plugins.retrieval.indexing import encode_shard

from .conftest import Write
from .fake import FakeModel
from .test_parts import assert_same

LINES = [f"d{number}\t{'word ' * (number % 11)}number{number}" for number in range(23)]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty one; keys stand in the environment, as they should."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "mine",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    urllib.request.urlopen(urllib.request.Request(f"{server}/moto-api/reset", method="POST")).close()
    made = boto3.resource("s3").Bucket("corpora")
    made.create()
    return made


@pytest.fixture
def corpus(write: Write) -> Path:
    return write("corpus.tsv", LINES)


def address(server: str, folder: str = "encoded", bucket: str = "corpora") -> str:
    return f"s3://{bucket}/{folder}?endpoint_override={server.removeprefix('http://')}&scheme=http"


def objects(bucket: Any) -> dict[str, bytes]:
    return {each.key: each.get()["Body"].read() for each in bucket.objects.all()}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_files_are_those_of_a_folder(server: str, bucket: Any, corpus: Path, tmp_path: Path) -> None:
    place = address(server, "deep/encoded/")
    for shard in (2, 1):
        encode_shard(FakeModel(), corpus, place, shard=shard, shards=2, part_size=4, store_text=True)
        encode_shard(FakeModel(), corpus, tmp_path / "out", shard=shard, shards=2, part_size=4, store_text=True)
    assert objects(bucket) == {f"deep/encoded/{name}": data for name, data in contents(tmp_path / "out").items()}
    remote, local = EncodedFolder(place), EncodedFolder(tmp_path / "out")
    assert len(remote) == 23
    assert remote.read == local.read
    assert_same(join_batches(list(remote.batches())), join_batches(list(local.batches())))


def test_a_stopped_run_goes_on(server: str, bucket: Any, corpus: Path) -> None:
    class Stopping(FakeModel):
        def encode(self, texts: Any) -> Any:
            if any("number17" in text for text in texts):
                raise KeyboardInterrupt
            return super().encode(texts)

    with pytest.raises(KeyboardInterrupt):
        encode_shard(Stopping(), corpus, address(server), part_size=4)
    assert len(objects(bucket)) == 5
    with pytest.raises(
        InputError, match=r"shard 1/1 is not finished; run: .* -o 's3://corpora/encoded\?endpoint"
    ) as caught:
        EncodedFolder(address(server))
    assert "--part-size 4" in str(caught.value)
    model = FakeModel()
    encode_shard(model, corpus, address(server), part_size=4)
    assert len(model.texts) == 7
    bucket.Object("encoded/part-000002.parquet").delete()
    with pytest.raises(InputError, match=r"lacks part-000002\.parquet"):
        EncodedFolder(address(server))
    model = FakeModel()
    encode_shard(model, corpus, address(server), part_size=4)
    assert len(model.texts) == 4
    assert len(EncodedFolder(address(server))) == 23


@pytest.mark.slow
def test_what_is_refused(server: str, bucket: Any, corpus: Path, tmp_path: Path) -> None:
    place = address(server)
    with pytest.raises(InputError, match=r"encoded\?.* is not an encoded corpus: it has no encoding\.json"):
        EncodedFolder(place)
    bucket.put_object(Key="encoded/notes.txt", Body=b"mine")
    with pytest.raises(InputError, match=r"is not empty and does not hold an encoded corpus"):
        encode_shard(FakeModel(), corpus, place)
    bucket.Object("encoded/notes.txt").delete()
    encode_shard(FakeModel(), corpus, place)
    with pytest.raises(InputError, match=r"documents a part: 2000 there, 5 now"):
        encode_shard(FakeModel(), corpus, place, part_size=5)
    with pytest.raises(IdentityError, match=r"was made with fake 1"):
        encode_shard(FakeModel(scale=7.0), corpus, place)
    part = bucket.Object("encoded/part-000000.parquet")
    part.put(Body=part.get()["Body"].read()[:-9])
    with pytest.raises(InputError, match=r"part-000000\.parquet\S* is missing, cut off or damaged"):
        list(EncodedFolder(place).batches())
    with pytest.raises(InputError, match=r"^cannot write s3://nowhere/encoded/encoding\.json\S*: .*; "):
        encode_shard(FakeModel(), corpus, address(server, bucket="nowhere"))
    with pytest.raises(
        InputError, match=r"^cannot read s3://corpora/encoded/encoding\.json\S*: .*; see to the address"
    ):
        EncodedFolder(address("http://127.0.0.1:9"))


def test_settings_of_another_machine_that_came_later_are_noticed(
    server: str, bucket: Any, corpus: Path, tmp_path: Path
) -> None:
    class Overtaken(FakeModel):
        def encode(self, texts: Any) -> Any:
            file = bucket.Object("encoded/encoding.json")
            values = json.loads(file.get()["Body"].read())
            file.put(Body=json.dumps({**values, "part_size": 9}).encode())
            return super().encode(texts)

    with pytest.raises(InputError, match=r"documents a part: 9 there, 4 now"):
        encode_shard(Overtaken(), corpus, address(server), part_size=4)
    assert "encoded/shard-1-of-1.json" not in objects(bucket)


def test_addresses(tmp_path: Path) -> None:
    assert find_place(f"file://{tmp_path}/with%20blank") == tmp_path / "with blank"
    assert find_place("plain/folder") == Path("plain/folder")
    assert find_place(tmp_path) is tmp_path
    secret = "s3://key:secret@bucket/folder?region=us-east-1"
    assert str(find_place(secret)) == "s3://bucket/folder?region=us-east-1"
    assert str(find_place(secret) / "part") == "s3://bucket/folder/part?region=us-east-1"
    with pytest.raises(InputError, match=r"^ftp://h/x cannot be opened \(.*\); give a folder"):
        find_place("ftp://me:secret@h/x")
    with pytest.raises(InputError, match=r"^s3:/bucket/x was an address"):
        find_place(Path("s3://bucket/x"))


def test_a_file_system_that_renames(corpus: Path, tmp_path: Path) -> None:
    # Other than an object store: a reader would see half a file, so it is written beside its place.
    place = RemotePath(fs.LocalFileSystem(), str(tmp_path / "out"), "hdfs://out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".part-000001.parquet.123-abcd.tmp").write_bytes(b"half")
    encode_shard(FakeModel(), corpus, place, part_size=4)
    encode_shard(FakeModel(), corpus, tmp_path / "plain", part_size=4)
    assert contents(tmp_path / "out") == contents(tmp_path / "plain")
    (place / "shard-1-of-1.json").put(b"{}")
    assert (tmp_path / "out" / "shard-1-of-1.json").read_bytes() == b"{}"
    with pytest.raises(InputError, match=r"hdfs://out/shard-1-of-1\.json is damaged"):
        EncodedFolder(place)


@pytest.mark.slow
def test_the_program(server: str, bucket: Any, tiny_folder: Path, corpus: Path, tmp_path: Path) -> None:
    def splare(*arguments: object) -> str:
        command = [sys.executable, "-m", "splare_plugins", *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    place = "s3://corpora/encoded"  # the server is named by AWS_ENDPOINT_URL
    splare("encode", corpus, "-o", place, "-M", tiny_folder, "--part-size", 5, "--workers", 2)
    splare("encode", corpus, "-o", tmp_path / "out", "-M", tiny_folder, "--part-size", 5)
    assert objects(bucket) == {f"encoded/{name}": data for name, data in contents(tmp_path / "out").items()}
    facts = json.loads(splare("index", "memory", place, "-o", tmp_path / "index", "--json").splitlines()[-1])
    assert facts["indexed"] == 23
    assert json.loads(splare("inspect", tmp_path / "index", "--json"))["documents"] == 23
