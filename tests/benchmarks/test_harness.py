"""What benchmarks share: a comparison whose sides differ, or that compared nothing, fails."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def harness(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import harness

    return harness


def test_equal_sides_go_on(harness):
    harness.require_same("ids", ["a"], ["a"])
    harness.require_close("weights", [1.0, 2.0], [1.0, 2.0 + 1e-6], absolute=1e-5)
    harness.require_close("weights", [100.0], [100.001], relative=1e-4)
    harness.require_found("hits", 1)


@pytest.mark.parametrize(
    ("ours", "peer"), [([1.0], [1.1]), ([1.0], [1.0, 1.0]), ([math.nan], [1.0]), ([math.nan], [math.nan])]
)
def test_other_numbers_end_the_run(harness, ours, peer):
    with pytest.raises(SystemExit, match="weights"):
        harness.require_close("weights", ours, peer, absolute=1e-3)


def test_other_values_and_nothing_at_all_end_the_run(harness):
    with pytest.raises(SystemExit, match="ids differ between the two sides"):
        harness.require_same("ids", ["a"], ["b"])
    with pytest.raises(SystemExit, match="there are no hits"):
        harness.require_found("hits", 0)


def test_the_ratio_is_that_of_pairs(harness):
    # A slow moment that both sides share leaves the ratio as it is.
    assert harness.paired([2.0, 20.0, 2.0], [1.0, 10.0, 1.0]) == 2.0


def figure(harness, **changes):
    values = {"what": "search", "against": "a peer", "ratio": [2.5], "unit": ["x less"], "command": "bench_x.py"}
    return harness.Figure(**{**values, **changes})


def test_an_aim_is_reached_by_every_ratio_or_not_at_all(harness):
    assert figure(harness).reached() is None
    assert figure(harness, aim=2).reached()
    assert not figure(harness, aim=2, ratio=[2.5, 1.9], unit=["x", "x"]).reached()
    assert figure(harness, aim=3, at="most").reached()
    assert not figure(harness, aim=2, at="most").reached()
    with pytest.raises(ValueError, match="one unit for each ratio"):
        figure(harness, unit=[])


def test_a_record_says_what_where_and_when(harness, tmp_path):
    file = tmp_path / "results" / "x.json"
    harness.write_record(Namespace(json=file, small=True), [figure(harness, aim=2)], rounds=3)
    record = json.loads(file.read_text())
    assert record["figures"] == [
        {"what": "search", "against": "a peer", "ratio": [2.5], "unit": ["x less"], "command": "bench_x.py", "aim": 2}
        | {"at": "least"}
    ]
    assert record["small"] and record["rounds"] == 3 and record["date"] and record["environment"]["python"]
    with pytest.raises(SystemExit, match="not a number"):
        harness.write_record(Namespace(json=None, small=True), [figure(harness, ratio=[math.inf])])


def test_a_disagreement_is_the_status_of_the_process_and_one_line():
    program = "import sys; from harness import require_same; sys.argv[0] = 'bench_x.py'; require_same('ids', 1, 2)"
    done = subprocess.run([sys.executable, "-c", program], cwd=BENCHMARKS, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "bench_x.py: ids differ between the two sides: 1 and 2\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (
            "bench_pooling.py",
            "torch.max(torch.log1p(torch.relu(logits)) * mask",
            "torch.mean(torch.relu(logits) * mask",
        ),
        ("bench_training.py", "values.amax(0)", "values.mean(0)"),
        pytest.param("bench_pipeline.py", "int(value * SCALE + 0.5)", "int(value * SCALE)", marks=pytest.mark.java),
        pytest.param("bench_pipeline.py", "repeated += each in seen", "repeated += 1", marks=pytest.mark.java),
        ("pooling_on_device.py", "(states @ self.weight.T)", "2 * (states @ self.weight.T)"),
        (
            "bench_gpu_encoding.py",
            "found[packed] = model._weights(batch",
            "found[packed] = model._weights(batch[::-1] if packed else batch",
        ),
        (
            "bench_device_search.py",
            "mine, seconds = timed(searcher, queries",
            "mine, seconds = timed(searcher, 2 * queries",
        ),
    ],
)
def test_a_peer_that_computes_something_else_fails_the_script(tmp_path, name, old, new):
    text = (BENCHMARKS / name).read_text(encoding="utf-8")
    assert text.count(old) == 1
    changed = text.replace(old, new)
    if "torch.mean(" in new:
        changed = changed.replace("dim=1).values", "dim=1)")
    for script in BENCHMARKS.glob("*.py"):
        (tmp_path / script.name).write_bytes(script.read_bytes())
    (tmp_path / name).write_text(changed, encoding="utf-8")
    options = ["--device", "cpu"] if name == "pooling_on_device.py" else []
    command = ["bench_pooling.py" if options else name, "--small", *options]
    done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "differ between the two sides" in done.stderr


def test_a_script_is_skipped_where_no_node_can_be_had(harness, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SPLARE_CACHE", str(tmp_path))
    monkeypatch.setenv("SPLARE_MAVEN_URL", "http://127.0.0.1:9")
    with pytest.raises(SystemExit) as stop:
        harness.require_opensearch()
    assert stop.value.code == harness.SKIPPED
    assert "skipped: " in capsys.readouterr().out
