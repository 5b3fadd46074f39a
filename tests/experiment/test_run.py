"""An experiment with the tiny model: what it writes, what it reuses, and how it goes on."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import vstack

from splare_plugins.corpus import EncodedFolder, read_qrels, read_queries, read_run
from splare_plugins.errors import InputError
from splare_plugins.experiment.config import ExperimentConfig
from splare_plugins.experiment.run import run_experiment, shown_tables
from splare_plugins.impacts import keep_largest, with_bits
from splare_plugins.retrieval.batches import query_impacts
from splare_plugins.retrieval.evaluation import evaluate
from splare_plugins.retrieval.fusion import fuse
from splare_plugins.retrieval.significance import compare, corrected

SAME = ("runs/*/*.trec", "per_query.tsv", "tables/figures.*", "tables/comparisons.*", "settings.json")


def contents(folder: Path) -> dict[str, bytes]:
    """What two runs of the same config must have in common."""
    return {str(path.relative_to(folder)): path.read_bytes() for glob in SAME for path in sorted(folder.glob(glob))}


@pytest.fixture
def folder(config: ExperimentConfig, tmp_path: Path) -> Path:
    outcome = run_experiment(config, tmp_path / "out")
    assert (outcome.made, outcome.found) == (8, 0)
    return tmp_path / "out"


def test_runs_are_those_of_the_other_verbs(splare, folder, tiny_folder, small_data, tmp_path):
    corpus, index, run = small_data / "xquad" / "en", tmp_path / "index", tmp_path / "own.trec"
    assert splare("index", "memory", corpus, "-o", index, "-M", tiny_folder).status == 0
    assert splare("search", index, corpus, "-o", run, "-k", 8, "--tag", "own").status == 0
    found = read_run(folder / "runs" / "en" / "own.trec")
    assert {qid: list(zip(*hits, strict=True)) for qid, hits in found.items()} == {
        qid: list(zip(*hits, strict=True)) for qid, hits in read_run(run).items() if qid in found
    }
    assert found.keys() == read_qrels(corpus).keys()
    runs = [read_run(folder / "runs" / "en" / f"{name}.trec") for name in ("own", "dense")]
    both = read_run(folder / "runs" / "en" / "both.trec")
    expected = fuse(runs, "zscore", weights=[2, 1], k=8)
    assert all(both[qid].scores.tolist() == hits.scores.tolist() for qid, hits in expected.items())


def test_dense_answers_are_those_of_the_vectors(folder, tiny, small_data):
    from splare_plugins.corpus import read_documents, read_queries
    from splare_plugins.model.dense import dense_vectors

    documents = list(read_documents(small_data / "xquad" / "en"))
    query = read_queries(small_data / "xquad" / "en")[0]
    vectors = dense_vectors(tiny, [document.content for document in documents], "document")
    scores = vectors @ dense_vectors(tiny, [query.text], "query")[0]
    found = read_run(folder / "runs" / "en" / "dense.trec")[query.qid]
    assert found.scores == pytest.approx(np.sort(scores)[::-1][:8], abs=1e-5)
    assert found.docids[0] == documents[int(np.argmax(scores))].docid


def test_the_tables_hold_what_evaluate_and_compare_say(config, folder, small_data):
    qrels = read_qrels(small_data / "xquad" / "en")
    runs = {name: read_run(folder / "runs" / "en" / f"{name}.trec") for name in ("own", "short", "dense", "both")}
    with (folder / "tables" / "figures.csv").open(encoding="utf-8") as stream:
        rows = {row["system"]: row for row in csv.DictReader(stream)}
    for name, run in runs.items():
        for measure, value in evaluate(qrels, run, config.measures).items():
            assert rows[name][f"en {measure}"].rstrip("*") == f"{value:.4f}"
    others = {name: run for name, run in runs.items() if name != "own"}
    expected = {(each.run, each.measure): each for each in compare(qrels, runs["own"], others, config.measures)}
    with (folder / "tables" / "comparisons.csv").open(encoding="utf-8") as stream:
        tested = list(csv.DictReader(stream))
    assert len(tested) == 2 * 3 * 2
    for row in tested:
        marked = rows[row["run"]][f"{row['collection']} {row['measure']}"].endswith("*")
        assert marked == (float(row["randomisation_holm"]) < config.alpha)
        if row["collection"] == "en":
            each = expected[row["run"], row["measure"]]
            assert float(row["randomisation_p"]) == pytest.approx(each.randomisation_p, abs=1e-6)
            # Corrected over both collections, so never less than over one.
            assert float(row["randomisation_holm"]) >= each.randomisation_holm - 1e-6
    lines = (folder / "per_query.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0].split("\t") == ["collection", "system", "query", "nDCG@10", "RR@10"]
    assert len(lines) == 1 + 4 * (len(qrels) + 20)
    assert r"\begin{tabular}{lrrrr}" in (folder / "tables" / "figures.tex").read_text(encoding="utf-8")
    assert corrected([]) == []


def test_the_costs(folder, tiny, small_data):
    from splare_plugins.corpus import read_queries

    (encoded,) = folder.glob("encoded/*/encoding.json")
    (part,) = [EncodedFolder(encoded.parent)]
    documents = np.vstack([keep_largest(batch.impacts, 10).toarray() for batch in part.batches()]) > 0
    asked = read_queries(small_data / "xquad" / "en")
    queries = query_impacts(tiny, asked, top_k=3).toarray() > 0
    shared = queries.astype(int) @ documents.T.astype(int)
    costs = json.loads((folder / "runs" / "en" / "short.json").read_text(encoding="utf-8"))["costs"]
    assert costs["flops"] == pytest.approx(shared.mean())
    assert costs["query_latents"] == pytest.approx(queries.sum(axis=1).mean())
    assert costs["document_latents"] == pytest.approx(documents.sum(axis=1).mean())
    assert costs["index_bytes"] > 0 and 0 < costs["median_ms"] <= costs["p99_ms"]
    dense = json.loads((folder / "runs" / "en" / "dense.json").read_text(encoding="utf-8"))["costs"]
    assert dense["flops"] is None and dense["index_bytes"] == 12 * 32 * 4


def test_the_record_says_with_what_it_was_run(folder):
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    assert {"versions", "machine", "command", "seeds", "settings", "collections", "models", "runs"} <= record.keys()
    assert len(record["runs"]) == 8
    assert record["collections"]["de-en"]["queries"] == 20
    assert shown_tables(folder).count("| own ") == 3


def test_the_same_config_again(config, folder, tmp_path):
    times = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/*")}
    again = run_experiment(config, folder, steps=lambda what: pytest.fail(what))
    assert (again.made, again.found) == (0, 8)
    assert times == {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/*")}
    run_experiment(config, tmp_path / "other")
    assert contents(folder) == contents(tmp_path / "other")


def test_another_engine_gives_the_same_scores(settings, folder, tmp_path):
    run_experiment(ExperimentConfig.from_dict({**settings, "engine": "pisa"}), tmp_path / "other")
    one, other = (read_run(place / "runs" / "en" / "short.trec") for place in (folder, tmp_path / "other"))
    assert {qid: hits.scores.tolist() for qid, hits in one.items()} == {
        qid: hits.scores.tolist() for qid, hits in other.items()
    }


def test_texts_are_encoded_once(config, tmp_path):
    said: list[str] = []
    run_experiment(config, tmp_path / "out", steps=lambda what: said.append(what) or (lambda _: None))
    # Two budgets and two collections of the same documents.
    assert sum("encodes the documents" in what for what in said) == 1
    assert sum("encodes the document texts" in what for what in said) == 1
    assert sum("encodes the queries" in what for what in said) == 2


def test_all_latents_serve_any_budget_later(settings, tmp_path):
    small = {**settings["systems"][1], "document_top_k": 3}
    run_experiment(ExperimentConfig.from_dict({**settings, "systems": [small], "keep_all": True}), tmp_path / "out")
    said: list[str] = []
    later = {**settings, "systems": [{**settings["systems"][0], "document_top_k": None}]}
    run_experiment(
        ExperimentConfig.from_dict(later), tmp_path / "out", steps=lambda what: said.append(what) or (lambda _: None)
    )
    assert said == ["own answers en", "own answers de-en"]
    (encoded,) = (tmp_path / "out").glob("encoded/*/encoding.json")
    assert encoded.parent.name.endswith("-all")


def test_fewer_bits(settings, tiny, small_data, tmp_path):
    systems = [{**settings["systems"][0], "name": f"bits-{bits}", "bits": bits} for bits in (8, 1)]
    run_experiment(ExperimentConfig.from_dict({**settings, "systems": systems}), tmp_path / "out")
    (encoded,) = (tmp_path / "out").glob("encoded/*/encoding.json")
    documents = [with_bits(batch.impacts, 1) for batch in EncodedFolder(encoded.parent).batches()]
    queries = with_bits(query_impacts(tiny, read_queries(small_data / "xquad" / "en")), 1)
    found = read_run(tmp_path / "out" / "runs" / "en" / "bits-1.trec")
    expected = np.sort((queries @ vstack(documents).T).toarray())[:, ::-1]
    for row, query in zip(expected, read_queries(small_data / "xquad" / "en"), strict=True):
        if query.qid in found:
            assert found[query.qid].scores.tolist() == [score for score in row[:8] if score > 0]
    whole = read_run(tmp_path / "out" / "runs" / "en" / "bits-8.trec")
    assert max(hits.scores.max() for hits in found.values()) <= 60 < max(hits.scores.max() for hits in whole.values())


def stop_at(what: str) -> Callable[[str], Callable[[int], None]]:
    """Steps that end in an interrupt: where ``what`` begins, or where it has made some progress."""

    def steps(begun: str) -> Callable[[int], None]:
        if begun == what:
            raise KeyboardInterrupt

        def advance(_: int) -> None:
            if begun.endswith(what.removeprefix("within ")):
                raise KeyboardInterrupt

        return advance

    return steps


@pytest.mark.parametrize(
    ("where", "found"),
    [
        *[("short answers en", 1), ("both answers de-en", 7)],
        *[("within the documents of en", 0), ("within the document texts of en", 2)],
    ],
)
def test_an_interrupted_one_goes_on(config, folder, tmp_path, where, found):
    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, tmp_path / "other", steps=stop_at(where))
    with pytest.raises(InputError, match="was not finished; give its command again"):
        shown_tables(tmp_path / "other")
    outcome = run_experiment(config, tmp_path / "other")
    assert (outcome.made, outcome.found) == (8 - found, found)
    assert contents(folder) == contents(tmp_path / "other")


def test_what_is_not_whole_or_not_asked_any_more_is_made_again(config, settings, folder, tmp_path):
    before = contents(folder)
    (folder / "runs" / "en" / "own.trec").write_text("q Q0 d 1 1 own\n", encoding="utf-8")
    (folder / "runs" / "en" / "dense.json").unlink()
    shutil.rmtree(folder / "indexes")
    assert run_experiment(config, folder).made == 2
    assert contents(folder) == before
    settings["systems"][3]["weights"] = [1, 1]
    changed = ExperimentConfig.from_dict(settings)
    assert run_experiment(changed, folder).made == 2
    run_experiment(changed, tmp_path / "other")
    assert contents(folder) == contents(tmp_path / "other")


def test_folders_of_something_else(config, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").touch()
    with pytest.raises(InputError, match="not empty and holds no experiment"):
        run_experiment(config, tmp_path / "mine")
    with pytest.raises(InputError, match="holds no experiment; make one: splare experiment run"):
        shown_tables(tmp_path / "mine")
