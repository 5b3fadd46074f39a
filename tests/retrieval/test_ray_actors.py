"""Parts made by actors of a real Ray on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import ray

from splare_plugins.cli.app import main
from splare_plugins.errors import InputError, SplareError
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.indexing import encode_shard
from splare_plugins.retrieval.ray_actors import ray_workers
from tests.corpus.fake import FakeModel
from tests.retrieval.conftest import DOCUMENTS, PART, contents
from tests.retrieval.crews import Fatal, Refusing, slow_tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def ends() -> Iterator[None]:
    yield
    ray.shutdown()


def test_a_killed_actor_costs_no_part(tiny: SplareModel, tiny_folder: Path, corpus: Path, tmp_path: Path) -> None:
    encode_shard(tiny, corpus, tmp_path / "one", part_size=PART)
    told: list[int] = []
    killed: list[int] = []
    pids = tmp_path / "pids"
    pids.mkdir()

    def kill(documents: int) -> None:
        told.append(documents)
        at_work = [int(path.name) for path in pids.iterdir()]
        if not killed and len(at_work) == 2:
            killed.append(at_work[0])
            os.kill(at_work[0], signal.SIGKILL)

    with ray_workers(partial(slow_tiny, tiny_folder, pids), "local", 2) as workers:
        encode_shard(workers, corpus, tmp_path / "all", part_size=PART, on_progress=kill)
        assert len(killed) == 1
        assert len(list(pids.iterdir())) >= 2
        assert sum(told) == DOCUMENTS
        encode_shard(workers, corpus, tmp_path / "again", part_size=PART)
    assert contents(tmp_path / "all") == contents(tmp_path / "one") == contents(tmp_path / "again")


def test_errors_of_actors_are_those_of_the_run(corpus: Path, tmp_path: Path) -> None:
    with (
        ray_workers(Refusing, "local", 1) as workers,
        pytest.raises(InputError, match="document d33 cannot be encoded"),
    ):
        encode_shard(workers, corpus, tmp_path / "out", part_size=PART)
    with (
        ray_workers(Fatal, "local", 1) as workers,
        pytest.raises(SplareError, match=r"^3 workers died encoding part 4 \(the last one: .+\); "),
    ):
        encode_shard(workers, corpus, tmp_path / "out", part_size=PART)
    with pytest.raises(InputError, match="at least 1, not 0"):
        ray_workers(FakeModel, "local", 0)


def test_the_program(tiny: SplareModel, tiny_folder: Path, corpus: Path, tmp_path: Path) -> None:
    """In a process of its own, on the cluster that runs, by its address."""
    with ray_workers(FakeModel, "local", 1):
        address = ray.get_runtime_context().gcs_address
    options = ["encode", str(corpus), "-M", str(tiny_folder), "--part-size", str(PART), "--json"]
    actors = subprocess.run(
        [sys.executable, "-m", "splare_plugins", *options, "-o", tmp_path / "all", "--ray", address, "--workers", "2"],
        capture_output=True,
        text=True,
    )
    assert actors.returncode == 0, actors.stderr
    one = encode_shard(tiny, corpus, tmp_path / "one", part_size=PART)
    assert json.loads(actors.stdout) == one.to_dict()
    whole, made = contents(tmp_path / "one"), contents(tmp_path / "all")
    del whole["encoding.json"], made["encoding.json"]  # it names the model's folder, which the program knows
    assert made == whole


def test_where_no_ray_is(tiny_folder: Path, corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ray.shutdown()
    with pytest.raises(SystemExit) as stop:
        main(["encode", str(corpus), "-M", str(tiny_folder), "-o", str(tmp_path / "none"), "--ray", "auto"])
    assert stop.value.code == 2
    said = capfd.readouterr().err
    assert "error: there is no Ray at auto (" in said
    assert "take --ray local for one on this machine" in said
    assert not (tmp_path / "none").exists()
