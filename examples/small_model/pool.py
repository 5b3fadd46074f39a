"""Texts to train the small model on: pairs of a query and a passage, from openly licensed collections.

``python examples/small_model/pool.py DATA -o POOL`` reads BEIR folders under ``DATA`` (train splits only; test queries
are never read), parallel sentences and books; ``--foldoc``, ``--wheels`` and ``--packages`` add a dictionary of
computing, the documentation of scientific Python packages, and Debian's descriptions of its packages (what
``apt-get -o Acquire::Languages=en update`` fetches). One JSONL file a source comes out, rows of ``query`` and
``positive``; where there are no questions, a title, a first sentence or a sentence from within asks for the rest of
its text.

``--parallel`` writes texts in several languages instead, for teachers that read the English of each: parallel
sentences, the ``--translations`` of Debian's descriptions, a ``--handbook``, and long messages of ``--catalogs``.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import json
import random
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from translations import COMMON, catalogs, described, handbook, parallel, translated

from splare_plugins.corpus import read_documents, read_qrels, read_queries

LETTERS = 800  # of a passage: more than the 128 tokens that training reads
NTREX = Path("ntrex", "parallel.jsonl.gz")
Pair = tuple[str, str]


def judged(folder: Path) -> Iterator[Pair]:
    """Training queries and their relevant documents."""
    documents = {document.docid: document.content for document in read_documents(folder)}
    queries = {query.qid: query.text for query in read_queries(folder)}
    for qid, relevant in read_qrels(folder / "qrels" / "train.tsv").items():
        for docid, grade in relevant.items():
            if grade > 0:
                yield queries[qid], documents[docid]


def titled(folder: Path) -> Iterator[Pair]:
    """Titles and the texts below them."""
    for document in read_documents(folder):
        if document.title.strip() and document.text.strip():
            yield document.title, document.text


def sentences(folder: Path, generator: random.Random, *, keep: bool) -> Iterator[Pair]:
    """A sentence of a passage, and the passage with or without it."""
    for document in read_documents(folder):
        parts = [part for part in re.split(r"(?<=[.!?]) ", document.text) if part]
        long = [number for number, part in enumerate(parts) if 40 < len(part) < 250]
        if len(parts) > 2 and long:
            number = generator.choice(long)
            yield parts[number], " ".join(part for each, part in enumerate(parts) if keep or each != number)


def dictionary(file: Path) -> Iterator[Pair]:
    """Entries of FOLDOC in dict format: the head word, or its first sentence, and the definition."""
    with gzip.open(file, "rt", encoding="utf-8", errors="replace") as stream:
        entries = re.split(r"\n(?=\S)", stream.read())
    for entry in entries:
        word, _, text = entry.partition("\n")
        text = re.sub(r"[{}]|<[^>]*>|\[Jargon File\]|\(\d{4}-\d\d-\d\d\)", " ", text)
        text = " ".join(text.split())
        first, _, rest = text.partition(". ")
        if len(text) > 120:
            yield (f"{word}", text) if len(rest) < 150 else (first, f"{word}: {rest}")


def packages(file: Path) -> Iterator[Pair]:
    """What a Debian package is in one line, and at length; one of each family of packages, by how its text starts."""
    seen = set()
    for _, short, text in described(file):
        if len(text) > 200 and text[:60] not in seen:
            seen.add(text[:60])
            yield short, text


def docstrings(wheel: Path) -> Iterator[Pair]:
    """Summary lines of functions and classes, and what their docstrings say below them."""
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if not name.endswith(".py") or "test" in name:
                continue
            try:
                tree = ast.parse(archive.read(name).decode("utf-8", "replace"))
            except (SyntaxError, ValueError):
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
                    summary, _, rest = text.partition("\n\n")
                    rest = re.split(r"\n\s*(?:Parameters|Args|Arguments|Returns|Examples?)\s*:?\n", rest)[0]
                    rest = " ".join(re.sub(r"[`*]|:\w+:|>>>.*|-{3,}|={3,}", " ", rest).split())
                    if 25 < len(summary) < 200 and len(rest) > 200:
                        yield " ".join(summary.replace("`", "").split()), rest


def cut(text: str) -> str:
    """The start of a text, whole words."""
    return text if len(text) <= LETTERS else text[:LETTERS].rsplit(" ", 1)[0]


def write(pool: Path, name: str, rows: Iterable[Pair | dict[str, str]], *, limit: int, seed: int) -> None:
    """A shuffled sample of different rows."""
    found = [row if isinstance(row, dict) else dict(zip(("query", "positive"), row, strict=True)) for row in rows]
    found = [{key: cut(" ".join(value.split())) for key, value in row.items()} for row in found]
    kept = list({(row["query"], row["positive"]): row for row in found if all(row.values())}.values())
    random.Random(seed).shuffle(kept)
    with gzip.open(pool / f"{name}.jsonl.gz", "wt", encoding="utf-8") as stream:
        for row in kept[:limit]:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(f"{name}: {min(len(kept), limit)} of {len(kept)} pairs")  # noqa: T201


def write_pool(given: argparse.Namespace, generator: random.Random) -> None:
    data, pool, seed = given.data, given.output, given.seed
    for name, limit in (
        ("scifact", 1000),
        ("pubmedqa", 600),
        ("medquad", 5000),
        ("squadshifts-wiki", 6000),
        ("qa-zh", 2000),
        ("qa-ar", 2000),
    ):
        write(pool, name, judged(data / name), limit=limit, seed=seed)
    write(pool, "abstracts", titled(data / "scifact"), limit=4000, seed=seed)
    write(pool, "abstract-sentences", sentences(data / "scifact", generator, keep=True), limit=5000, seed=seed)
    write(pool, "books", sentences(data / "text-books-en", generator, keep=False), limit=3000, seed=seed)
    write(pool, "ntrex", parallel(data / NTREX, generator), limit=6000, seed=seed)
    if given.foldoc:
        write(pool, "foldoc", dictionary(given.foldoc), limit=6000, seed=seed)
    if given.packages:
        write(pool, "packages", packages(given.packages), limit=8000, seed=seed)
    if given.wheels:
        pairs = (pair for wheel in sorted(given.wheels.glob("*.whl")) for pair in docstrings(wheel))
        write(pool, "docstrings", pairs, limit=9000, seed=seed)


def write_parallel(given: argparse.Namespace, generator: random.Random) -> None:
    choice: dict[str, Sequence[str]] = {"asking": given.asking, "rarely": ()} if given.asking else {}
    pairs = parallel(given.data / NTREX, generator, turns=6, **choice)
    write(given.output, "sentences", pairs, limit=12000 if choice else 16000, seed=given.seed)
    for file in given.translations:
        language = file.name.removeprefix("Translation-").partition("_")[0]
        pairs = translated(given.packages, file, generator)
        write(given.output, f"packages-{language}", pairs, limit=4000, seed=given.seed)
    if given.handbook:
        write(given.output, "handbook", handbook(given.handbook, generator), limit=8000, seed=given.seed)
    if given.catalogs:
        pairs = (pair for folder in given.catalogs for pair in catalogs(folder, generator))
        write(given.output, "catalogs", pairs, limit=8000, seed=given.seed)


def main() -> None:
    """Write all sources."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("-o", "--output", type=Path, required=True)
    arguments.add_argument("--foldoc", type=Path, help="foldoc.dict.dz")
    arguments.add_argument("--wheels", type=Path, help="folder of wheels of scientific packages")
    arguments.add_argument("--packages", type=Path, help="Debian's Translation-en, unpacked")
    arguments.add_argument("--parallel", action="store_true", help="write parallel texts, and nothing else")
    arguments.add_argument(
        "--translations", type=Path, nargs="*", default=[], help="Translation-de and others, unpacked"
    )
    arguments.add_argument(
        "--asking", nargs="*", choices=COMMON, help="languages of the questions of --parallel; twice counts twice"
    )
    arguments.add_argument("--handbook", type=Path, help="folder of the HTML of Debian's debian-handbook")
    arguments.add_argument("--catalogs", type=Path, nargs="*", help="folders that hold catalogs of gettext")
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    if not (given.data / NTREX).is_file():
        arguments.error(
            f"{given.data} has no {NTREX}; name the folder that holds scifact, medquad, ntrex and the others"
        )
    if given.asking and not given.parallel:
        arguments.error("--asking goes with --parallel")
    if (given.handbook or given.catalogs) and not given.parallel:
        arguments.error("--handbook and --catalogs go with --parallel")
    if given.handbook and not (given.handbook / "en-US").is_dir():
        arguments.error(f"{given.handbook} has no en-US; name the folder of debian-handbook that holds all languages")
    for folder in given.catalogs or ():
        if not any(folder.rglob("LC_MESSAGES/*.mo")):
            arguments.error(f"{folder} holds no catalog, LANGUAGE/LC_MESSAGES/*.mo; unpack its package there")
    if given.translations and not (given.parallel and given.packages):
        arguments.error("--translations go with --parallel and with --packages, their English")
    given.output.mkdir(parents=True, exist_ok=True)
    (write_parallel if given.parallel else write_pool)(given, random.Random(given.seed))


if __name__ == "__main__":
    main()
