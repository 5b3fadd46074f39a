"""What stands on stderr: lines of ours, whole and unpadded, and nothing of the libraries underneath."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from splare_plugins.machine.quiet import is_for_users
from tests.heads.importers import replicas
from tests.model.test_assemble import save_llama
from tests.training.conftest import rows

ROOT = Path(__file__).parents[2]
PROGRAM = "splare_plugins"
IN_ONE_PROCESS = """
import json, runpy, sys
for module, *words in json.loads(sys.argv[1]):
    sys.argv = [module, *words]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        if stop.code:
            sys.exit(f"{words} ended with status {stop.code}")
"""


def stderr_of(folder: Path, *words: object) -> str:
    """What a program that succeeds in ``folder`` writes to stderr."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "opensearch")])
    command = [sys.executable, *(str(word) for word in words)]
    done = subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def stderr_of_all(folder: Path, *commands: list[object]) -> str:
    """Likewise of programs one after the other, each a module and its words, in one process: torch is imported once.

    What a library says once in a process, it has said by the end.
    """
    return stderr_of(folder, "-c", IN_ONE_PROCESS, json.dumps([[str(word) for word in words] for words in commands]))


@pytest.mark.slow
def test_a_corpus_to_a_run(tiny_folder, small_data, tmp_path):
    corpus = small_data / "xquad" / "en"
    said = stderr_of_all(
        tmp_path,
        [PROGRAM, "encode", corpus, "-o", "encoded", "-M", tiny_folder],
        [PROGRAM, "index", "memory", "encoded", "-o", "index"],
        [PROGRAM, "search", "index", corpus, "-o", "run"],
        [PROGRAM, "evaluate", corpus, "run"],
        [PROGRAM, "explain", "one", "two one", "-M", tiny_folder],
    )
    assert said == ""


@pytest.mark.slow
def test_an_sae_to_a_model(small_data, tmp_path):
    save_llama(tmp_path / "backbone")
    replica = replicas.llama_scope(tmp_path / "published")
    said = stderr_of_all(
        tmp_path,
        [PROGRAM, "sae", "import", replica.folder, "-o", "sae"],
        [PROGRAM, "sae", "inspect", "sae", "--backbone", "backbone", "--text", "some prose"],
        [PROGRAM, "assemble", "--backbone", "backbone", "--sae", "sae", "-o", "model"],
        [PROGRAM, "calibrate", "model", small_data / "xquad" / "en"],
    )
    assert said == ""


@pytest.mark.slow
def test_training(tiny_folder, small_data, tmp_path):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    settings = {
        "model": str(tiny_folder),
        "output": "run",
        "data": [{"source": "rows.jsonl"}],
        **{"negatives": 3, "batch_size": 8, "steps": 3, "save_every": 2, "device": "cpu"},
        **{"lora": {"rank": 4}, "loss": {"temperature": 5.0}, "query_length": 24, "document_length": 32},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    said = stderr_of_all(
        tmp_path,
        [PROGRAM, "train", "embed", "rows.jsonl", "-t", "bm25", "-o", "bm25.safetensors"],
        [PROGRAM, "train", "run.yaml"],
        [PROGRAM, "train", "finish", "run/model", small_data / "xquad" / "en"],
        [PROGRAM, "train", "merge", "run/model", "-o", "merged"],
    )
    assert said == ""


@pytest.mark.java
@pytest.mark.slow
def test_pyserinis_commands(tiny_folder, small_data, tmp_path):
    corpus = small_data / "xquad" / "en"
    encoding = f"input --corpus {corpus}/corpus.jsonl.gz output --embeddings vectors encoder --encoder {tiny_folder}"
    indexing = "--collection JsonVectorCollection --input vectors --index index"
    searching = f"--index index --topics {corpus} --output run --encoder {tiny_folder}"
    said = stderr_of_all(
        tmp_path,
        ["pyserini_splare.encode", *encoding.split()],
        ["pyserini_splare.index", *indexing.split()],
        ["pyserini_splare.search", *searching.split()],
    )
    lines = (
        r"vectors/embeddings\.jsonl: 12 documents, \d+ truncated, \d+ weights clipped\n",
        r"index: 12 documents, 0 of them empty, \d+ impacts\n",
        r"run: \d+ queries, 0 of them blank, 0 without hits\n",
    )
    assert re.fullmatch("".join(lines), said), said


def test_a_warning_of_ours_is_one_line(tiny_folder, tmp_path):
    """Not cut where there is no terminal, and not filled up to the width of what has none."""
    name = "n" * 150 + ".tsv"
    (tmp_path / name).write_text("id\tbody\nd1\tone\nd2\ttwo\n", encoding="utf-8")
    arguments = ["encode", tmp_path / name, "-o", tmp_path / "e", "-M", tiny_folder, "--text-field", "body"]
    code = "from splare_plugins.cli.app import main; main()"
    said = stderr_of(tmp_path, "-c", code, *arguments)
    assert said == f"warning: {tmp_path / name}:1: the first line is taken as the header: id, body\n"


@pytest.mark.parametrize(
    ("name", "level", "shown"),
    [
        ("bm25s", logging.DEBUG, False),  # which sets the level of its own logger
        ("httpx", logging.INFO, False),
        ("torch.cuda", logging.WARNING, True),
        ("splare_plugins.corpus", logging.INFO, True),
        ("splare_plugins_of_others", logging.INFO, False),
        ("__main__", logging.INFO, True),
    ],
)
def test_whose_log_is_for_users(name, level, shown):
    assert is_for_users(logging.LogRecord(name, level, "", 1, "text", None, None)) is shown


def test_warnings_of_code_are_silent_and_others_are_not():
    code = (
        "import warnings\n"
        "from splare_plugins.machine.quiet import quiet_libraries\n"
        "quiet_libraries()\n"
        "warnings.warn('a keyword is old', FutureWarning)\n"
        "warnings.warn('a name is old', DeprecationWarning)\n"
        "warnings.warn('the driver is old')\n"
    )
    said = stderr_of(ROOT, "-c", code)
    assert "the driver is old" in said and "keyword" not in said and "name" not in said
    assert "keyword" in stderr_of(ROOT, "-W", "default", "-c", code)
    assert "keyword" in stderr_of(ROOT, "-c", code.replace("quiet_libraries()", "quiet_libraries(verbose=True)"))
