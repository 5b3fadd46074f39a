"""Which field of a record is its id, its title and its text: by their names, by a header, or as somebody says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from splare_plugins.config import Side
from splare_plugins.errors import InputError

ID_NAMES = {
    "document": ("_id", "id", "docid", "docno", "doc_id", "pid", "passage_id"),
    "query": ("_id", "id", "qid", "query_id", "query-id", "topic_id", "topic-id", "num", "number"),
}
TEXT_NAMES = {
    "document": ("text", "contents", "content", "body", "passage"),
    "query": ("text", "query", "contents", "content", "question", "title"),
}
JUDGEMENT_HEADERS = (
    ("query-id", "query_id", "qid", "topic", "topic_id"),
    ("corpus-id", "corpus_id", "docid", "doc_id", "docno", "pid", "did"),
    ("score", "relevance", "rel", "label", "grade"),
)
Quoting = Literal["csv", "none"]
"""What quotation marks around the cells of a TSV file mean."""
_WORD = re.compile(r"[A-Za-z_][\w -]{0,30}")


class Record(NamedTuple):
    """One record of a source, not yet checked."""

    where: str
    id: Any
    title: Any
    text: Any
    excluded: Any = ()


@dataclass(frozen=True, kw_only=True)
class Fields:
    """What somebody says about the fields of a source; what is left out is found by usual names.

    Attributes:
        id: name of the field with the id.
        text: name of the field with the text; several joined by a comma are read one after the other.
        title: name of the field with a document's title.
        columns: names of the columns of a file without a header, in order, such as ``("id", "title", "text")``.
        quoting: what quotation marks around a cell of a TSV file mean: ``"csv"``, they are not part of it, and doubled
            ones inside are one; ``"none"``, they are text. If left out, the former for documents under DPR's header
            ``id text title``, else the latter.
        flags: options by which a program lets its users say that, by attribute, and under ``duplicate`` the one that
            lets them keep the first of several records; messages name no others.
    """

    id: str | None = None
    text: str | None = None
    title: str | None = None
    columns: tuple[str, ...] = ()
    quoting: Quoting | None = None
    flags: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.quoting not in (None, *get_args(Quoting)):
            raise InputError(f"quoting must be 'csv' or 'none', not {self.quoting!r}")
        if len(set(self.columns)) < len(self.columns) or not all(self.columns or ("id",)):
            raise InputError(f"columns need different names, not {','.join(self.columns)!r}")

    def options(self) -> list[str]:
        """The same as options of the program."""
        named = {"--id-field": self.id, "--text-field": self.text, "--title-field": self.title}
        named["--columns"] = ",".join(self.columns) or None
        named["--quoting"] = self.quoting
        return [word for option, name in named.items() if name for word in (option, name)]

    def require_use(self, kind: str, path: object) -> None:
        """Refuse what is said of the columns of a file that has none.

        Args:
            kind: the file's format.
            path: what it is called in messages.

        Raises:
            InputError: naming what to omit.
        """
        if self.columns and kind not in ("tsv", "csv"):
            flag = self.flags.get("columns", "columns")
            raise InputError(f"{path} names its fields itself, and {flag} those of TSV and CSV; omit {flag}")
        if self.quoting and kind != "tsv":
            flag = self.flags.get("quoting", "quoting")
            raise InputError(f"{path} is not TSV, whose quotation marks {flag} is about; omit {flag}")

    def way_out(self, instead: str, flag: str, how: str = "name it") -> str:
        """What can be done in a file, and with an option where the program that reads it has one."""
        return f"{instead}, or {how} with {self.flags[flag]}" if flag in self.flags else instead

    def record(self, values: Mapping[str, Any], where: str, side: Side) -> Record:
        """The record that these values are.

        Raises:
            InputError: if it has no id or no text, naming the fields that it has.
        """
        names = (self.id,) if self.id else ID_NAMES[side]
        id_field = _first(values, names)
        if id_field is None:
            raise InputError(
                f"{where}: this record has no id; "
                + self.way_out(f"it needs a field {_either(names)} (there are {', '.join(values)})", "id", "name one")
            )
        if self.text:
            parts = [self._named(values, name, f"{where}: the {side} {values[id_field]!r}") for name in self._texts]
            text: Any = parts[0] if len(parts) == 1 else " ".join(str(part) for part in parts if part)
        else:
            names = TEXT_NAMES[side]
            text_field = _first(values, names)
            if text_field is None:
                raise InputError(
                    f"{where}: the {side} {values[id_field]!r} has no text; it needs a field "
                    + self.way_out(f"{_either(names)} (there are {', '.join(values)})", "text", "name one")
                )
            text = values[text_field]
        title = values.get(self.title or "title")
        if self.title and self.title not in values:
            raise InputError(f"{where}: there is no field {self.title!r}, only {', '.join(values)}")
        return Record(where, values[id_field], "" if title is None else title, text, values.get("excluded_ids") or ())

    def names_of(self, cells: Sequence[str], where: str, side: Side) -> tuple[tuple[str, ...], bool]:
        """The names of the columns as they are stated or as this first line has them, and whether it is a header.

        Raises:
            InputError: as :meth:`header`, or if a header says something else than was stated.
        """
        header = self.header(cells, where, side)
        if self.columns and header and header != self.columns:
            flag = self.flags.get("columns", "columns")
            raise InputError(
                f"{where}: the first line is a header ({', '.join(header)}), and {flag} says "
                f"{','.join(self.columns)}; omit {flag}, or remove that line"
            )
        return self.columns or header or (), header is not None

    def header(self, cells: Sequence[str], where: str, side: Side) -> tuple[str, ...] | None:
        """The names of the columns if this first line of a file is its header.

        A header names an id and a text by the usual names, or by the names that were stated.

        Raises:
            InputError: if it is the header of judgements, or names an id but no text.
        """
        names = tuple(cell.strip().lstrip("#").strip() for cell in cells)
        lower = [name.lower() for name in names]
        if lower == [name.lower() for name in self.columns]:
            return self.columns
        if not all(map(_WORD.fullmatch, names)):
            return None
        if is_judgement_header(lower):
            raise InputError(f"{where}: these are judgements ({', '.join(names)}), not {_PLURAL[side]}")
        ids = (self.id,) if self.id else ID_NAMES[side]
        texts = self._texts if self.text else TEXT_NAMES[side]
        if not any(name in ids for name in lower) and not (self.id and self.id in names):
            return None
        if any(name in texts for name in (*lower, *names)):
            # Usual names are found in capitals too; stated ones are taken as they stand.
            usual = {*ids, *texts, "title"}
            return tuple(
                low if low in usual and name not in usual else name for low, name in zip(lower, names, strict=True)
            )
        if lower[0] in ids:
            raise InputError(
                f"{where}: this looks like a header ({', '.join(names)}) that names no text; "
                + self.way_out(f"call that column {_either(TEXT_NAMES[side])}", "text")
                + self.way_out("", "columns", "remove that line and name all columns")
            )
        return None

    @property
    def _texts(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in (self.text or "").split(","))

    @staticmethod
    def _named(values: Mapping[str, Any], name: str, where: str) -> Any:
        if values.get(name) is None:
            raise InputError(f"{where} has no field {name!r}, only {', '.join(values)}")
        return values[name]


_PLURAL = {"document": "documents", "query": "queries"}


def is_judgement_header(names: Sequence[str]) -> bool:
    """Whether these are the names of the columns of judgements: a query, a document and a grade."""
    return 3 <= len(names) <= 4 and all(any(name in known for name in names) for known in JUDGEMENT_HEADERS)


def _first(values: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The first of the fields that holds something, else the first that is there at all."""
    there = [name for name in names if values.get(name) is not None]
    filled = (name for name in there if not isinstance(values[name], str) or values[name].strip())
    return next(filled, there[0] if there else None)


def _either(names: Sequence[str]) -> str:
    return " or ".join(f'"{name}"' for name in names)
