"""Texts in several languages, each with its English, for teachers that read the English of both sides."""

from __future__ import annotations

import gettext
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from html import unescape
from pathlib import Path

from splare_plugins.machine.files import read_jsonl

LANGUAGES = ("bn", "el", "fa", "fi", "fr", "hi", "id", "it", "ja", "ko", "sw", "te", "th", "tr", "vi")
COMMON = ("ar", "de", "es", "ru", "zh")
TO_ENGLISH = 0.75  # of the questions in another language than that of their passage, those that ask for English
Row = dict[str, str]


def parallel(
    file: Path,
    generator: random.Random,
    *,
    turns: int = 3,
    asking: Sequence[str] = COMMON,
    rarely: Sequence[str] = LANGUAGES,
) -> Iterator[Row]:
    """A sentence in one language, and in another the sentences around it; with both in English.

    Consecutive sentences belong to the same article; a passage of four of them gives four queries a turn, the sentence
    asked for in another language at every turn: one of ``asking``, at the first turn also one of ``rarely``.
    """
    rows = [row for _, row in read_jsonl(file)]
    for start in range(0, len(rows) - 3, 2):
        passage = rows[start : start + 4]
        for row in passage:
            for turn in range(turns):
                question = generator.choice(asking if turn else sorted((*asking, *rarely)))
                answering = "en" if turn != 1 else generator.choice((*COMMON, "en"))
                # Half of the passages do not hold the sentence itself: its neighbours have to do.
                answer = passage if generator.random() < 0.5 else [each for each in passage if each is not row]
                yield {
                    "query": row[question],
                    "positive": " ".join(each[answering] for each in answer),
                    "english_query": row["en"],
                    "english_positive": " ".join(each["en"] for each in answer),
                }


def translated(english: Path, file: Path, generator: random.Random) -> Iterator[Row]:
    """A package in one line of one language and at length in another, one of them English; with both in English."""
    seen = set()
    originals = {key: (short, text) for key, short, text in described(english)}
    for key, short, text in described(file):
        short_english, text_english = originals.get(key, ("", ""))
        if len(text_english) > 120 and len(text) > 40 and text_english[:60] not in seen:
            seen.add(text_english[:60])
            to_english = generator.random() < TO_ENGLISH
            yield {
                "query": short if to_english else short_english,
                "positive": text_english if to_english else text,
                "english_query": short_english,
                "english_positive": text_english,
            }


def described(file: Path) -> Iterator[tuple[str, str, str]]:
    """The key, one line and the long text of each entry of a ``Translation-*`` file of Debian."""
    for entry in file.read_text(encoding="utf-8").split("\n\n"):
        if found := re.search(r"^Description-md5: (\w+)\nDescription-\w+: (.*)\n?", entry, flags=re.MULTILINE):
            text = re.sub(r"^ \.$", " ", entry[found.end() :], flags=re.MULTILINE)
            yield found[1], found[2], " ".join(text.split())


def handbook(folder: Path, generator: random.Random) -> Iterator[Row]:
    """Paragraphs of a book whose HTML pages have the same names in the folders of all languages, such as ``en-US``."""
    for language in sorted(path for path in folder.iterdir() if is_common(path.name)):
        for page in sorted((folder / "en-US").glob("*.html")):
            other = language / page.name
            texts = [paragraphs(each) for each in (page, other) if each.is_file()]
            # With other numbers of paragraphs, they would not be the same ones.
            if len(texts) == 2 and len(texts[0]) == len(texts[1]):
                yield from asked(zip(*texts, strict=True), generator)


def paragraphs(page: Path) -> list[str]:
    """The texts of its elements of class ``para``."""
    found = re.findall(r'<div class="para">(.*?)</div>', page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [unescape(re.sub(r"<[^>]*>", "", text)) for text in found]


def catalogs(folder: Path, generator: random.Random) -> Iterator[Row]:
    """Long messages of the gettext catalogs below a folder, ``LANGUAGE/LC_MESSAGES/*.mo``."""
    for file in sorted(folder.rglob("LC_MESSAGES/*.mo")):
        if is_common(file.parent.parent.name):
            with file.open("rb") as stream:
                messages = gettext.GNUTranslations(stream)._catalog  # the only way to all of them
            texts = ((key, text) for key, text in messages.items() if isinstance(key, str) and len(key) > 150)
            plain = ((clean(key), clean(text)) for key, text in texts if not re.search(r"[%$]\w", key))
            yield from asked(plain, generator)


def is_common(locale: str) -> bool:
    """Whether it names one of :data:`COMMON`, as ``de``, ``de-DE`` or ``zh_CN`` does; Chinese in short characters."""
    return re.fullmatch(r"(ar|de|es|ru)([-_][A-Z]+)?|zh[-_]CN", locale) is not None


def clean(message: str) -> str:
    """Without markup."""
    return re.sub(r"<[^>]*>|\w+='|'", "", message)


def asked(pairs: Iterable[tuple[str, str]], generator: random.Random) -> Iterator[Row]:
    """A sentence in one language asks for its whole text in another; for texts of as many sentences in both."""
    for english, other in pairs:
        texts = [" ".join(text.split()) for text in (english, other)]
        parts = [split(text) for text in texts]
        long = [number for number, part in enumerate(parts[0]) if 40 < len(part) < 250 and "://" not in part]
        if texts[0] != texts[1] and len(parts[0]) == len(parts[1]) > 1 and long:
            number = generator.choice(long)
            asking, answering = (1, 0) if generator.random() < TO_ENGLISH else (0, 1)
            yield {
                "query": parts[asking][number],
                "positive": texts[answering],
                "english_query": parts[0][number],
                "english_positive": texts[0],
            }


def split(text: str) -> list[str]:
    """Sentences."""
    return [part for part in re.split(r"(?<=[.!?؟]) +|(?<=[。！？])", text) if part]  # noqa: RUF001
