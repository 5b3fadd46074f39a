"""The tables of figures say what the records say; all scripts run one after the other, and none fails unseen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {benchmarks!r})
import argparse
from harness import Figure, add_options, require_same, skip, write_record
parser = argparse.ArgumentParser()
add_options(parser, {{}})
options = parser.parse_args()
{body}
write_record(options, [Figure(what={what!r}, against="a peer", ratio=[2], unit=["x less"], aim=3, command="x.py")])
"""


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import table

    return table


def test_the_pages_have_the_tables_that_the_records_give(table):
    for path, text in table.pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run python benchmarks/table.py --write"


def test_every_record_is_of_a_script_that_is_there_and_of_a_full_run(table):
    for path in table.RESULTS.glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        assert record["small"] is False
        assert (BENCHMARKS / record["script"]).is_file()
        assert all(figure["command"].startswith(record["script"]) for figure in record["figures"])


def test_a_row_says_what_was_measured_and_whether_it_is_enough(table):
    values = {"what": "search", "against": "a peer", "command": "bench_x.py --peer DIR"}
    rows = [
        table.Figure(**values, ratio=[6.94, 10], unit=["x less"] * 2, aim=5),
        table.Figure(**values, ratio=[1.9, 3], unit=["x faster"] * 2, aim=[2, 2.5]),
        table.Figure(**values, ratio=[0.0004, 61.4], unit=["lost", "kept"], at="most"),
        table.Figure(**values, ratio=[106_941.7, 1000.4], unit=["documents a second"] * 2, aim=5000),
    ]
    assert table.long_table(rows).splitlines()[2:] == [
        "| search | a peer | 6.94 x; 10 x less | 5 | `bench_x.py --peer DIR` |",
        "| search | a peer | 1.9 x; 3 x faster | 2; 2.5, missed | `bench_x.py --peer DIR` |",
        "| search | a peer | 0.0004 lost; 61 kept | - | `bench_x.py --peer DIR` |",
        "| search | a peer | 107,000; 1,000 documents a second | 5,000, missed | `bench_x.py --peer DIR` |",
    ]


def test_a_page_without_its_comments_is_left_alone(table):
    with pytest.raises(SystemExit, match="lacks its two comments"):
        table.with_table("# A page", "a table")


def test_all_run_and_those_that_fail_are_named(tmp_path):
    bodies = {"good": "", "bad": "require_same('ids', 1, 2)", "absent": "skip('there is no GPU')"}
    for name, body in bodies.items():
        script = SCRIPT.format(benchmarks=str(BENCHMARKS), body=body, what=name)
        (tmp_path / f"bench_{name}.py").write_text(script, encoding="utf-8")
    command = [sys.executable, str(BENCHMARKS / "run_all.py"), "--small", "--folder", str(tmp_path)]
    records = tmp_path / "records"
    records.mkdir()
    (records / "bad.json").write_text("of an earlier run", encoding="utf-8")
    done = subprocess.run([*command, "--json", str(records)], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.splitlines()[2:] == ["| good | a peer | 2 x less |"]
    assert "bench_bad.py: ids differ between the two sides: 1 and 2" in done.stderr
    assert "bench_absent.py: skipped: there is no GPU" in done.stderr
    assert done.stderr.endswith("run_all.py: bench_bad.py failed\n")
