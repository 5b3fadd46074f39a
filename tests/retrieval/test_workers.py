"""Parts made by several processes: the bytes that one makes, whatever dies on the way."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from splare_plugins.cli.app import main
from splare_plugins.errors import IdentityError, InputError, SplareError
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.indexing import encode_shard
from splare_plugins.retrieval.processes import local_workers
from tests.corpus.fake import FakeModel
from tests.retrieval.conftest import DOCUMENTS, PART, contents
from tests.retrieval.crews import Failing, Fatal, noting, other_each_time, slow_tiny, unloadable
from tests.tiny import TEXTS


def pids() -> list[int]:
    return [child.pid or 0 for child in multiprocessing.active_children() if child.name.startswith("splare-worker")]


@pytest.mark.slow
def test_devices_and_threads_are_shared_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    before = torch.get_num_threads()
    torch.set_num_threads(7)
    try:
        workers = local_workers(partial(noting, tmp_path), 3)
    finally:
        torch.set_num_threads(before)
    deadline = time.monotonic() + 60
    with workers:
        while len(notes := [path.read_text() for path in tmp_path.iterdir()]) < 3 or not all(notes):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert sorted(notes) == ["3 2", "3 2", "5 2"]


@pytest.mark.slow
def test_the_parts_of_one_process(tiny: SplareModel, tiny_folder: Path, corpus: Path, tmp_path: Path) -> None:
    encode_shard(tiny, corpus, tmp_path / "one", part_size=PART, store_text=True)
    told: list[int] = []
    with local_workers(tiny_folder, 3, device="cpu") as workers:
        assert workers.config == tiny.config
        encode_shard(workers, corpus, tmp_path / "all", part_size=PART, store_text=True, on_progress=told.append)
        for shard in (2, 1):
            encode_shard(workers, corpus, tmp_path / "shards", part_size=PART, shard=shard, shards=2)
    assert sum(told) == DOCUMENTS
    assert contents(tmp_path / "all") == contents(tmp_path / "one")
    encode_shard(tiny, corpus, tmp_path / "two", part_size=PART, shard=1, shards=2)
    encode_shard(tiny, corpus, tmp_path / "two", part_size=PART, shard=2, shards=2)
    assert contents(tmp_path / "shards") == contents(tmp_path / "two")
    assert pids() == []


def test_vectors_do_not_depend_on_the_number_of_threads(tiny: SplareModel) -> None:
    # Workers have fewer threads than one process has; parts of any length and batches of any number of texts.
    texts = [f"{text} {'more words ' * n}" for n in range(20) for text in TEXTS]
    before, seen = torch.get_num_threads(), set()
    try:
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            found = [tiny.encode_documents(texts[:count], top_k=None) for count in (1, 2, 7, 50, 100)]
            seen.add(b"".join(each.data.tobytes() + each.indices.tobytes() for each in found))
    finally:
        torch.set_num_threads(before)
    assert len(seen) == 1


@pytest.mark.slow
def test_killed_workers_are_started_again(tiny: SplareModel, tiny_folder: Path, corpus: Path, tmp_path: Path) -> None:
    encode_shard(tiny, corpus, tmp_path / "one", part_size=PART)
    told: list[int] = []
    killed: set[int] = set()

    def kill(documents: int) -> None:
        told.append(documents)
        # Both workers are at a part now; the second time, those in their places are.
        if len(killed) < 4 and not killed & {*pids()} and len(pids()) == 2:
            for pid in pids():
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)

    with local_workers(partial(slow_tiny, tiny_folder), 2) as workers:
        encode_shard(workers, corpus, tmp_path / "all", part_size=PART, on_progress=kill)
    assert len(killed) == 4
    assert sum(told) == DOCUMENTS
    assert min(told) > 0
    assert contents(tmp_path / "all") == contents(tmp_path / "one")


@pytest.mark.slow
def test_a_part_that_kills_is_given_up(corpus: Path, tmp_path: Path) -> None:
    message = r"^3 workers died encoding part 4 \(the last one: SIGKILL\); .* same command again"
    with local_workers(Fatal, 2) as workers, pytest.raises(SplareError, match=message):
        encode_shard(workers, corpus, tmp_path / "out", part_size=PART)
    made = {path.name for path in (tmp_path / "out").glob("part-*")}
    assert made  # the other worker went on
    assert "part-000004.parquet" not in made
    encode_shard(FakeModel(), corpus, tmp_path / "out", part_size=PART)
    encode_shard(FakeModel(), corpus, tmp_path / "one", part_size=PART)
    assert contents(tmp_path / "out") == contents(tmp_path / "one")


@pytest.mark.slow
def test_errors_of_workers_are_those_of_the_run(corpus: Path, tmp_path: Path) -> None:
    with local_workers(Failing, 2) as workers:
        with pytest.raises(ZeroDivisionError, match="of one document") as caught:
            encode_shard(workers, corpus, tmp_path / "out", part_size=PART)
        assert any("in encode" in note for note in caught.value.__notes__)
    refused = {"fails": r"^there is no such model; choose another", "dies": r"^3 workers died .* exit status 7\)"}
    for how, message in refused.items():
        with local_workers(partial(unloadable, how), 1) as workers, pytest.raises(SplareError, match=message):
            encode_shard(workers, corpus, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(InputError, match="at least 1, not 0"):
        local_workers(FakeModel, 0)
    assert pids() == []


@pytest.mark.slow
def test_an_error_of_the_corpus_ends_the_run(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.tsv"
    corpus.write_text("".join(f"d{n}\tx\n" for n in [*range(20), 3]), encoding="utf-8")
    message = r"corpus\.tsv:21: document 'd3' came before"
    with local_workers(FakeModel, 2) as workers, pytest.raises(InputError, match=message):
        encode_shard(workers, corpus, tmp_path / "out", part_size=2)


@pytest.mark.slow
def test_workers_of_another_model_are_refused(corpus: Path, tmp_path: Path) -> None:
    # As if the model's folder were replaced before a worker is started again.
    with (
        local_workers(partial(other_each_time, tmp_path / "first"), 1) as workers,
        pytest.raises(IdentityError, match="the corpus that other workers are encoding"),
    ):
        encode_shard(workers, corpus, tmp_path / "out", part_size=PART)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "0"], "the number of workers must be at least 1, not 0"),
        (["--workers", "2", "--device", "spread"], "--device spread leaves nothing to share out; omit it, or omit"),
        (["--workers", "2", "--device", "cuda:1"], "--device cuda:1 leaves nothing to share out; omit it, or omit"),
    ],
)
def test_options_that_workers_do_not_have(
    corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["encode", str(corpus), "-o", str(tmp_path / "out"), *options])
    assert stop.value.code == 2
    assert f"error: {message}" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def start(corpus: Path, out: Path, model: Path, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "splare_plugins", "encode", str(corpus), "-o", str(out), "--device", "cpu"]
    command += ["--model", str(model), "--part-size", "2", "--workers", "2"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not what():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def has_parts(out: Path, count: int) -> bool:
    return len(list(out.glob("part-*"))) >= count


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def stop(process: subprocess.Popen[str], sent: signal.Signals) -> None:
    """End a run as a terminal does, or at once, and see that all its processes are gone."""
    started = children(process.pid)
    assert len(started) == 3  # Python's helper for resources is the third
    if sent == signal.SIGINT:
        os.killpg(process.pid, sent)
    else:
        process.kill()
    _, err = process.communicate(timeout=60)
    assert process.returncode == (130 if sent == signal.SIGINT else -sent)
    if sent == signal.SIGINT:
        (line,) = err.splitlines()  # of the first process alone
        assert line.startswith("error: interrupted; what was finished is kept")
    deadline = time.monotonic() + 60
    while left := [pid for pid in started if alive(pid)]:
        assert time.monotonic() < deadline, [Path(f"/proc/{pid}/status").read_text() for pid in left]
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in /proc")
def test_a_stopped_run_leaves_no_process_and_goes_on(
    tiny: SplareModel, tiny_folder: Path, corpus: Path, tmp_path: Path
) -> None:
    """Stopped by Ctrl-C, then killed, then left alone."""
    corpus.write_text("".join(f"d{n}\t{'word ' * 60}{n}\n" for n in range(700)), encoding="utf-8")
    out = tmp_path / "out"
    times: dict[Path, int] = {}
    for sent in (signal.SIGINT, signal.SIGKILL):
        process = start(corpus, out, tiny_folder, start_new_session=True)
        wait_for(partial(has_parts, out, len(times) + 3), process)
        stop(process, sent)
        assert not (out / "shard-1-of-1.json").exists()
        kept = {path: path.stat().st_mtime_ns for path in out.glob("part-*")}
        assert times.items() <= kept.items()  # what was finished before was not made again
        times = kept
    again = start(corpus, out, tiny_folder)
    _, err = again.communicate(timeout=240)
    assert again.returncode == 0, err
    assert {path: path.stat().st_mtime_ns for path in times} == times
    encode_shard(tiny, corpus, tmp_path / "one", part_size=2)
    whole = contents(tmp_path / "one")
    del whole["encoding.json"]  # names the model's folder, which the program knows
    assert {name: data for name, data in contents(out).items() if name != "encoding.json"} == whole
