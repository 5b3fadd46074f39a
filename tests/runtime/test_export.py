"""An exported model runs with openvino or onnxruntime, tokenizers and numpy alone, and is a model here too."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest

from splare_plugins.cli.app import main
from splare_plugins.errors import InputError
from splare_plugins.impacts import to_dicts
from splare_plugins.model.describe import describe_model
from splare_plugins.model.export import export_graph
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.explain import explain
from tests.pages import blocks
from tests.tiny import TEXTS

PAGE = Path(__file__).parents[2] / "docs" / "runtimes.md"


@pytest.mark.parametrize("format", ["openvino", "onnx"])
def test_it_is_the_same_model(tiny: SplareModel, tiny_folder: Path, tmp_path: Path, format: str) -> None:
    config = export_graph(tiny_folder, tmp_path / "model", format=format)  # type: ignore[arg-type]
    assert config.index_fingerprint() == tiny.config.index_fingerprint()
    model = SplareModel.from_pretrained(tmp_path / "model")
    assert describe_model(tmp_path / "model").config.index_fingerprint() == tiny.config.index_fingerprint()
    for side in ("query", "document"):
        np.testing.assert_allclose(model.encode(TEXTS, side).toarray(), tiny.encode(TEXTS, side).toarray(), atol=1e-5)
    assert (tmp_path / "model" / "README.md").read_text() == (tiny_folder / "README.md").read_text()


def test_it_runs_where_torch_is_installed_and_not_imported(tiny_folder: Path, tmp_path: Path) -> None:
    export_graph(tiny_folder, tmp_path / "model")
    code = (
        "import sys; from splare_plugins import SplareModel; model = SplareModel.from_pretrained(sys.argv[1]); "
        "assert model.encode_documents(['one text']).nnz and len(list(model.stream_documents(['a', 'b']))) == 1; "
        "found = [name for name in ('torch', 'transformers', 'pandas') if name in sys.modules]; "
        "print(found, model.device_type, model.precision, model.device, model.dtype)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "model"], capture_output=True, text=True)
    assert done.stdout.strip() == "[] cpu float32 cpu torch.float32", done.stderr


def test_what_it_cannot_do_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    export_graph(tiny_folder, tmp_path / "model")
    model = SplareModel.from_pretrained(tmp_path / "model")
    for call in (lambda: explain(model, TEXTS[0], TEXTS[1]), lambda: SplareModel.load(tmp_path / "model")):
        with pytest.raises(InputError, match=r"exported to run as it is|torch does not run an exported model"):
            call()
    with pytest.raises(InputError, match="overwrite"):
        export_graph(tiny_folder, tmp_path / "model")
    with pytest.raises(InputError, match="there is no format 'tflite'; try one of openvino, onnx"):
        export_graph(tiny_folder, tmp_path / "other", format="tflite")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="used with int8 only"):
        export_graph(tiny_folder, tmp_path / "other", calibration=TEXTS)
    assert not (tmp_path / "other").exists()
    assert export_graph(tiny_folder, tmp_path / "model", format="onnx", overwrite=True)
    assert not (tmp_path / "model" / "graph.xml").exists()


@pytest.mark.slow
@pytest.mark.parametrize("format", ["openvino", "onnx"])
def test_the_program_exports_int8_with_texts_of_ones_own(
    tiny: SplareModel, tiny_folder: Path, tmp_path: Path, format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "corpus.jsonl"
    rows = [{"_id": str(number), "text": TEXTS[number % 5]} for number in range(20)]
    corpus.write_text("\n".join(map(json.dumps, rows)))
    command = ["export", str(tiny_folder), "-o", str(tmp_path / "out"), "--format", format, "--int8", "--json"]
    with pytest.raises(SystemExit) as stop:
        main([*command, "--calibrate", str(corpus)])
    assert not stop.value.code
    assert json.loads(capsys.readouterr().out)["quantization"] == "int8"
    model = SplareModel.from_pretrained(tmp_path / "out")
    assert model.config.quantization == "int8"
    one, other = (each.encode(TEXTS, "document", top_k=None).toarray() for each in (model, tiny))
    assert not np.allclose(one, other, atol=1e-4)
    assert ((one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)).min() > 0.9


@pytest.fixture(scope="module")
def without_torch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of the runtimes, tokenizers, numpy and what they need; nothing else can be imported from it."""
    folder = tmp_path_factory.mktemp("site")
    names = ["numpy", "tokenizers", "openvino", "onnxruntime"]
    # What onnxruntime imports.
    names += ["flatbuffers", "packaging", "protobuf", "coloredlogs", "sympy", "mpmath"]
    for name in names:
        try:
            found = distribution(name)
        except ModuleNotFoundError:
            continue
        for top in {Path(str(file)).parts[0] for file in found.files or []} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(Path(str(found.locate_file(top))))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("format", ["openvino", "onnx"])
def test_what_the_page_shows_runs_without_torch_and_without_us(
    tiny: SplareModel, tiny_folder: Path, tmp_path: Path, without_torch: Path, format: str
) -> None:
    export_graph(tiny_folder, tmp_path / "exported", format=format)  # type: ignore[arg-type]
    (code,) = [block.content for block in blocks(PAGE) if "Tokenizer.from_file" in block.content]
    if format == "onnx":  # the page shows what differs as comments
        (changes,) = [block.content for block in blocks(PAGE) if "import onnxruntime" in block.content]
        for line in re.findall(r"^# (.*)$", changes, re.MULTILINE):
            name = line.partition(" = ")[0]
            code = re.sub(rf"^( *){name} = .*$", lambda found, new=line: found[1] + new, code, flags=re.MULTILINE)
        code = code.replace("import openvino", "import onnxruntime")
    script = code + (
        f"\nprint(json.dumps([impacts(text, side) for side in ('query', 'document') for text in {TEXTS!r}]))"
    )
    refused = (
        "import importlib.util as u; assert not any(map(u.find_spec, ('torch', 'transformers', 'splare_plugins')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", refused + script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(without_torch)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    mine = json.loads(done.stdout.splitlines()[-1])
    quantizer = tiny.quantizer
    expected = [
        row
        for side in ("query", "document")
        for row in to_dicts(quantizer.quantize(tiny.encode(TEXTS, side), side).impacts)
    ]
    for one, other in zip(mine, expected, strict=True):
        assert one.keys() == other.keys()
        assert all(abs(one[term] - other[term]) <= 1 for term in one)
