from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from splare_plugins.cli.app import main

DATA = Path(__file__).parents[2] / "examples" / "data"


class Outcome(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def facts(self) -> dict:
        return json.loads(self.out.splitlines()[-1])


@pytest.fixture
def splare(capfd) -> Callable[..., Outcome]:
    """Run the program in this process, as its console script would."""

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        code = stop.value.code
        return Outcome(code if isinstance(code, int) else 0, out, err)

    return run


def cut(source: Path, target: Path, documents: int) -> None:
    """The first documents of a BEIR folder, with the judgements that name them and those queries."""
    (target / "qrels").mkdir(parents=True)
    with gzip.open(source / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        corpus = [line for line, _ in zip(lines, range(documents), strict=False)]
    docids = {json.loads(line)["_id"] for line in corpus}
    judged = set()
    for file in (source / "qrels").iterdir():
        header, *rows = file.read_text(encoding="utf-8").splitlines()
        rows = [row for row in rows if row.split("\t")[1] in docids]
        judged |= {row.split("\t")[0] for row in rows}
        (target / "qrels" / file.name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    with gzip.open(source / "queries.jsonl.gz", "rt", encoding="utf-8") as lines:
        queries = [line for line in lines if json.loads(line)["_id"] in judged]
    for name, content in (("corpus", corpus), ("queries", queries)):
        with gzip.open(target / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(content)


@pytest.fixture(scope="session")
def small_data(tmp_path_factory) -> Path:
    """``examples/data`` with the first 12 paragraphs and the 24 first abstracts, which are judged for 2 claims."""
    folder = tmp_path_factory.mktemp("cut") / "examples" / "data"
    for language in ("en", "de", "zh"):
        cut(DATA / "xquad" / language, folder / "xquad" / language, 12)
    cut(DATA / "scifact", folder / "scifact", 24)
    return folder
