"""Texts that the built-in model's static query encoder is trained on, as queries for ``splare train static``.

``python examples/small_model/static_texts.py -o texts.jsonl --data DATA --words wordfreq.whl ...`` takes what it is
given and leaves out the rest: queries and sentences of collections, single words and random handfuls of frequent ones,
translations of free software, dictionaries, summary lines of docstrings. Any text in any language will do, since its
vector by the full encoder is all that is learned; what counts is that each token occurs.
"""

from __future__ import annotations

import argparse
import ast
import gettext
import gzip
import json
import random
import re
import zipfile
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

import msgpack
import numpy as np
from translations import described, paragraphs

from splare_plugins.machine.files import read_jsonl

MAIN = ("en", "de", "es", "ar", "ru", "zh")
OTHERS = (
    "fr",
    "it",
    "pt",
    "nl",
    "pl",
    "cs",
    "tr",
    "fa",
    "hi",
    "ja",
    "ko",
    "id",
    "he",
    "uk",
    "sv",
    "hu",
    "el",
    "ro",
    "bn",
    "fi",
)
HELD_OUT = "vi"
ENGLISH = re.compile(r"docstrings|wordnet|foldoc|gcide|medquad|scifact|pubmedqa|squadshifts|.*-en(?![a-z])")
WITHOUT_SPACES = ("zh", "ja")
SHORTEST, LONGEST = 12, 400  # characters of a sentence
LISTED = 30_000  # words of a language
Texts = Iterator[tuple[str, Iterable[str], int]]
"""A source's name, its texts, and how many of them are taken."""


def sentences(text: str) -> Iterator[str]:
    """Of usual lengths."""
    for sentence in re.split(r"(?<=[.!?؟])\s+|(?<=[。\uff01\uff1f])", " ".join(text.split())):
        if SHORTEST <= len(sentence.strip()) <= LONGEST:
            yield sentence.strip()


def collections(data: Path) -> Texts:
    """Sentences in parallel, questions of training sets, and sentences of documents, in the folders of a data set."""
    rows = [row for _, row in read_jsonl(data / "ntrex" / "parallel.jsonl.gz")]
    for language in sorted(set(rows[0]) - {"_id", HELD_OUT}):
        yield f"ntrex-{language}", (row[language] for row in rows), len(rows)
    for name in ("medquad", "squadshifts-wiki", "qa-zh", "qa-ar", "scifact"):
        lines = (data / name / "qrels" / "train.tsv").read_text(encoding="utf-8").splitlines()[1:]
        training = {line.split("\t")[0] for line in lines}
        yield name, (row["text"] for _, row in records(data / name, "queries") if row["_id"] in training), 6000
    for pair in ("ar-en", "de-en", "es-en", "ru-en", "zh-en"):
        yield f"tatoeba-{pair}", (row["text"] for _, row in records(data / "tatoeba" / pair, "queries")), 1500
    for name, most in (("qa-zh", 4000), ("qa-ar", 4000), ("squadshifts-wiki", 4000), ("medquad", 4000)):
        texts = (row["text"] for _, row in records(data / name, "corpus"))
        yield f"{name}-documents", (each for text in texts for each in sentences(text)), most
    texts = (row["text"] for _, row in records(data / "pubmedqa", "corpus"))
    yield "pubmedqa-documents", (each for text in texts for each in sentences(text)), 8000


def records(folder: Path, name: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Of a JSONL file, packed or not."""
    path = folder / f"{name}.jsonl"
    return read_jsonl(path if path.is_file() else path.with_suffix(".jsonl.gz"))


def frequent(wheel: Path, language: str) -> list[tuple[str, float]]:
    """The 50,000 most frequent words of a language with their shares, from the wheel of wordfreq."""
    with zipfile.ZipFile(wheel) as archive:
        large, small = (f"wordfreq/data/{size}_{language}.msgpack.gz" for size in ("large", "small"))
        packed = archive.read(large if large in archive.namelist() else small)
    bins = msgpack.unpackb(gzip.decompress(packed), raw=False)[1:]
    known = [(word, 10 ** (-cents / 100)) for cents, found in enumerate(bins) for word in found]
    return [(word, share) for word, share in known if re.search(r"[^\W\d_]", word)][:50_000]


def words(wheel: Path, generator: np.random.Generator) -> Texts:
    """Frequent words alone, and handfuls of them."""
    for language in (*MAIN, *OTHERS):
        known = frequent(wheel, language)
        alone, together = (6000, 6000) if language in MAIN else (1500, 1000)
        yield f"words-{language}", [word for word, _ in known], alone
        # Flattened, so that words with a meaning come up beside those that only join them.
        chances = np.array([share for _, share in known]) ** 0.4
        sizes = generator.integers(3, 9, together)
        drawn = [generator.choice(len(known), size, p=chances / chances.sum()) for size in sizes]
        space = "" if language in WITHOUT_SPACES else " "
        yield f"handfuls-{language}", [space.join(known[at][0] for at in each) for each in drawn], together


def write_lists(wheel: Path, folder: Path) -> None:
    """Files of words for ``word_lists``: the most frequent of each language that has spaces, also with a capital."""
    folder.mkdir(parents=True, exist_ok=True)
    for language in (name for name in MAIN if name not in WITHOUT_SPACES):
        known = [word for word, _ in frequent(wheel, language) if re.fullmatch(r"\w(?:[\w'-]{0,38}\w)", word)]
        forms = dict.fromkeys(form for word in known[:LISTED] for form in (word, word.capitalize()))
        (folder / f"words-{language}.txt").write_text("".join(f"{form}\n" for form in forms), encoding="utf-8")


def debian(folder: Path) -> Texts:
    """Translations in packages unpacked into one folder: the handbook, catalogues, fortunes; dictionaries."""
    languages = {*MAIN, *OTHERS}
    for book in sorted(folder.glob("usr/share/doc/debian-handbook/html/*")):
        if book.name[:2] not in languages:
            continue
        pages = (text for page in sorted(book.glob("*.html")) for text in paragraphs(page))
        most = 2500 if book.name[:2] in MAIN else 1000
        yield f"handbook-{book.name}", (each for text in pages for each in sentences(text)), most
    for locale in sorted({path.parent.parent for path in folder.rglob("LC_MESSAGES/*.mo")}):
        if locale.name.split("_")[0] not in languages:
            continue
        found: list[str] = []
        for path in sorted(locale.glob("LC_MESSAGES/*.mo")):
            try:
                with path.open("rb") as stream:
                    catalogue = gettext.GNUTranslations(stream)._catalog  # type: ignore[attr-defined]
            except ValueError:  # a header that nobody filled in
                continue
            told = [re.sub(r"<[^>]+>|\$\w+|[#*_|]", " ", text) for text in catalogue.values() if isinstance(text, str)]
            found += told if path.name.startswith("iso_") else [each for text in told for each in sentences(text)]
        most = 4000 if locale.name.split("_")[0] in MAIN else 1500
        yield f"catalogues-{locale.name}", [text.strip() for text in found if len(text.strip()) > 2], most
    for file in sorted(folder.glob("usr/share/games/fortunes/*/*")):
        if file.is_file() and not file.suffix:
            told = file.read_text(encoding="utf-8", errors="ignore").split("\n%\n")
            yield f"fortunes-{file.parent.name}", (each for text in told for each in sentences(text)), 1000
    for part in sorted(folder.glob("usr/share/wordnet/data.*")):
        glosses = (line.split("|")[1].split(";")[0].strip() for line in part.open(encoding="utf-8") if "|" in line)
        yield "wordnet", glosses, 20_000
    for file, most in (("foldoc", 10_000), ("gcide", 4000)):
        for path in folder.glob(f"usr/share/dictd/{file}.dict.dz"):
            entries = gzip.decompress(path.read_bytes()).decode("utf-8", "ignore").split("\n\n")
            plain = (re.sub(r"[{}]|\[[^\]]*\]|<[^>]*>", "", entry) for entry in entries)
            yield file, (each for entry in plain for each in sentences(entry)), most


def packages(files: list[Path]) -> Texts:
    """Descriptions of packages, in ``Translation-*`` files of Debian."""
    for file in files:
        told = (text for _, short, long in described(file) for text in (short, *sentences(long)))
        yield file.name, told, 15_000


def docstrings(wheels: list[Path]) -> Texts:
    """Summaries of functions and classes."""
    for wheel in wheels:
        yield f"docstrings-{wheel.name.partition('-')[0]}", documented(wheel), 4000


def documented(wheel: Path) -> Iterator[str]:
    """The first two paragraphs of the docstrings in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not name.endswith(".py") or "/test" in name:
                continue
            try:
                tree = ast.parse(archive.read(name))
            except (SyntaxError, ValueError):
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                    for paragraph in (ast.get_docstring(node) or "").split("\n\n")[:2]:
                        yield from sentences(paragraph)


def main() -> None:
    """Write the texts of all sources that are given."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("-o", "--output", type=Path, required=True)
    arguments.add_argument("--english", type=Path, help="file for those of English sources, in ASCII, once more")
    arguments.add_argument("--data", type=Path, help="folder of collections")
    arguments.add_argument("--words", type=Path, help="wheel of wordfreq")
    arguments.add_argument(
        "--lists", type=Path, help="folder to write lists of frequent words to, which takes --words"
    )
    arguments.add_argument("--debian", type=Path, help="folder of unpacked packages")
    arguments.add_argument("--packages", type=Path, nargs="*", default=[], help="Translation-* files")
    arguments.add_argument("--wheels", type=Path, nargs="*", default=[], help="wheels with documented functions")
    given = arguments.parse_args()
    sources: list[Texts] = [packages(given.packages), docstrings(given.wheels)]
    sources += [collections(given.data)] if given.data else []
    sources += [words(given.words, np.random.default_rng(0))] if given.words else []
    sources += [debian(given.debian)] if given.debian else []
    if given.lists and not given.words:
        arguments.error("--lists takes its words from the wheel of --words; name it")
    if given.lists:
        write_lists(given.words, given.lists)
    numbers, english = count(), []
    with given.output.open("w", encoding="utf-8") as stream:
        for source in sources:
            for name, texts, most in source:
                taken = list(dict.fromkeys(text for text in texts if text.strip()))
                random.Random(0).shuffle(taken)
                for text in taken[:most]:
                    line = json.dumps({"id": f"{name}-{next(numbers)}", "text": text}, ensure_ascii=False) + "\n"
                    stream.write(line)
                    if text.isascii() and ENGLISH.match(name):
                        english.append(line)
                print(f"{name}: {min(most, len(taken)):,} of {len(taken):,}")  # noqa: T201
    if given.english:
        given.english.write_text("".join(english), encoding="utf-8")


if __name__ == "__main__":
    main()
