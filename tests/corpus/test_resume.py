"""A run that is killed at any moment goes on to the same bytes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from splare_plugins.corpus import EncodedFolder
from splare_plugins.retrieval.indexing import encode_shard

from .fake import FakeModel

PROGRAM = """
import sys, time
from tests.corpus.fake import FakeModel
from splare_plugins.retrieval.indexing import encode_shard

class Slow(FakeModel):
    def encode(self, texts):
        time.sleep(0.01)
        return super().encode(texts)

print("ready", flush=True)
encode_shard(Slow(), sys.argv[1], sys.argv[2], part_size=3, store_text=True)
"""
DOCUMENTS = 120


def start(corpus: Path, out: Path) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", PROGRAM, str(corpus), str(out)]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_kill_and_resume(tmp_path: Path) -> None:
    corpus, out = tmp_path / "corpus.tsv", tmp_path / "out"
    corpus.write_text("".join(f"d{n}\ttext number {n}\n" for n in range(DOCUMENTS)))
    moments = random.Random(0)
    kills, parts = 0, [0]
    for wanted in (2, 20):
        process = start(corpus, out)
        while len(list(out.glob("part-*"))) < wanted:
            assert process.poll() is None
            time.sleep(0.002)
        time.sleep(moments.random() / 50)
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        parts.append(len(list(out.glob("part-*"))))
    assert kills == 2
    assert parts == sorted(parts)
    assert parts[-1] < DOCUMENTS // 3
    times = {path: path.stat().st_mtime_ns for path in out.glob("part-*")}

    assert start(corpus, out).wait() == 0
    assert {path: path.stat().st_mtime_ns for path in times} == times
    encode_shard(FakeModel(), corpus, tmp_path / "whole", part_size=3, store_text=True)
    assert contents(out) == contents(tmp_path / "whole")
    assert len(EncodedFolder(out)) == DOCUMENTS
