"""Commands, options and extras that messages, help texts and docs name are there, as the real parsers have them."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from splare_plugins.cli.app import app
from tests.pages import PAGES, ROOT

PACKAGES = ("splare_plugins", "pyserini_splare", "pyterrier_splare", "opensearch/opensearch_splare")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
COMMAND = "splare_command"
HOLE = "1"
"""Stands for what an f-string fills in: most of these are numbers, names or places."""

_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9](?![\w*-])")
_QUOTED = re.compile(r"(?<!`)(`{1,2})((?:splare|python -m) [^`]+)\1(?!`)")
_PLAIN = re.compile(r"\bsplare((?: [a-z]+)+)")
# Words that follow the name where it is not a command: "made by splare at", "not made by splare, so".
_PROSE = {"at", "did", "made", "reads", "started", "model", "does"}
_BY_HAND = re.compile(rf"\bsplare (?!(?:{'|'.join(sorted(_PROSE))})\b)[a-z]+[^;,.()`:{{}}]*\{{\}}")
# Options of programs that are not ours.
_OTHERS = {
    *("--impact", "--pretokenized", "--min-idf", "--force-reinstall", "--nproc-per-node", "--no-python"),
    *("--enable-native-access", "--sun-misc-unsafe-memory-access", "--no-sign-request", "--bm25", "--profile"),
}


@cache
def _commands() -> dict[str, set[str]]:
    """Options by command, such as ``index lucene``."""

    def walk(command: Any, name: str) -> Iterator[tuple[str, set[str]]]:
        own = {"--help", *(option for each in command.params for option in (*each.opts, *each.secondary_opts))}
        yield name, own
        for word, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, f"{name} {word}".strip())

    return dict(walk(typer.main.get_command(app), ""))


def options_of(command: str) -> set[str]:
    """The options of a command, and those that all have."""
    return _commands()[command] | _commands()[""]


@cache
def _options_of_module(name: str) -> frozenset[str]:
    """Options of a program of ours that ``python -m`` runs: what its source gives to a parser."""
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None, name
    return frozenset(re.findall(r"[\"' ](--[\w-]+)", Path(spec.origin).read_text(encoding="utf-8")))


_PYSERINI = ("pyserini_splare.encode", "pyserini_splare.index", "pyserini_splare.search")


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """String constants of a module, those in a row joined, f-strings with their holes filled, and commands."""
    if path.suffix != ".py":
        yield 1, path.read_text(encoding="utf-8")
        return

    def walk(node: ast.AST) -> Iterator[tuple[int, str]]:
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else HOLE for part in node.values]
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == COMMAND:
            yield node.lineno, f"`{_filled(node)}`"
        for child in ast.iter_child_nodes(node):
            if not (isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant)):
                yield from walk(child)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")))


def _filled(call: ast.Call) -> str:
    """The command that a call of ``splare_command`` makes, with its holes filled."""
    given = [word for word in call.args if not isinstance(word, ast.Starred)]
    return shlex.join(["splare", *(str(word.value) if isinstance(word, ast.Constant) else HOLE for word in given)])


def put_together(path: Path) -> list[str]:
    """Commands that an f-string of a module fills in by itself, where a blank in a folder's name splits it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            for match in _BY_HAND.finditer("".join(map(str, parts))):
                found.append(f"line {node.lineno}: {match[0]}")
    return found


def faults(text: str) -> list[str]:
    """What a text names that is not there."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)  # blocks of pages are run or checked
    found = []
    for match in _QUOTED.finditer(text):
        found += _of_command(" ".join(match[2].split()), strict=True)
    rest = " ".join(_QUOTED.sub(" ", text).split())
    for match in _PLAIN.finditer(rest):
        if match[1].split()[0] not in _PROSE:
            found += _of_command(rest[match.start() :], strict=False)
    for module in re.findall(r"python -m ((?:splare|pyserini_splare|pyterrier_splare|opensearch_splare)[\w.]*)", text):
        if importlib.util.find_spec(module) is None:
            found.append(f"python -m {module}")
    found += [option for option in _OPTION.findall(text) if option not in _known()]
    for names in re.findall(r"splare-plugins\[([\w,-]+)\]", text):
        found += sorted(set(names.split(",")) - _extras() - {HOLE})
    return found


@cache
def _known() -> set[str]:
    """Options of all programs that texts speak of."""
    benchmarks = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "benchmarks").glob("*.py"))
    of_modules = (option for name in _PYSERINI for option in _options_of_module(name))
    return set().union(*_commands().values(), of_modules, _OTHERS, re.findall(r'"(--[a-z-]+)"', benchmarks))


@cache
def _extras() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return set(project["optional-dependencies"])


def _of_command(text: str, *, strict: bool) -> list[str]:
    """What is wrong with the command that a text begins with; in quotes, all of it is the command."""
    if text.startswith("python -m"):
        name = text.split()[2]
        if not name.startswith(PACKAGES):
            return []
        named = _options_of_module(name) if name.startswith("pyserini_splare.") else options_of("")
        return [f"{name} {option}" for option in _OPTION.findall(text) if option not in named | _OTHERS]
    if strict and "|" in text:  # several commands in one pair of quotes
        text = text.partition("|")[0]
    words = text.split()[1:]
    name = ""
    while words and f"{name} {words[0].rstrip('.,;:)')}".strip() in _commands():
        name = f"{name} {words.pop(0).rstrip('.,;:)')}".strip()
    if not name:
        # VERB, and options of all commands.
        return [] if not words or words[0].isupper() or words[0].startswith("-") else [f"splare {words[0]}"]
    if name == "train" and words and words[0].endswith(".yaml"):
        name = "train run"
    if not strict:  # the command goes on while words look like one
        there = re.match(r"(?: (?:--?[a-z][\w-]*|[A-Z][A-Z-]+))*", " " + " ".join(words))
        words = (there[0] if there else "").split()
    options = [f"{name} {word}" for word in _OPTION.findall(" ".join(words)) if word not in options_of(name)]
    return options or (_arguments(name, words) if strict and _whole(words) else [])


def _whole(words: list[str]) -> bool:
    """Whether a command was given with its arguments, and not only by name."""
    return any(word.isupper() or word == "-o" for word in words)


def _arguments(name: str, words: list[str]) -> list[str]:
    """What the real parser has against the arguments of a command."""
    command, context = typer.main.get_command(app), None
    for part in name.split():
        context = command.make_context("splare", [part], parent=context, resilient_parsing=True)
        command = command.commands[part]  # type: ignore[attr-defined]
    try:
        command.make_context(name, shlex.split(" ".join(words)), parent=context)
    except Exception as error:  # of click, or of the copy of it that newer versions of typer bring
        if not hasattr(error, "format_message"):
            raise
        return [f"splare {name}: {error.format_message()}"]
    return []


@pytest.mark.parametrize("path", [*MODULES, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_named_is_there(path):
    wrong = [f"line {line}: {fault}" for line, text in _texts(path) for fault in faults(text)]
    assert wrong == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_are_quoted_by_the_function_for_them(path):
    assert put_together(path) == []


def test_the_collector_reads_commands_that_are_called(tmp_path):
    module = tmp_path / "module.py"
    module.write_text(
        """x = f"{x}; run: {splare_command('train', 'merge', x, '--out', y, *z)}"\ny = f"splare train merge {x}"\n"""
    )
    texts = [text for _, text in _texts(module)]
    assert "`splare train merge 1 --out 1`" in texts
    assert "train merge --out" in [fault for text in texts for fault in faults(text)]
    assert put_together(module) == ["line 2: splare train merge {}"]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("run splare encode --store-text", []),
        ("run splare encode --store-texts", ["encode --store-texts", "--store-texts"]),
        ("run splare search --store-text", ["search --store-text"]),
        ("start it with `splare serving`", ["splare serving"]),
        ("use splare decode again", ["splare decode"]),
        ("add --no-such-thing", ["--no-such-thing"]),
        ("made by splare at FOLDER", []),
        ("`splare train merge MODEL -o OUT`", []),
        ("`splare train merge MODEL OTHER -o OUT`", ["splare train merge: Got unexpected extra argument(s) (OTHER)"]),
        ("`splare train merge -o OUT`", ["splare train merge: Missing argument 'model'."]),
        ("pip install 'splare-plugins[trains]'", ["trains"]),
        ("python -m pyserini_splare.indexes", ["python -m pyserini_splare.indexes"]),
        ("`python -m pyserini_splare.search --rm4`", ["pyserini_splare.search --rm4", "--rm4"]),
    ],
)
def test_the_collector_notices_what_is_wrong(text, wrong):
    assert faults(text) == wrong


def test_the_collector_sees_the_messages():
    """Of a rule that finds nothing any more, nobody would hear."""
    seen = " ".join(text for path in MODULES for _, text in _texts(path))
    assert len(set(_PLAIN.findall(seen))) > 20
    assert len(set(_QUOTED.findall(seen))) > 20
    assert len(set(_OPTION.findall(seen))) > 60
    calls = [call for path in MODULES for call in re.findall(rf"{COMMAND}\(", path.read_text(encoding="utf-8"))]
    assert len(calls) > 15
