"""A teacher's scores for training data."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from splare_plugins.errors import InputError
from splare_plugins.machine import Progress
from splare_plugins.machine.files import read_json
from splare_plugins.training.data.examples import Example, check_example
from splare_plugins.training.data.reader import ExampleReader
from splare_plugins.training.data.rows import source_stamp

Kind = Literal["auto", "cross", "bi"]
Teacher = Callable[[list[Example]], list[list[float]]]
"""Scores of the candidates of each example."""

_CHUNK = 64


def load_teacher(
    name: str,
    *,
    kind: Kind = "auto",
    device: str | None = None,
    batch_size: int = 32,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
) -> Teacher:
    """A cross-encoder or bi-encoder of sentence-transformers as a teacher.

    Args:
        name: folder or hub id.
        kind: ``"cross"`` scores pairs, ``"bi"`` compares vectors as the model says (cosine or dot product); ``"auto"``
            looks at the folder.
        device: where to run; by default as sentence-transformers chooses.
        batch_size: texts or pairs a forward pass.
        query_prompt: put before queries, for a bi-encoder; by default the model's own.
        document_prompt: likewise before documents.

    Raises:
        InputError: if the model cannot be loaded or is of neither kind.
    """
    from sentence_transformers import CrossEncoder, SentenceTransformer, SparseEncoder

    kind = _kind(name) if kind == "auto" else kind
    if kind == "cross" and (query_prompt or document_prompt):
        raise InputError(f"the teacher {name} is a cross-encoder, which has no prompts; omit them")
    bi_encoder = SparseEncoder if _is_sparse(name) else SentenceTransformer
    model = load_sentence_model(CrossEncoder if kind == "cross" else bi_encoder, name, device)

    def by_pairs(examples: list[Example]) -> list[list[float]]:
        pairs = [(example.query, text) for example in examples for text, _ in example.candidates]
        scores = iter(model.predict(pairs, batch_size=batch_size, show_progress_bar=False).tolist())
        return [list(islice(scores, len(example.candidates))) for example in examples]

    def by_vectors(examples: list[Example]) -> list[list[float]]:
        texts = list(dict.fromkeys(text for example in examples for text, _ in example.candidates))
        usual = {"batch_size": batch_size, "show_progress_bar": False, "convert_to_tensor": True}
        queries = model.encode_query([example.query for example in examples], prompt=query_prompt, **usual)
        table = model.similarity(queries, model.encode_document(texts, prompt=document_prompt, **usual)).tolist()
        place = {text: number for number, text in enumerate(texts)}
        return [
            [row[place[text]] for text, _ in example.candidates] for row, example in zip(table, examples, strict=True)
        ]

    return by_pairs if kind == "cross" else by_vectors


def load_sentence_model(kind: Callable[..., Any], name: str, device: str | None) -> Any:
    """A model of one of the classes of sentence-transformers, by its folder or hub id.

    Raises:
        InputError: if it cannot be loaded.
    """
    try:
        return kind(name, device=device, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise InputError(f"cannot load the teacher {name}: {' '.join(str(error).split())}") from error


def score_file(
    source: str,
    teacher: Teacher,
    output: Path,
    *,
    identity: str = "",
    scale: float = 1.0,
    add: bool = False,
    on_progress: Progress | None = None,
    **options: Any,
) -> int:
    """Write training data again with a teacher's scores; a call that was interrupted goes on where it stopped.

    Args:
        source: as in :func:`read_rows`.
        teacher: gives the scores.
        output: JSONL file with ``query``, ``positive``, ``negatives`` and ``scores``.
        identity: the teacher's name and settings; only what the same teacher began is gone on with.
        scale: factor on the scores; softmax over cosines needs one of 20 to 100.
        add: add them to the scores that the source has, for a blend of teachers.
        on_progress: called with the number of rows just scored.
        **options: of :func:`read_rows`.

    Returns:
        number of rows.

    Raises:
        InputError: for a row that cannot be used, or a teacher that gives anything but one finite number a document.
    """
    if output.exists():
        raise InputError(f"{output} exists; choose another file, or remove it")
    files = [source, *(options[name] for name in ("queries", "corpus") if options.get(name))]
    read = [source_stamp(name) for name in files], options.get("columns", ())
    begun = hashlib.sha256(repr((read, identity, scale, add)).encode()).hexdigest()[:12]
    part = output.with_name(f"{output.name}.{begun}.part")
    output.parent.mkdir(parents=True, exist_ok=True)
    done = _whole_lines(part)
    rows = _examples(ExampleReader(source, **options), needs_scores=add)
    for _ in islice(rows, done):
        pass
    if done and on_progress is not None:
        on_progress(done)
    with part.open("a", encoding="utf-8") as stream:
        while chunk := list(islice(rows, _CHUNK)):
            for example, scores in zip(chunk, teacher(chunk), strict=True):
                stream.write(json.dumps(_row(example, scores, scale, add), ensure_ascii=False) + "\n")
            stream.flush()
            done += len(chunk)
            if on_progress is not None:
                on_progress(len(chunk))
    if not done:
        part.unlink()
        raise InputError(f"{source} holds no row to score")
    part.replace(output)
    return done


def _examples(reader: ExampleReader, *, needs_scores: bool) -> Iterator[Example]:
    for where, example in reader:
        check_example(example, where, scores=needs_scores, least=1)
        yield example


def _row(example: Example, scores: list[float], scale: float, add: bool) -> dict[str, Any]:
    if not all(isinstance(score, float) and math.isfinite(score) for score in scores):
        raise InputError(
            f"the teacher gives {str(scores)[:60]} for the documents of {example.query[:60]!r}; it must have one "
            "output that is a finite number"
        )
    before = [(old or 0.0) if add else 0.0 for _, old in example.candidates]
    return {
        "query": example.query,
        "positive": [text for text, _ in example.positives],
        "negatives": [text for text, _ in example.negatives],
        "scores": [old + scale * score for old, score in zip(before, scores, strict=True)],
    }


def _whole_lines(part: Path) -> int:
    """Rows of an interrupted call; half a line at the end is cut off."""
    if not part.is_file():
        return 0
    content = part.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        part.write_bytes(whole)
    return whole.count(b"\n")


def _kind(name: str) -> Kind:
    folder = Path(name)
    if (folder / "modules.json").is_file():
        return "bi"
    if (folder / "config.json").is_file():
        classes = read_json(folder / "config.json").get("architectures") or []
        return "cross" if any(str(each).endswith("ForSequenceClassification") for each in classes) else "bi"
    if folder.is_dir():
        raise InputError(f"{name} holds neither a cross-encoder nor a bi-encoder")
    from huggingface_hub import file_exists

    with suppress(Exception):  # offline, the guess below may still be right
        return "bi" if file_exists(name, "modules.json") else "cross"
    return "bi"


def _is_sparse(name: str) -> bool:
    path = Path(name) / "config_sentence_transformers.json"
    return path.is_file() and read_json(path).get("model_type") == "SparseEncoder"
