"""Wrong input: one sentence, exit code 2, nothing half-made."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

from splare_plugins.cli import places
from splare_plugins.corpus import EncodedFolder
from splare_plugins.corpus.manifest import MANIFEST_FILE
from tests.tiny import save_tiny_model

GOOD = '{"_id": "d1", "text": "one"}\n'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"_id": "d1", "text"', ["corpus.jsonl:2", "JSON"]),
        ('{"text": "no id"}', ["corpus.jsonl:2", "id"]),
        ('{"_id": "d1", "text": "again"}', ["corpus.jsonl:2", "d1"]),
        ('{"_id": "d2", "text": "\\ud800"}', ["corpus.jsonl:2", "surrogate"]),
        ('{"_id": "d 2", "text": "x"}', ["corpus.jsonl:2", "white space"]),
        ('{"_id": "d2"}', ["corpus.jsonl:2", "d2"]),
        ('{"_id": "", "text": "x"}', ["corpus.jsonl:2", "empty"]),
    ],
)
@pytest.mark.parametrize("engine", [pytest.param("lucene", marks=pytest.mark.java), "memory"])
def test_bad_records(splare, tiny_folder, tmp_path, engine, content, words):
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(GOOD + content + "\n", encoding="utf-8")
    outcome = splare("index", engine, corpus, "-o", tmp_path / "index", "-M", tiny_folder)
    assert outcome.status == 2
    assert all(word in outcome.err for word in words), outcome.err
    assert "Traceback" not in outcome.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.jsonl"]


def test_duplicates_and_empty_texts_are_counted(splare, tiny_folder, tmp_path):
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(GOOD + GOOD + '{"_id": "d2", "text": ""}\n', encoding="utf-8")
    command = ["index", "memory", corpus, "-o", tmp_path / "index", "-M", tiny_folder, "--json"]
    facts = splare(*command, "--on-duplicate", "first").facts
    assert (facts["read"], facts["indexed"], facts["duplicates"], facts["empty"]) == (3, 2, 1, 1)


def test_options_that_come_too_late_for_an_encoded_corpus(splare, tiny_folder, tmp_path):
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(GOOD, encoding="utf-8")
    splare("encode", corpus, "-o", tmp_path / "encoded", "-M", tiny_folder, "--top-k", "7")
    command = ["index", "memory", tmp_path / "encoded", "-o", tmp_path / "index"]
    for options in (
        ["--top-k", "5"],
        ["--top-k", "none"],
        ["--on-duplicate", "first"],
        ["--encoded", tmp_path / "other"],
        ["--text-field", "body"],
        ["--columns", "id,text"],
        ["--device", "cpu"],
        ["--quantize", "8bit"],
    ):
        outcome = splare(*command, *options)
        assert outcome.status == 2
        assert f"omit {options[0]}" in " ".join(outcome.err.split())
        assert not (tmp_path / "index").exists()
    assert splare(*command, "--top-k", "7").status == 0


@pytest.mark.java
def test_texts_that_were_not_kept_cannot_be_stored(splare, tiny_folder, tmp_path):
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(GOOD, encoding="utf-8")
    splare("encode", corpus, "-o", tmp_path / "encoded", "-M", tiny_folder)
    outcome = splare("index", "lucene", tmp_path / "encoded", "-o", tmp_path / "index", "--store-text")
    assert outcome.status == 2
    assert "keeps no texts" in outcome.err


def test_fields_of_a_corpus_are_named(splare, tiny_folder, tmp_path):
    corpus = tmp_path / "corpus.tsv"
    corpus.write_text("d1\ta title\ta text\n", encoding="utf-8")
    command = ["encode", corpus, "-o", tmp_path / "encoded", "-M", tiny_folder]
    assert "--columns id,title,text" in splare(*command).err
    assert splare(*command, "--columns", "id,title,text", "--store-text", "--json").facts["indexed"] == 1
    (batch,) = EncodedFolder(tmp_path / "encoded").batches()
    assert batch.documents == [{"title": "a title", "text": "a text"}]
    outcome = splare(*command, "--columns", "id,text,title", "--store-text")  # another corpus
    assert outcome.status == 2
    assert "the corpus" in outcome.err


def test_an_index_knows_its_model_and_engine(splare, tiny_folder, tmp_path):
    (tmp_path / "c.jsonl").write_text(GOOD + '{"_id": "d2", "text": "two one"}\n', encoding="utf-8")
    long = "one " * 300
    (tmp_path / "q.tsv").write_text(f"d1\tone\nq2\t{long}\nq3\t  \n", encoding="utf-8")
    splare("index", "memory", tmp_path / "c.jsonl", "-o", tmp_path / "index", "-M", tiny_folder)
    command = ["search", tmp_path / "index", tmp_path / "q.tsv", "--json"]
    facts = splare(*command, "-o", tmp_path / "run", "--remove-query").facts
    assert (facts["queries"], facts["empty"], facts["truncated"]) == (3, 1, 1)
    assert "d1 Q0 d1 " not in (tmp_path / "run").read_text(encoding="utf-8")
    shown = splare("explain", "d1", "d2", "--index", tmp_path / "index", "--queries", tmp_path / "q.tsv")
    assert "text of this document is not at hand" in " ".join(shown.out.split())
    options = ["--queries", tmp_path / "q.tsv", "--corpus", tmp_path / "c.jsonl", "--json"]
    assert splare("explain", "d1", "d2", "--index", tmp_path / "index", *options).facts["query_latents"] > 0
    outcome = splare(*command, "-o", tmp_path)
    assert outcome.status == 2 and "is a folder" in outcome.err


def test_the_folder_of_the_shell_is_not_replaced(splare, tiny_folder, tmp_path, monkeypatch):
    (tmp_path / "c.jsonl").write_text(GOOD, encoding="utf-8")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for place in (".", ".."):
        outcome = splare("index", "memory", "../c.jsonl", "-o", place, "-M", tiny_folder, "--overwrite")
        assert outcome.status == 2 and "the folder that you are in" in outcome.err


def test_the_command_of_a_message_works(splare, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c one.tsv").write_text("id\tbody\nd1\tone\nd2\ttwo\n", encoding="utf-8")
    options = ["--part-size", "1", "--top-k", "5", "--text-field", "body", "--on-duplicate", "first"]
    options += ["--quoting", "csv"]
    splare("encode", "c one.tsv", "-o", "e", "-M", tiny_folder, "--shard", "1/2", *options)
    said = " ".join(splare("index", "memory", "e", "-o", "i").err.split())
    assert splare(*shlex.split(said.partition("run: splare ")[2])).status == 0
    assert splare("index", "memory", "e", "-o", "i").status == 0


def test_an_index_of_another_model_is_refused(splare, tiny_folder, small_data, tmp_path):
    other = save_tiny_model(tmp_path / "other", seed=1)
    corpus = small_data / "xquad" / "en"
    splare("index", "memory", corpus, "-o", tmp_path / "index", "-M", tiny_folder)
    outcome = splare("search", tmp_path / "index", corpus, "-o", tmp_path / "run", "-M", other, "--engine", "memory")
    assert outcome.status == 2
    assert "seed-0" in outcome.err
    assert "seed-1" in outcome.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["search", "nowhere", "q.tsv", "-o", "run"], "nowhere"),
        (["index", "memory", "no-such-corpus", "-o", "x"], "no-such-corpus"),
        (["index", "memory", "c.jsonl", "-o", "x", "-M", "no-such-model"], "no-such-model"),
        (["index", "memory", "c.jsonl", "-o", "x", "--top-k", "many"], "--top-k"),
        (["encode", "c.jsonl", "-o", "x", "--shard", "3/2"], "--shard"),
        (["search", "x", "q.tsv", "-o", "run", "--engine", "nothing"], "memory"),
        (["evaluate", "nowhere", "run"], "nowhere"),
        (["evaluate", "odd[/name]", "run"], "odd[/name]"),
        (["inspect", "."], "not a model"),
    ],
)
def test_wrong_arguments(splare, tiny_folder, tmp_path, monkeypatch, arguments, word):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.jsonl").write_text(GOOD, encoding="utf-8")
    (tmp_path / "q.tsv").write_text("1\tquery\n", encoding="utf-8")
    needs_model = arguments[0] in ("index", "encode") and "-M" not in arguments
    outcome = splare(*arguments, *(["-M", tiny_folder] if needs_model else []))
    assert outcome.status == 2
    assert word in outcome.err
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "x").exists()


def test_an_unknown_measure(splare, tmp_path):
    (tmp_path / "qrels").write_text("1 0 d1 1\n", encoding="utf-8")
    (tmp_path / "run").write_text("1 Q0 d1 1 3 x\n", encoding="utf-8")
    outcome = splare("evaluate", tmp_path / "qrels", tmp_path / "run", "-m", "magic")
    assert outcome.status == 2
    assert "magic" in outcome.err


def test_a_place_that_is_taken(splare, tiny_folder, small_data, tmp_path):
    command = ["index", "memory", small_data / "xquad" / "en", "-o", tmp_path / "index", "-M", tiny_folder]
    assert splare(*command).status == 0
    assert splare(*command).status == 2
    assert splare(*command, "--overwrite").status == 0


def test_debug_shows_the_stack(tmp_path):
    from splare_plugins.cli.app import main
    from splare_plugins.errors import InputError

    with pytest.raises(InputError):
        main(["inspect", str(tmp_path), "--debug"])


def test_a_package_that_is_not_installed_is_named(tmp_path, monkeypatch, capfd):
    from splare_plugins.cli.app import main

    config = tmp_path / "run.yaml"
    config.write_text("model: m\noutput: o\ndata: [{source: rows.jsonl}]\n", encoding="utf-8")
    monkeypatch.setitem(sys.modules, "datasets", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "splare_plugins.training.run", raising=False)
    with pytest.raises(SystemExit) as stop:
        main(["train", str(config)])
    assert stop.value.code == 2
    printed = "".join(capfd.readouterr())
    assert "error: this needs the package datasets, which is not installed; `splare doctor`" in printed
    with pytest.raises(ModuleNotFoundError):
        main(["train", str(config), "--debug"])


@pytest.mark.slow
def test_help_starts_neither_torch_nor_java():
    code = (
        "import sys\n"
        "from splare_plugins.cli.app import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit:\n    pass\n"
        "slow = {'torch', 'transformers', 'jnius', 'pyserini', 'scipy'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    for arguments in (["--help"], ["index", "lucene", "--help"], ["demo", "--help"], ["--version"]):
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_an_interrupted_encoding_says_so_and_goes_on(tiny_folder, tmp_path):
    corpus = tmp_path / "corpus.jsonl.gz"
    with gzip.open(corpus, "wt", encoding="utf-8") as file:
        for number in range(4000):
            file.write(json.dumps({"_id": f"d{number}", "text": f"document {number} " * 6}) + "\n")
    command = [sys.executable, "-c", "from splare_plugins.cli.app import main; main()", "encode", str(corpus)]
    command += ["-o", str(tmp_path / "encoded"), "-M", str(tiny_folder), "--part-size", "50", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "encoded").glob("part-*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted" in err
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "encoded").glob("part-*.parquet")}
    assert 0 < len(finished) < 80
    again = subprocess.run(command, capture_output=True, text=True, env={**os.environ}, check=True)
    assert json.loads(again.stdout)["indexed"] == 4000
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in finished.items())


def test_an_encoded_corpus_of_another_model_is_refused(splare, tiny_folder, small_data, tmp_path):
    other = save_tiny_model(tmp_path / "other", seed=1)
    splare("encode", small_data / "xquad" / "en", "-o", tmp_path / "encoded", "-M", tiny_folder)
    outcome = splare("index", "memory", tmp_path / "encoded", "-o", tmp_path / "index", "-M", other)
    assert outcome.status == 2
    assert "seed-0" in outcome.err
    assert not (tmp_path / "index").exists()
    assert splare("index", "memory", tmp_path / "encoded", "-o", tmp_path / "index", "-M", tiny_folder).status == 0


def test_what_is_read_is_not_overwritten(splare, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.jsonl").write_text(GOOD, encoding="utf-8")
    (tmp_path / "q.tsv").write_text("q1\tone\n", encoding="utf-8")
    assert splare("index", "memory", "c.jsonl", "-o", "index", "-M", tiny_folder).status == 0
    for arguments in (
        ["search", "index", "q.tsv", "-o", "./q.tsv"],
        ["train", "mine", "c.jsonl", "--corpus", "c.jsonl", "-o", tmp_path / "c.jsonl"],
        ["train", "score", "c.jsonl", "teacher", "-o", "c.jsonl"],
    ):
        outcome = splare(*arguments)
        assert outcome.status == 2 and "is read, and would be overwritten" in outcome.err, arguments
    inside = splare("search", "index", "q.tsv", "-o", "index/run")
    assert inside.status == 2 and "lies in the index index" in inside.err
    assert (tmp_path / "q.tsv").read_text() == "q1\tone\n" and (tmp_path / "c.jsonl").read_text() == GOOD
    assert not (tmp_path / "index" / "run").exists()
    # A folder that is called like the engine, or like an index in OpenSearch, is not meant.
    for name in ("opensearch", "docs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "encoding.json").write_text("{}")
    named = splare(
        "search", "opensearch", "q.tsv", "-i", "docs", "--url", "http://127.0.0.1:9", "-o", "opensearch/run"
    )
    assert "cannot be reached" in named.err


def test_a_corpus_without_documents(splare, tiny_folder, tmp_path):
    (tmp_path / "c.jsonl").write_text("\n", encoding="utf-8")
    outcome = splare("index", "memory", tmp_path / "c.jsonl", "-o", tmp_path / "index", "-M", tiny_folder)
    assert outcome.status == 2 and "holds no document" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["c.jsonl"]


def test_what_is_no_index_is_told_by_what_it_is(splare, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.jsonl").write_text(GOOD, encoding="utf-8")
    (tmp_path / "q.tsv").write_text("q1\tone\n", encoding="utf-8")
    splare("encode", "c.jsonl", "-o", "encoded", "-M", tiny_folder)
    splare("index", "memory", "encoded", "-o", "memory")
    splare("index", "pisa", "encoded", "-o", "pisa")
    for arguments, words in (
        (["encoded"], "is an encoded corpus, not an index; make one of it: splare index lucene encoded -o INDEX"),
        ([tiny_folder], "is a model, not an index"),
        (["c.jsonl"], "is a file, not the folder of an index"),
        (["memory", "--engine", "lucene"], "is an index of the engine memory, not of lucene; omit --engine"),
        (["pisa", "--engine", "seismic"], "is an index of the engine pisa, not of seismic; omit --engine"),
    ):
        index, *options = arguments
        outcome = splare("search", index, "q.tsv", "-o", "run", *options)
        assert outcome.status == 2 and words in outcome.err, outcome.err
        if not options:
            assert words in splare("explain", "one", "d1", "--index", index).err
    assert not (tmp_path / "run").exists()
    assert splare("search", "pisa", "q.tsv", "-o", "run", "--engine", "pisa").status == 0
    assert MANIFEST_FILE == places.MANIFEST_FILE
