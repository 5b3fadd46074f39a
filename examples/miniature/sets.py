"""What is learned from, and what is asked at the end: rows, unlabelled texts, test sets."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from settings import LANGUAGES, Settings
from steps import read_lines, splare, write_lines

from splare_plugins.corpus import read_documents, read_qrels, read_queries

LEARNED_FROM = ("scifact", "squadshifts-wiki", "medquad", "pubmedqa")  # their train splits, English
READ = (*LEARNED_FROM, "text-books-en")  # unlabelled
PARALLEL = "ntrex/parallel.jsonl.gz"  # unlabelled, a language a column
CHARACTERS = 600  # of a text, about 128 tokens


def make_data(out: Path, folder: Path, settings: Settings, teacher: str, device: str) -> None:
    """Rows of all sets with BM25's negatives, and the teacher's cosines times 20."""
    sets, plain = [], out.with_suffix("")
    for name in LEARNED_FROM:
        if not (folder / name / "qrels" / "train.tsv").is_file():
            continue
        rows = out.with_name(f"{name}.jsonl")
        if not rows.exists():
            splare("train", "mine", folder / name, "-o", rows, "--negatives", settings.negatives)
        sets.append(read_lines(rows))
    mined = out.with_name("mined.jsonl")
    write_lines(mined, map(cut_row, mixed(sets, settings)))
    usual = ("--kind", "bi", "--scale", 20, "--device", device)
    splare("train", "score", mined, teacher, "-o", plain, *usual)
    write_lines(out, read_lines(plain))
    plain.unlink()


def mixed(sets: list[list[Any]], settings: Settings) -> list[Any]:
    """As many rows as are wanted, the same number of each set where it has them."""
    generator, chosen = random.Random(settings.seed), []
    for number, rows in enumerate(sorted(sets, key=len)):
        share = (settings.queries - len(chosen)) // (len(sets) - number)
        chosen += generator.sample(rows, min(share, len(rows)))
    generator.shuffle(chosen)
    return chosen


def cut_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row with no more of its texts than is read of them."""
    negatives = [text[:CHARACTERS] for text in row["negatives"]]
    return {**row, "positive": row["positive"][:CHARACTERS], "negatives": negatives}


def make_texts(out: Path, folder: Path, settings: Settings) -> None:
    """Unlabelled text: a quarter of it from the parallel sentences where there are any, the rest from the corpora."""
    corpora = [name for name in READ if (folder / name).is_dir()]
    parallel = folder / PARALLEL
    room = settings.texts // (4 if parallel.is_file() else 1)
    generator, texts = random.Random(settings.seed), []
    if parallel.is_file():
        rows = read_lines(parallel)
        columns = [[row[language] for row in rows if row.get(language)] for language in LANGUAGES]
        texts += [text for column in columns for text in some(column, room // len(columns), generator)]
    for name in corpora:
        own = [document.content[: 3 * CHARACTERS] for document in read_documents(str(folder / name))]
        texts += some(own, (settings.texts - (room if parallel.is_file() else 0)) // len(corpora), generator)
    generator.shuffle(texts)
    write_lines(out, ({"_id": str(number), "text": text} for number, text in enumerate(texts)))


def some(texts: list[str], characters: int, generator: random.Random) -> Iterator[str]:
    """Any of the texts, until they have so many characters together."""
    for text in generator.sample(texts, len(texts)):
        if characters <= 0:
            return
        characters -= len(text)
        yield text


def make_tests(out: Path, folder: Path, settings: Settings) -> None:
    """SciFact, and the English paragraphs of XQuAD with the questions of each language, as BEIR folders."""
    made = out.with_name("making-tests")
    cut_set(made / "scifact", folder / "scifact", folder / "scifact", settings)
    for language in LANGUAGES:
        cut_set(made / f"xquad-{language}-en", folder / "xquad" / language, folder / "xquad" / "en", settings)
    made.rename(out)


def cut_set(out: Path, asked: Path, corpus: Path, settings: Settings) -> None:
    """The first judged queries, their documents, and others until there are enough."""
    judged = dict(islice(read_qrels(corpus / "qrels" / "test.tsv").items(), settings.test_queries))
    relevant = {docid for documents in judged.values() for docid in documents}
    documents = list(read_documents(str(corpus)))
    others = [each for each in documents if each.docid not in relevant][
        : max(settings.test_documents - len(relevant), 0)
    ]
    kept = [each for each in documents if each.docid in relevant] + others
    (out / "qrels").mkdir(parents=True, exist_ok=True)
    write_lines(out / "corpus.jsonl", ({"_id": each.docid, "title": each.title, "text": each.text} for each in kept))
    queries = ({"_id": each.qid, "text": each.text} for each in read_queries(str(asked)) if each.qid in judged)
    write_lines(out / "queries.jsonl", queries)
    rows = [f"{qid}\t{docid}\t{grade}\n" for qid, each in judged.items() for docid, grade in each.items()]
    (out / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows), encoding="utf-8")
