"""Options that a message about a corpus, queries or topics names are those of the command that was given."""

from __future__ import annotations

import re

import pytest

from splare_plugins.corpus.fields import Fields
from tests.cli.test_advice import options_of

FAULTS = {
    "no-id.jsonl": '{"name": "1", "text": "one"}\n',
    "no-text.jsonl": '{"_id": "1", "words": "one"}\n',
    "twice.jsonl": '{"_id": "1", "text": "one"}\n' * 2,
    "three.tsv": "1\tone\ttwo\n",
    "header.tsv": "id\twords\n1\tone\n",
    "topics.txt": "<top>\n<num> 301\n<desc> about it\n</top>\n",
    "no-number.txt": "<top>\n<title> about it\n</top>\n",
}
GOOD = '{"_id": "1", "text": "one"}\n'
# Each command reads BAD and, where it needs two sources, a good one.
READERS = {
    "documents": [
        ["encode", "BAD", "-o", "out-encoded", "-M", "MODEL"],
        ["index memory", "BAD", "-o", "out", "-M", "MODEL"],
        ["calibrate", "MODEL", "BAD", "--queries", "good.jsonl", "-o", "out"],
        ["explain", "1", "1", "--corpus", "BAD", "-M", "MODEL"],
        ["train mine", "BEIR", "--corpus", "BAD", "-o", "out"],
    ],
    "queries": [
        ["search", "index", "BAD", "-o", "out"],
        ["calibrate", "MODEL", "good.jsonl", "--queries", "BAD", "-o", "out"],
        ["explain", "1", "one", "--queries", "BAD", "-M", "MODEL"],
    ],
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("side", READERS)
def test_the_command_has_them(splare, tiny_folder, tmp_path, monkeypatch, side, fault):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.jsonl").write_text(GOOD, encoding="utf-8")
    (tmp_path / fault).write_text(FAULTS[fault], encoding="utf-8")
    (tmp_path / "beir" / "qrels").mkdir(parents=True)
    for name in ("corpus", "queries"):
        (tmp_path / "beir" / f"{name}.jsonl").write_text(GOOD, encoding="utf-8")
    (tmp_path / "beir" / "qrels" / "train.tsv").write_text("1\t1\t1\n", encoding="utf-8")
    assert splare("index", "memory", "good.jsonl", "-o", "index", "-M", tiny_folder).status == 0
    places = {"BAD": fault, "MODEL": str(tiny_folder), "BEIR": "beir"}
    for name, *arguments in READERS[side]:
        if name == "explain" and fault == "twice.jsonl":
            continue  # it stops at the first record that it looks for
        outcome = splare(*name.split(), *(places.get(word, word) for word in arguments))
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", outcome.err))
        assert outcome.status == 2 and fault in outcome.err, (name, outcome.err)
        assert named <= options_of(name), (name, outcome.err)
        verb = name.split()[0]
        if fault.endswith("l") and fault != "twice.jsonl" and verb in ("encode", "index", "search", "explain"):
            assert named, (name, outcome.err)  # there, an option is a way out


def test_a_way_out_names_an_option_only_where_there_is_one():
    assert Fields().way_out("rename it", "id") == "rename it"
    assert Fields(flags={"id": "--id-field"}).way_out("rename it", "id") == "rename it, or name it with --id-field"
