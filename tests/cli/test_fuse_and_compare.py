"""``splare fuse`` and ``splare evaluate --compare``."""

from __future__ import annotations

import pytest

from splare_plugins.corpus import read_run, write_run
from splare_plugins.retrieval.fusion import fuse


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two runs and judgements; the second run has another query, and one less."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qrels").write_text("".join(f"q{n} 0 d{n} 1\n" for n in range(4)), encoding="utf-8")
    (tmp_path / "other.run").write_text("p1 Q0 d 1 1 x\n", encoding="utf-8")
    (tmp_path / "empty.run").touch()
    for name, first, asked in (("one.run", 0, range(4)), ("two.run", 1, [0, 1, 2, 9])):
        lines = (f"q{n} Q0 d{(n + first + rank) % 5} {rank} {9 - rank} x\n" for n in asked for rank in range(3))
        (tmp_path / name).write_text("".join(lines), encoding="utf-8")


def test_a_fused_run(splare, runs, tmp_path):
    options = ["--method", "minmax", "-w", "2", "-w", "0.5", "-k", "3", "--depth", "2"]
    fused = splare("fuse", "one.run", "two.run", "-o", "fused.run", *options, "--json")
    assert fused.status == 0, fused.err
    assert fused.facts == {"runs": 2, "queries": 5, "in_all_runs": 3, "in_some_runs": 2}
    expected = fuse([read_run("one.run"), read_run("two.run")], "minmax", weights=[2, 0.5], k=3, depth=2)
    write_run("expected.run", expected, "fused")
    assert (tmp_path / "fused.run").read_bytes() == (tmp_path / "expected.run").read_bytes()
    assert splare("fuse", "two.run", "one.run", "-o", "turned.run", "--method", "rrf").status == 0
    assert splare("fuse", "one.run", "two.run", "-o", "fused.run").status == 0
    turned, first = read_run("turned.run"), read_run("fused.run")
    assert {qid: list(map(str, hits)) for qid, hits in turned.items()} == {
        qid: list(map(str, hits)) for qid, hits in first.items()
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one.run", "-o", "out"], "two runs or more, not 1"),
        (["one.run", "two.run", "-o", "two.run"], "two.run is read, and would be overwritten"),
        (["one.run", "two.run", "-o", "out", "-w", "1"], "once for each of the 2 runs, not 1 times"),
        (["one.run", "two.run", "-o", "out", "-w", "1", "-w", "-1"], "at least 0"),
        (["one.run", "two.run", "-o", "out", "--method", "sum"], "'minmax', 'zscore'"),
        (["one.run", "nowhere", "-o", "out"], "nowhere"),
        (["one.run", "two.run", "-o", "."], "name the file of the run"),
        (["one.run", "two.run", "other.run", "-o", "out"], "other.run shares no query with the other runs: it has p1"),
        (["empty.run", "one.run", "-o", "out"], "empty.run shares no query with the other runs: it is empty; give"),
    ],
)
def test_what_fuse_refuses(splare, runs, tmp_path, arguments, message):
    before = (tmp_path / "two.run").read_bytes()
    refused = splare("fuse", *arguments)
    assert refused.status == 2
    assert message in " ".join(refused.err.split())
    assert not (tmp_path / "out").exists() and (tmp_path / "two.run").read_bytes() == before


def test_runs_compared(splare, runs):
    compared = splare("evaluate", "qrels", "one.run", "--compare", "two.run", "-m", "RR@10", "-m", "R@1", "--json")
    assert compared.status == 0, compared.err
    facts = compared.facts
    assert facts["baseline"] == "one.run"
    first, second = facts["comparisons"]
    assert (first["run"], first["measure"], first["mean"], first["baseline"]) == ("two.run", "RR@10", 0.0, 1.0)
    assert (first["wins"], first["ties"], first["losses"]) == (0, 0, 4)
    assert first["randomisation_p"] == 0.125
    assert second["randomisation_holm"] == 0.25
    assert facts["queries"]["two.run"] == {
        **{"judged": 4, "answered": 3, "unanswered": 1, "unjudged": 1},
        **{"unanswered_queries": ["q3"], "unjudged_queries": ["q9"]},
    }
    shown = splare("evaluate", "qrels", "one.run", "--compare", "two.run", "-m", "RR@10")
    assert shown.status == 0, shown.err
    row = next(line for line in shown.out.splitlines() if line.startswith("two.run"))
    assert row.split()[:8] == ["two.run", "RR@10", "0.0000", "1.0000", "-1.0000", "0", "0", "4"]
    assert "unjudged queries" in shown.out and "q9" in shown.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--compare", "one.run"], "named twice"),
        (["--compare", "other.run"], "other.run answers none of the 4 judged queries: its queries are p1"),
        (["--compare", "empty.run"], "empty.run answers none of the 4 judged queries: it is empty"),
        (["--compare", "two.run", "--per-query"], "evaluate each run with --per-query"),
        (["--compare", "two.run", "-m", "magic"], "magic"),
    ],
)
def test_what_a_comparison_refuses(splare, runs, arguments, message):
    refused = splare("evaluate", "qrels", "one.run", *arguments)
    assert refused.status == 2
    assert message in " ".join(refused.err.split())


@pytest.mark.parametrize(
    ("run", "seen"), [("other.run", "its queries are p1; give a run of these"), ("empty.run", "it is empty; give")]
)
def test_a_run_of_other_queries_is_not_a_run_of_zeros(splare, runs, run, seen):
    refused = splare("evaluate", "qrels", run)
    assert refused.status == 2
    assert f"{run} answers none of the 4 judged queries: {seen}" in " ".join(refused.err.split())
    assert "0.0000" not in refused.out
