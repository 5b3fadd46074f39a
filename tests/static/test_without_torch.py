"""An environment of its own in which torch is not installed: queries by a table are all that a search needs."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from tokenizers import Tokenizer

from splare_plugins.corpus import read_run
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.batches import query_impacts
from splare_plugins.static import StaticQueryEncoder, TokenTable, save_static
from tests.cli.conftest import splare  # noqa: F401
from tests.tiny import TEXTS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ASKED = [("q1", "fox and dog"), ("q2", TEXTS[0])]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment with the base install, and what serving adds to it."""
    folder = tmp_path_factory.mktemp("bare")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python"]
    constraints = ["--constraint", ROOT / "constraints.txt"]
    subprocess.run([*install, *constraints, "--editable", f"{ROOT}[serve]"], check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def table(tiny: SplareModel, tmp_path_factory: pytest.TempPathFactory) -> StaticQueryEncoder:
    tokenizer = Tokenizer.from_str(tiny.backbone.tokenizer.backend_tokenizer.to_str())
    weights = np.random.default_rng(0).random((len(tiny.backbone.tokenizer), tiny.config.width)).astype(np.float32)
    encoder = StaticQueryEncoder(tiny.config, TokenTable.from_weights(csr_array(weights), 8), tokenizer)
    folder = tmp_path_factory.mktemp("table") / "static"
    save_static(encoder, folder)
    encoder.folder = folder
    return encoder


def run(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)


def test_it_searches(
    bare: Path,
    tiny: SplareModel,
    tiny_folder: Path,
    table: StaticQueryEncoder,
    splare,  # noqa: F811
    tmp_path: Path,
) -> None:
    assert run(bare / "python", "-c", "import torch").returncode == 1
    corpus, queries, index, found = (tmp_path / name for name in ("c.jsonl", "q.tsv", "index", "run.trec"))
    corpus.write_text("".join(json.dumps({"id": f"d{n}", "text": text}) + "\n" for n, text in enumerate(TEXTS)))
    queries.write_text("".join(f"{qid}\t{text}\n" for qid, text in ASKED))
    assert splare("index", "memory", corpus, "-o", index, "-M", tiny_folder).status == 0
    searched = run(bare / "splare", "search", index, queries, "-o", found, "--query-encoder", table.folder)
    assert searched.returncode == 0, searched.stderr
    documents = tiny.quantizer.documents(tiny.encode_documents(TEXTS)).impacts
    expected = (query_impacts(table, ASKED) @ documents.T).toarray()
    for (qid, _), scores in zip(ASKED, expected, strict=True):
        hits = read_run(found)[qid]
        assert dict(zip(hits.docids, hits.scores, strict=True)) == {f"d{n}": s for n, s in enumerate(scores) if s}


def test_it_serves(bare: Path, table: StaticQueryEncoder) -> None:
    command = [bare / "splare", "serve", table.folder, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().removeprefix("listening on ").strip()
            for _ in range(200):
                try:
                    urllib.request.urlopen(f"{address}/readyz").read()
                    break
                except urllib.error.HTTPError:
                    continue
            body = {"texts": [text for _, text in ASKED], "content_type": "query"}
            with urllib.request.urlopen(f"{address}/encode", json.dumps(body).encode()) as answer:
                maps = json.load(answer)
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"{address}/encode", json.dumps({**body, "content_type": "passage"}).encode())
            assert refused.value.code == 422 and "documents take the model itself" in refused.value.read().decode()
        finally:
            server.terminate()
    expected = [{f"f{latent}" for latent in row.indices} for row in table.encode_queries(body["texts"])]
    assert [set(each) for each in maps] == expected and all(expected)


def test_what_needs_torch_says_so(bare: Path, tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text('{"id": "d", "text": "one"}\n')
    for verb in (["encode", tmp_path / "c.jsonl", "-o", tmp_path / "out"], ["explain", "one", "two"], ["serve"]):
        refused = run(bare / "splare", *verb, *([] if verb == ["serve"] else ["-M"]), tiny_folder)
        message = " ".join(refused.stderr.split())
        assert refused.returncode == 2 and "pip install 'splare-plugins[encode]'" in message, message
    assert not (tmp_path / "out").exists()
    code = "import splare_plugins; splare_plugins.SplareModel"
    assert "SplareModel needs torch and transformers" in run(bare / "python", "-c", code).stderr
