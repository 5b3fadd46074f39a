"""A model by its name with another runtime: the same vectors, made ready once, and refused where it cannot be."""

from __future__ import annotations

import importlib.util
import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pyterrier_splare import Splare
from splare_plugins.cli.app import main
from splare_plugins.config import CONFIG_FILE, SplareConfig
from splare_plugins.errors import InputError, MissingPartError
from splare_plugins.model import graphs, make_graph
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.explain import explain
from splare_plugins.runtime.session import has_bfloat16
from tests.tiny import TEXTS


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPLARE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def same(one: SplareModel, other: SplareModel, tolerance: float = 1e-5) -> None:
    for side in ("query", "document"):
        left, right = (model.encode(TEXTS, side, top_k=None).toarray() for model in (one, other))
        assert (left > 0).any(1).all()
        np.testing.assert_allclose(right, left, atol=tolerance)


def test_it_gives_the_vectors_of_torch_and_is_made_once(tiny: SplareModel, tiny_folder: Path, cache: Path) -> None:
    first = SplareModel.from_pretrained(tiny_folder, runtime="openvino")
    (made,) = (cache / "graphs").iterdir()
    written = {path: path.stat().st_mtime_ns for path in made.iterdir()}
    second = SplareModel.from_pretrained(tiny_folder, runtime="openvino", query={"max_length": 9})
    assert {path: path.stat().st_mtime_ns for path in made.iterdir()} == written
    assert list((cache / "graphs").iterdir()) == [made]
    assert "backbone" not in vars(second)
    assert "head" not in vars(second)
    same(tiny, first)
    assert first.config == tiny.config
    assert first.config.fingerprint() == tiny.config.fingerprint()
    assert first.device.type == "cpu"
    assert first.dtype == torch.float32
    # What needs torch still finds it.
    assert torch.equal(first.backbone.model.embeddings.word_embeddings.weight[3], _embedding(tiny)[3])


def test_a_process_that_only_runs_the_graph_imports_no_torch(tiny_folder: Path, cache: Path) -> None:
    SplareModel.from_pretrained(tiny_folder, runtime="openvino")  # writes the graph
    program = f"""
import sys
from splare_plugins import SplareModel
model = SplareModel.from_pretrained({str(tiny_folder)!r}, runtime="openvino")
assert model.encode_queries(["a query"]).nnz
print([name for name in ("torch", "transformers", "peft", "nncf") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def _embedding(model: SplareModel) -> torch.Tensor:
    weight: torch.Tensor = model.backbone.model.embeddings.word_embeddings.weight
    return weight


def test_an_explanation_is_that_of_torch(tiny: SplareModel, tiny_folder: Path, cache: Path) -> None:
    graph = SplareModel.from_pretrained(tiny_folder, runtime="openvino")
    mine, theirs = (explain(model, TEXTS[0], TEXTS[1]).matches for model in (graph, tiny))
    assert [(each.term, each.query_word, each.document_word) for each in mine] == [
        (each.term, each.query_word, each.document_word) for each in theirs
    ]
    assert mine


def test_a_saved_copy_is_the_model(tiny: SplareModel, tiny_folder: Path, cache: Path, tmp_path: Path) -> None:
    graph = SplareModel.from_pretrained(tiny_folder, runtime="openvino")
    graph.calibrate(TEXTS[:2], TEXTS[:2])
    graph.save_pretrained(tmp_path / "copy")
    copy = SplareModel.from_pretrained(tmp_path / "copy", runtime="torch")
    assert copy.config.query.scale == graph.config.query.scale != tiny.config.query.scale
    same(tiny, copy)


def test_bfloat16_is_one_model_with_float32_and_int8_is_another(
    tiny: SplareModel, tiny_folder: Path, cache: Path
) -> None:
    half = SplareModel.from_pretrained(tiny_folder, runtime="openvino", dtype="bfloat16")
    assert half.config.index_fingerprint() == tiny.config.index_fingerprint()
    assert half.dtype == torch.bfloat16
    same(tiny, half, 0.1)
    if has_bfloat16():
        assert abs(half.encode(TEXTS, "query") - tiny.encode(TEXTS, "query")).max() > 1e-5
    assert len(list((cache / "graphs").iterdir())) == 1
    handlers = [(handler, handler.level) for handler in logging.root.handlers]
    eight = SplareModel.from_pretrained(tiny_folder, quantization="int8")
    assert [(handler, handler.level) for handler in logging.root.handlers] == handlers
    assert eight.config.quantization == "int8"
    assert eight.config.index_fingerprint() != tiny.config.index_fingerprint()
    assert len(list((cache / "graphs").iterdir())) == 2
    one, other = (model.encode(TEXTS, "document", top_k=None).toarray() for model in (eight, tiny))
    assert not np.allclose(one, other, atol=1e-4)
    cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert cosine.min() > 0.9


def test_auto_takes_what_the_variable_says_or_what_is_installed(
    tiny_folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not (cache / "graphs").exists()
    SplareModel.from_pretrained(tiny_folder, device="cpu")
    assert not (cache / "graphs").exists()  # the tests' own choice
    monkeypatch.delenv(graphs.VARIABLE)
    for options in ({"dtype": "float16"}, {"attention": "eager"}, {"runtime": "torch"}):
        assert SplareModel.from_pretrained(tiny_folder, device="cpu", **options)._graph is None
    assert not (cache / "graphs").exists()
    assert SplareModel.from_pretrained(tiny_folder, device="cpu")._graph is not None
    assert SplareModel.load(tiny_folder, device="cpu")._graph is None
    monkeypatch.setattr(graphs, "find_spec", lambda name: None)
    assert SplareModel.from_pretrained(tiny_folder, device="cpu")._graph is None
    monkeypatch.setenv(graphs.VARIABLE, "paddle")
    with pytest.raises(InputError, match="there is no runtime 'paddle'; try one of auto, torch, openvino"):
        SplareModel.from_pretrained(tiny_folder, device="cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "tensorrt"}, "there is no runtime 'tensorrt'"),
        ({"runtime": "openvino", "dtype": "float16"}, "a graph does not run with the dtype float16"),
        ({"runtime": "openvino", "attention": "eager"}, "a graph does not run with the attention eager"),
        ({"runtime": "openvino", "quantization": "4bit"}, "a graph does not run with 4bit weights"),
        ({"runtime": "openvino", "device_map": "auto"}, "a graph does not run with a device map"),
        ({"runtime": "torch", "quantization": "int8"}, "torch does not run int8; omit the runtime"),
        ({"quantization": "int9"}, "there is no quantisation 'int9'; try 8bit, 4bit or int8"),
        ({"runtime": "openvino", "document": {"max_length": 129}}, "its backbone has 128 positions"),
    ],
)
def test_what_cannot_be(tiny_folder: Path, cache: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SplareModel.from_pretrained(tiny_folder, **options)  # type: ignore[arg-type]


def test_a_package_that_is_missing_is_named(tiny_folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "splare_plugins.machine.packages.find_spec", lambda name: None if name == "openvino" else found(name)
    )
    with pytest.raises(
        MissingPartError, match=r"need the package openvino; run: pip install 'splare-plugins\[openvino"
    ):
        SplareModel.from_pretrained(tiny_folder, runtime="openvino")


def test_a_model_that_cannot_be_a_graph_runs_in_torch_and_says_so(
    tiny_folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(graphs.VARIABLE)
    monkeypatch.setattr(make_graph, "_TOLERANCE", {None: -1.0})
    with caplog.at_level(logging.WARNING):
        assert SplareModel.from_pretrained(tiny_folder, device="cpu")._graph is None
    assert "gives other vectors than torch" in caplog.text
    assert not list((cache / "graphs").iterdir())
    with pytest.raises(InputError, match="gives other vectors than torch"):
        SplareModel.from_pretrained(tiny_folder, runtime="openvino")


def test_a_large_model_is_a_graph_only_where_that_is_asked_for(
    tiny_folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(graphs.VARIABLE)
    monkeypatch.setattr(graphs, "LARGE", 10_000)
    assert SplareModel.from_pretrained(tiny_folder, device="cpu")._graph is None
    assert "which the cache would keep a second time" in caplog.text
    assert SplareModel.from_pretrained(tiny_folder, runtime="openvino")._graph is not None
    assert SplareModel.from_pretrained(tiny_folder, device="cpu")._graph is not None


def test_a_model_that_does_not_say_which_weights_it_means(tiny_folder: Path, cache: Path, tmp_path: Path) -> None:
    SplareModel.load(tiny_folder).save_pretrained(tmp_path / "model")
    values = json.loads((tmp_path / "model" / CONFIG_FILE).read_text())
    del values["fingerprint"]
    (tmp_path / "model" / CONFIG_FILE).write_text(json.dumps({**values, "head_sha256": None}))
    with pytest.raises(InputError, match="does not say by hash or commit which weights it means"):
        SplareModel.from_pretrained(tmp_path / "model", runtime="openvino")


def test_a_damaged_graph_in_the_cache_is_refused_unless_told_otherwise(tiny_folder: Path, cache: Path) -> None:
    SplareModel.from_pretrained(tiny_folder, runtime="openvino")
    (made,) = (cache / "graphs").iterdir()
    with (made / "graph.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match=r"graph\.bin is missing or damaged; remove"):
        SplareModel.from_pretrained(tiny_folder, runtime="openvino")
    SplareModel.from_pretrained(tiny_folder, runtime="openvino", verify=False)


BOTH = """
import sys
from splare_plugins.model.splare import SplareModel
print(SplareModel.from_pretrained(sys.argv[1], runtime="openvino").encode_queries(["bees"]).nnz)
"""


@pytest.mark.slow
def test_two_processes_that_start_together_both_get_it(tiny_folder: Path, cache: Path) -> None:
    command = [sys.executable, "-c", BOTH, str(tiny_folder)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[0] for process in both]
    assert outputs[0] == outputs[1] != ""
    assert [path.name.startswith("tiny-float32") for path in (cache / "graphs").iterdir()] == [True]


def test_the_program_and_pyterrier_take_it(
    tiny: SplareModel, tiny_folder: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"_id": f"d{n}", "text": text}) + "\n" for n, text in enumerate(TEXTS)))
    queries = tmp_path / "queries.tsv"
    queries.write_text(f"q0\t{TEXTS[0]}\n")
    common = ["--model", str(tiny_folder), "--runtime", "openvino"]
    for options in ([], ["--quantize", "int8"]):
        index = str(tmp_path / f"index{len(options)}")
        with pytest.raises(SystemExit) as stop:
            main(["index", "memory", str(corpus), "-o", index, *common, *options])
        assert not stop.value.code
        with pytest.raises(SystemExit) as stop:
            main(["search", index, str(queries), "--runtime", "openvino", "-o", str(tmp_path / "run")])
        assert not stop.value.code
        assert (tmp_path / "run").read_text().startswith("q0 Q0 d0 1 ")
    with pytest.raises(SystemExit) as stop:
        main(["search", str(tmp_path / "index2"), str(queries), "--quantize", "none", "-o", str(tmp_path / "run")])
    assert stop.value.code == 2
    assert "in int8" in capsys.readouterr().err
    splare = Splare(tiny_folder, runtime="openvino", quantization="int8")
    assert splare.config.quantization == "int8"
    assert splare.config.index_fingerprint() == SplareConfig.index_fingerprint(splare.model.config)
    assert (splare.encode_queries(TEXTS[:1]) > 0).nnz == tiny.config.query.top_k
