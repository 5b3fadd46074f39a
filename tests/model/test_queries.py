"""What encodes a model's queries: the model, or its table, wherever a model is named; both search the same index."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from scipy.sparse import csr_array

from splare_plugins.config import SplareConfig
from splare_plugins.corpus import read_run
from splare_plugins.errors import IdentityError, InputError
from splare_plugins.experiment.config import ExperimentConfig
from splare_plugins.experiment.run import run_experiment
from splare_plugins.model.queries import load_static_queries
from splare_plugins.model.splare import SplareModel
from splare_plugins.static import StaticQueryEncoder, load_static, save_static
from tests.cli.conftest import small_data, splare  # noqa: F401 (fixtures)
from tests.tiny import TEXTS, random_table, save_tiny_model, tiny_model

ASKED = ["a quick fox", "Suchindex", "", "states"]


def same(one: csr_array, other: csr_array) -> bool:
    return bool(one.nnz) and one.shape == other.shape and (one != other).nnz == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a table."""
    made = save_tiny_model(tmp_path_factory.mktemp("queries") / "model")
    save_static(random_table(SplareModel.load(made, device="cpu")), made / "static")
    return made


@pytest.fixture(scope="module")
def table(folder: Path) -> StaticQueryEncoder:
    return load_static(folder / "static")


def load(folder: Path, **options: Any) -> SplareModel:
    model = SplareModel.from_pretrained(folder, device="cpu", **options)
    assert isinstance(model, SplareModel)
    return model


def by_default(folder: Path, query_encoder: str = "static") -> None:
    """What a person edits in a config."""
    path = folder / "splare_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "query_encoder": query_encoder}))


def test_a_model_encodes_queries_by_what_is_asked_for(folder: Path, table: StaticQueryEncoder) -> None:
    full, static = load(folder), load(folder, query_encoder="static")
    assert same(static.encode_queries(ASKED), table.encode_queries(ASKED))
    assert not same(static.encode_queries(ASKED), full.encode_queries(ASKED))
    assert same(static.encode_documents(TEXTS), full.encode_documents(TEXTS))
    assert static.config.index_fingerprint() == full.config.index_fingerprint()
    assert same(load(folder, query_encoder=str(folder / "static")).encode_queries(ASKED), table.encode_queries(ASKED))


def test_a_config_names_the_table(folder: Path, table: StaticQueryEncoder, tmp_path: Path) -> None:
    load(folder, query_encoder="static").save_pretrained(tmp_path / "copy")
    assert (load_static(tmp_path / "copy" / "static").fingerprint) == table.fingerprint
    assert load(tmp_path / "copy").static is None
    by_default(tmp_path / "copy")
    assert same(load(tmp_path / "copy").encode_queries(ASKED), table.encode_queries(ASKED))
    assert same(
        load(tmp_path / "copy", query_encoder="full").encode_queries(ASKED), load(folder).encode_queries(ASKED)
    )
    by_default(tmp_path / "copy", "quick")
    with pytest.raises(InputError, match="query_encoder of a model is 'full' or 'static', not 'quick'"):
        load(tmp_path / "copy")


def test_a_calibrated_model_leaves_a_table_of_before(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = load(folder, query_encoder="static")
    expected = tiny_model()
    for each in (model, expected):
        each.calibrate(TEXTS, TEXTS, percentile=50)
    # The full encoder's queries are what a quantiser is made for.
    assert model.config.query.scale == expected.config.query.scale
    load(folder).save_pretrained(tmp_path / "changed")
    by_default(tmp_path / "changed")
    changed = load(tmp_path / "changed")
    changed.static = None
    changed.calibrate(TEXTS, TEXTS, percentile=50)
    with caplog.at_level(logging.WARNING):
        changed.save_pretrained(tmp_path / "changed")
    assert "it encodes its queries itself again" in caplog.text
    assert load(tmp_path / "changed").static is None
    with pytest.raises(IdentityError, match="take the static encoder of this one, or train it"):
        load(tmp_path / "changed", query_encoder="static")


def test_a_table_is_found_without_its_model(folder: Path, table: StaticQueryEncoder) -> None:
    for name, query_encoder in ((folder, "static"), (folder / "static", "model"), ("any", str(folder / "static"))):
        found = load_static_queries(name, query_encoder)
        assert found is not None and found.fingerprint == table.fingerprint
    for query_encoder in ("full", "model"):
        assert load_static_queries(folder, query_encoder) is None


def test_what_has_no_table(folder: Path, splade_wheel: Path, tmp_path: Path) -> None:
    bare = save_tiny_model(tmp_path / "bare")
    for name in (bare, splade_wheel, "st:org/name"):
        with pytest.raises(InputError, match="has no static query encoder; train one"):
            load_static_queries(name, "static")
        assert load_static_queries(name, "full") is None
    with pytest.raises(InputError, match="holds a table that encodes queries and no model"):
        load(folder / "static")
    with pytest.raises(InputError, match="is not a folder with a static query encoder; train one"):
        load_static_queries(folder, str(tmp_path / "nowhere"))


def test_the_program_takes_it_wherever_queries_are_encoded(
    splare: Any,  # noqa: F811
    small_data: Path,  # noqa: F811
    folder: Path,
    table: StaticQueryEncoder,
    tmp_path: Path,
) -> None:
    corpus, index = small_data / "xquad" / "en", tmp_path / "index"
    assert splare("index", "memory", corpus, "-o", index, "-M", folder).status == 0
    asked = [corpus, "--query-encoder"]
    assert splare("search", index, *asked, "static", "-o", tmp_path / "run.trec", "-k", 8).status == 0
    assert splare("tune", index, *asked, folder / "static", "--json").facts["queries"]
    systems = [
        {"name": name, "kind": "splare", "model": str(folder), "query_encoder": name} for name in ("full", "static")
    ]
    anew = {"name": "anew", "kind": "rerank", "of": ["static"], "by": "splare", "model": str(folder), "depth": 5}
    values = {"systems": [*systems, anew], "collections": [{"name": "en", "source": str(corpus)}], "engine": "memory"}
    config = ExperimentConfig.from_dict({**values, "depth": 8, "measures": ["nDCG@10"]})
    made = run_experiment(config, tmp_path / "out")
    assert (made.made, run_experiment(config, tmp_path / "out").made) == (3, 0)
    runs = {name: read_run(tmp_path / "out" / "runs" / "en" / f"{name}.trec") for name in ("full", "static", "anew")}
    searched = read_run(tmp_path / "run.trec")
    assert all(searched[qid].docids == hits.docids for qid, hits in runs["static"].items())
    assert any(runs["full"][qid].docids != hits.docids for qid, hits in runs["static"].items())
    first = {qid: hits.docids[:5] for qid, hits in runs["full"].items()}
    assert all(set(hits.docids) == set(runs["static"][qid].docids) for qid, hits in runs["anew"].items()) and first
    # Another table makes other runs.
    save_static(random_table(load(folder), seed=1), folder.parent / "seed-1")
    systems[1]["query_encoder"] = str(folder.parent / "seed-1")
    assert run_experiment(ExperimentConfig.from_dict({**values, "depth": 8}), tmp_path / "out").made


def test_pyterrier_takes_it_without_loading_a_model(folder: Path, table: StaticQueryEncoder) -> None:
    from pyterrier_splare import Splare

    transformer = Splare(folder, queries="static", device="cpu")
    found = transformer.encode_queries(ASKED)
    assert same(found, table.quantizer.queries(table.encode_queries(ASKED)).impacts)
    assert "model" not in vars(transformer._lazy)
    assert same(transformer.encode_documents(TEXTS), Splare(folder, device="cpu").encode_documents(TEXTS))
    assert Splare(table).encode_queries(ASKED).nnz == found.nnz
    assert transformer != Splare(folder, device="cpu") and "queries='static'" in repr(transformer)
    assert SplareConfig.load(folder).index_fingerprint() == transformer.config.index_fingerprint()
