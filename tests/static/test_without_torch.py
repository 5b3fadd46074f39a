"""An environment of its own in which torch is not installed: a table encodes queries there, a graph all texts."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from splare_plugins.corpus import read_run
from splare_plugins.impacts import to_dicts
from splare_plugins.model.export import export_graph
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.batches import query_impacts
from splare_plugins.static import StaticQueryEncoder, save_static
from tests.cli.conftest import splare  # noqa: F401
from tests.tiny import TEXTS, random_table

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
# Seismic has a wheel for Python 3.11 only.
ENGINES = ["memory", "pisa", *(["seismic"] if sys.version_info < (3, 12) else [])]
PACKAGES = ["python-terrier", "pyterrier-pisa", *(["pyseismic-lsr"] if "seismic" in ENGINES else [])]
ASKED = [("q1", "fox and dog"), ("q2", TEXTS[0])]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment with the base install, and of others what needs no torch."""
    folder = tmp_path_factory.mktemp("bare")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python"]
    constraints = ["--constraint", ROOT / "constraints.txt"]
    packages = ["--editable", f"{ROOT}[serve,opensearch]", "openvino", *PACKAGES]
    subprocess.run([*install, *constraints, *packages], check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def table(tiny: SplareModel, tmp_path_factory: pytest.TempPathFactory) -> StaticQueryEncoder:
    encoder = random_table(tiny)
    folder = tmp_path_factory.mktemp("table") / "static"
    save_static(encoder, folder)
    encoder.folder = folder
    return encoder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    documents = (json.dumps({"id": f"d{n}", "text": text}) + "\n" for n, text in enumerate(TEXTS))
    (folder / "c.jsonl").write_text("".join(documents))
    (folder / "q.tsv").write_text("".join(f"{qid}\t{text}\n" for qid, text in ASKED))
    return folder


def index_of(engine: str, splare, files: Path, tiny_folder: Path) -> Path:  # noqa: F811
    """Made where torch is."""
    index = files / engine
    if not index.exists():
        made = splare("index", engine, files / "c.jsonl", "-o", index, "-M", tiny_folder)
        assert made.status == 0, made.err
    return index


def run(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.parametrize("engine", ENGINES)
def test_it_searches(
    engine: str,
    bare: Path,
    tiny: SplareModel,
    tiny_folder: Path,
    table: StaticQueryEncoder,
    splare,  # noqa: F811
    files: Path,
    tmp_path: Path,
) -> None:
    assert run(bare / "python", "-c", "import torch").returncode == 1
    index, found = index_of(engine, splare, files, tiny_folder), tmp_path / "run.trec"
    searched = run(bare / "splare", "search", index, files / "q.tsv", "-o", found, "--query-encoder", table.folder)
    assert searched.returncode == 0, searched.stderr
    documents = tiny.quantizer.documents(tiny.encode_documents(TEXTS)).impacts
    expected = (query_impacts(table, ASKED) @ documents.T).toarray()
    for (qid, _), scores in zip(ASKED, expected, strict=True):
        hits = read_run(found)[qid]
        assert dict(zip(hits.docids, hits.scores, strict=True)) == {f"d{n}": s for n, s in enumerate(scores) if s}


def test_it_explains(
    bare: Path,
    tiny: SplareModel,
    tiny_folder: Path,
    table: StaticQueryEncoder,
    splare,  # noqa: F811
    files: Path,
) -> None:
    index, query = index_of("memory", splare, files, tiny_folder), ASKED[0][1]
    asked = ["--index", index, "--corpus", files / "c.jsonl", "--query-encoder", table.folder, "--json"]
    told = run(bare / "splare", "explain", query, "d0", *asked)
    assert told.returncode == 0, told.stderr
    facts = json.loads(told.stdout)
    impacts = query_impacts(table, ASKED[:1])
    assert facts["score"] == (impacts @ tiny.quantizer.documents(tiny.encode_documents(TEXTS[:1])).impacts.T).sum()
    # The table marks the document's words too, and says that it does.
    assert any(match["document_words"] for match in facts["matches"]) and "table of tokens" in " ".join(facts["notes"])


@contextmanager
def serving(bare: Path, *arguments: object) -> Iterator[str]:
    command = [bare / "splare", "serve", *map(str, arguments), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().removeprefix("listening on ").strip()
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"{address}/readyz").read()
                    break
                except urllib.error.HTTPError:
                    time.sleep(0.05)
            yield address
        finally:
            server.terminate()


def ask(address: str, body: dict) -> Any:
    asked = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked) as answer:
        return json.load(answer)


def test_it_serves(bare: Path, table: StaticQueryEncoder) -> None:
    with serving(bare, table.folder) as address:
        body = {"texts": [text for _, text in ASKED], "content_type": "query"}
        maps = ask(f"{address}/encode", body)
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(f"{address}/encode", {**body, "content_type": "passage"})
        assert refused.value.code == 422 and "documents take the model itself" in refused.value.read().decode()
    expected = [{f"f{latent}" for latent in row.indices} for row in table.encode_queries(body["texts"])]
    assert [set(each) for each in maps] == expected and all(expected)


def test_it_serves_a_search_page(
    bare: Path,
    tiny: SplareModel,
    tiny_folder: Path,
    table: StaticQueryEncoder,
    splare,  # noqa: F811
    files: Path,
) -> None:
    index, query = index_of("memory", splare, files, tiny_folder), ASKED[0][1]
    corpus = files / "c.jsonl"
    with serving(bare, "--index", index, "--corpus", corpus, "--query-encoder", table.folder) as address:
        found = ask(f"{address}/search", {"query": query, "words": True})
        (told,) = ask(f"{address}/explain", {"query": query, "docids": ["d0"], "version": found["version"]})
    impacts, documents = (
        query_impacts(table, ASKED[:1]),
        tiny.quantizer.documents(tiny.encode_documents(TEXTS)).impacts,
    )
    scores = {f"d{n}": score for n, score in enumerate((impacts @ documents.T).toarray()[0]) if score}
    assert {hit["docid"]: hit["score"] for hit in found["hits"]} == scores
    assert {each["term"]: each["impact"] for each in found["latents"]} == to_dicts(impacts)[0] and found["words"]
    assert told["score"] == scores["d0"] and any(match["document_words"] for match in told["matches"])


def test_what_needs_torch_says_so(bare: Path, tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text('{"id": "d", "text": "one"}\n')
    for verb in (["encode", tmp_path / "c.jsonl", "-o", tmp_path / "out"], ["explain", "one", "two"], ["serve"]):
        refused = run(bare / "splare", *verb, *([] if verb == ["serve"] else ["-M"]), tiny_folder)
        message = " ".join(refused.stderr.split())
        assert refused.returncode == 2 and "pip install 'splare-plugins[encode]'" in message, message
    assert not (tmp_path / "out").exists()
    code = "import sys, splare_plugins; splare_plugins.SplareModel.from_pretrained(sys.argv[1])"
    for model in (tiny_folder, "splare-e5-small"):
        refused = run(bare / "python", "-c", code, model)
        assert "MissingPartError" in refused.stderr and "needs torch, transformers and peft" in refused.stderr


def test_an_exported_model_does_all_but_explain(
    bare: Path, tiny: SplareModel, tiny_folder: Path, files: Path, tmp_path: Path
) -> None:
    model, index, found = tmp_path / "exported", tmp_path / "index", tmp_path / "run.trec"
    export_graph(tiny_folder, model)
    for command in (
        ["encode", files / "c.jsonl", "-o", tmp_path / "encoded", "-M", model],
        ["index", "memory", tmp_path / "encoded", "-o", index],
        ["search", index, files / "q.tsv", "-o", found, "-M", model],
    ):
        done = run(bare / "splare", *command)
        assert done.returncode == 0, done.stderr
    documents = tiny.quantizer.documents(tiny.encode_documents(TEXTS)).impacts
    expected = (query_impacts(tiny, ASKED) @ documents.T).toarray()
    for (qid, _), scores in zip(ASKED, expected, strict=True):
        hits = read_run(found)[qid]
        assert hits.docids[0] == f"d{scores.argmax()}"
        # A weight may be rounded to the next impact.
        assert abs(hits.scores[0] - scores.max()) <= 0.01 * scores.max()
    with serving(bare, model) as address:
        maps = ask(f"{address}/encode", {"texts": TEXTS, "content_type": "passage"})
    assert [set(each) for each in maps] == [set(each) for each in to_dicts(documents)]
    refused = run(bare / "splare", "explain", "one", "two", "-M", model)
    assert refused.returncode == 2 and "take the model that it was exported from" in " ".join(refused.stderr.split())
