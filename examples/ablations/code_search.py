"""A domain that every installation has: functions of its scientific packages, found by what they say they do."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("networkx", "numpy", "pandas", "scipy", "sklearn", "sympy")
HELD_OUT = 5
"""One file in so many is held out."""
FEWEST_LINES = 4


@dataclass(frozen=True)
class Function:
    """A documented function.

    Attributes:
        name: package, file and function.
        question: the words of its name and the first sentence of its docstring.
        docstring: all of it.
        body: its parameters and statements, without name and docstring.
        held_out: whether its file is one that nothing is learnt from.
    """

    name: str
    question: str
    docstring: str
    body: str
    held_out: bool


def functions(packages: Sequence[str] = PACKAGES, *, files: int | None = None) -> Iterator[Function]:
    """The documented functions of installed packages, a package after the other; tests are left out.

    Args:
        packages: to read.
        files: at most so many of each package.
    """
    for package in packages:
        spec = find_spec(package)
        assert spec is not None and spec.origin is not None, f"{package} is not installed"
        root = Path(spec.origin).parent
        paths = [path for path in sorted(root.rglob("*.py")) if "tests" not in path.parts]
        for path in paths[:files]:
            place = f"{package}/{path.relative_to(root).as_posix()}"
            held_out = int(hashlib.sha256(place.encode()).hexdigest(), 16) % HELD_OUT == 0
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef) and (found := _function(node, place, held_out=held_out)):
                    yield found


def _function(node: ast.FunctionDef, place: str, *, held_out: bool) -> Function | None:
    docstring = ast.get_docstring(node)
    if not docstring or not docstring[0].isalpha():
        return None
    body = "\n".join(ast.unparse(statement) for statement in node.body[1:])
    if body.count("\n") + 1 < FEWEST_LINES:
        return None
    words = re.sub(r"_+|(?<=[a-z])(?=[A-Z])", " ", node.name).strip()
    first = re.split(r"(?<=\.)\s|\n\s*\n", docstring, maxsplit=1)[0]
    return Function(
        name=f"{place}:{node.name}:{node.lineno}",
        question=f"{words}: {' '.join(first.split())}",
        docstring=docstring,
        body=f"({ast.unparse(node.args)})\n{body}",
        held_out=held_out,
    )


def write_collection(folder: Path, judged: Sequence[Function]) -> Path:
    """Functions as a BEIR folder: their questions ask for their bodies."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    numbered = [(f"f{number}", function) for number, function in enumerate(judged)]
    rows = {
        "corpus.jsonl": [{"_id": name, "title": "", "text": function.body} for name, function in numbered],
        "queries.jsonl": [{"_id": name, "text": function.question} for name, function in numbered],
    }
    for name, lines in rows.items():
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    judgements = "".join(f"{name}\t{name}\t1\n" for name, _ in numbered)
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judgements}", encoding="utf-8")
    return folder
