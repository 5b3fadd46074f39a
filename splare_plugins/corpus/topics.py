"""Topics as evaluation campaigns publish them: TREC's ``<top>``, XML of TREC and of NTCIR."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

from splare_plugins.corpus.fields import Fields, Record
from splare_plugins.errors import InputError
from splare_plugins.machine.files import numbered_lines

# The first of these that a file has is one topic each; inside a <topic>, a <query> is a field.
_BLOCKS = ("top", "topic", "query")
_IDS = ("num", "number", "qid", "topic-id", "topic_id", "topicid", "query-id", "query_id", "id")
_TEXTS = ("title", "query", "content", "question")
_SHORT = {"desc": "description", "narr": "narrative"}
_TAG = re.compile(r"<([A-Za-z][\w-]*)((?:\s[^<>]*)?)>", re.DOTALL)
_ATTRIBUTE = re.compile(r"""([\w-]+)\s*=\s*["']([^"']*)["']""")
# What TREC writes before a field's text.
_LABEL = re.compile(r"^\s*(?:number|topic|title|description|narrative)\s*:\s*", re.IGNORECASE)


def is_markup(start: str) -> bool:
    """Whether a file that starts so holds topics between tags."""
    return bool(
        re.match(r"\s*<(\?xml|!--|!DOCTYPE|top\b|topics?\b|quer(y|ies)\b|[A-Za-z][\w-]*>)", start, re.IGNORECASE)
    )


def topic_records(path: Path, fields: Fields) -> Iterator[Record]:
    """The topics of a file; the text is the title, or the fields that were stated.

    Raises:
        InputError: if there is none, or one lacks its number or the field, naming the fields that it has.
    """
    text = "\n".join(line for _, line in numbered_lines(path))
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    for block in _BLOCKS:
        found = list(re.finditer(rf"<{block}(?![\w-])([^<>]*)>", text, re.IGNORECASE))
        if found:
            break
    else:
        raise InputError(f"{path} holds no <top>, <topic> or <query>; give queries as id<TAB>text or JSONL instead")
    for number, (start, end) in enumerate(zip(found, [*found[1:], None], strict=True), start=1):
        body = text[start.end() : end.start() if end else len(text)]
        body = re.split(rf"</{block}>", body, maxsplit=1, flags=re.IGNORECASE)[0]
        yield _record(f"{path}, topic {number}", start.group(1), body, fields)


def _record(where: str, attributes: str, body: str, fields: Fields) -> Record:
    values = {name.lower(): value for name, value in _ATTRIBUTE.findall(attributes)}
    tags = list(_TAG.finditer(body))
    for tag, following in zip(tags, [*tags[1:], None], strict=True):
        name = tag.group(1).lower()
        content = body[tag.end() : following.start() if following else len(body)]
        # TREC leaves tags open: a field ends at its own end or at the next one's beginning.
        content = re.split(r"</", content, maxsplit=1)[0]
        plain = html.unescape(_LABEL.sub("", content, count=1))
        values[_SHORT.get(name, name)] = " ".join(plain.split())
    id_field = fields.id or next((name for name in _IDS if values.get(name)), None)
    if not id_field or not values.get(id_field):
        out = fields.way_out(f"it needs a field {_IDS[0]} (there are {', '.join(values)})", "id", "name one")
        raise InputError(f"{where} has no number; {out}")
    asked = [_SHORT.get(each.strip(), each.strip()) for each in fields.text.split(",")] if fields.text else None
    names = asked or [next((name for name in _TEXTS if values.get(name)), "title")]
    if missing := [name for name in names if name not in values]:
        there = ", ".join(name for name in values if name != id_field)
        out = fields.way_out(f"add it (there are {there})", "text", "name one")
        raise InputError(f"{where} ({values[id_field]}) has no {missing[0]}; {out}")
    return Record(where, values[id_field], "", " ".join(values[name] for name in names if values[name]))
