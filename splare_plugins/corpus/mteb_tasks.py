"""Corpora, queries and judgements of mteb's retrieval tasks, as ``mteb:TASK``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from splare_plugins.config import Side
from splare_plugins.errors import InputError, MissingPartError

MTEB_PREFIX = "mteb:"
FORM = "mteb:TASK, mteb:TASK/SUBSET or mteb:TASK/SUBSET/SPLIT"
# mteb's codes of languages, as BM25's analyzers are called.
_LANGUAGES = {
    **{"ara": "ar", "arb": "ar", "ben": "bn", "dan": "da", "deu": "de", "ell": "el", "eng": "en", "eus": "eu"},
    **{"fas": "fa", "fin": "fi", "fra": "fr", "hin": "hi", "hun": "hu", "hye": "hy", "ind": "id", "ita": "it"},
    **{"jpn": "ja", "kor": "ko", "nld": "nl", "nob": "no", "nor": "no", "por": "pt", "ron": "ro", "rus": "ru"},
    **{"spa": "es", "swe": "sv", "tha": "th", "tur": "tr", "zho": "zh", "cmn": "zh"},
}


def is_mteb(source: object) -> bool:
    """Whether ``source`` names a task of mteb."""
    return isinstance(source, str) and source.startswith(MTEB_PREFIX)


def mteb_records(source: str, side: Side) -> Iterator[tuple[str, Any, Any, Any, Any]]:
    """Position, id, title, text and excluded ids of everything that a task holds.

    An instruction stands after its query, as mteb gives it to encoders. Where a task leaves out the document that has
    the query's id (ArguAna), that one is excluded.

    Raises:
        MissingPartError: if mteb is not installed.
        InputError: if there is no such task, it is not one of retrieval among texts, or it cannot be loaded.
    """
    task, data = _loaded(source)
    rows = data["corpus" if side == "document" else "queries"]
    if side == "document":
        return (
            # Without white space around it, as mteb's own encoders get it.
            (f"{source}, document {n}", row["id"], row.get("title") or "", (row["text"] or "").strip(), ())
            for n, row in enumerate(rows, start=1)
        )
    return (_query(source, n, row, same=task.ignore_identical_ids) for n, row in enumerate(rows, start=1))


def mteb_qrels(source: str) -> dict[str, dict[str, int]]:
    """The judgements of a task: relevance by query and document; errors are those of :func:`mteb_records`."""
    _, data = _loaded(source)
    return {
        str(qid): {str(docid): int(grade) for docid, grade in judged.items()}
        for qid, judged in data["relevant_docs"].items()
    }


def mteb_language(source: str) -> str | None:
    """The language of a task's documents, by the name of its analyzer; ``None`` where mteb names none or several."""
    task, subset, _ = _found(source)
    codes = {code.partition("-")[0] for code in task.metadata.hf_subsets_to_langscripts[subset]}
    return _LANGUAGES.get(codes.pop()) if len(codes) == 1 else None


def mteb_identity(source: str) -> str:
    """Task, subset, split and the revision of their data."""
    task, subset, split = _found(source)
    return repr((task.metadata.name, subset, split, task.metadata.dataset.get("revision")))


def _query(source: str, number: int, row: Any, *, same: bool) -> tuple[str, Any, str, str, Any]:
    where, text = f"{source}, query {number}", row["text"]
    if not isinstance(text, str):
        raise InputError(f"{where}: the queries are conversations, and only texts can be searched; give another task")
    asked = " ".join(part for part in (text, row.get("instruction")) if part)
    return where, row["id"], "", asked, (str(row["id"]),) if same else ()


@lru_cache(maxsize=2)
def _loaded(source: str) -> tuple[Any, Any]:
    """A task and what it has of the subset and split, which lies in files that are mapped into memory."""
    task, subset, split = _found(source)
    import mteb

    task = mteb.get_task(task.metadata.name, eval_splits=[split], hf_subsets=[subset])
    try:
        task.load_data()
        task.convert_v1_dataset_format_to_v2(num_proc=None)
        data = task.dataset[subset][split]
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise InputError(
            f"mteb cannot load {source} ({' '.join(str(error).split())}); without a network, load it once where there "
            "is one, or give a BEIR folder"
        ) from error
    if data.get("top_ranked"):
        raise InputError(f"{source} ranks given documents anew and searches none; give a task of retrieval")
    return task, data


def _found(source: str) -> tuple[Any, str, str]:
    """The task, not loaded, with the subset and the split that are meant."""
    try:
        import mteb
        from mteb.abstasks import AbsTaskRetrieval
    except ImportError as error:
        raise MissingPartError(f"{source} needs mteb; run: pip install 'splare-plugins[mteb]'") from error
    name, *parts = source.removeprefix(MTEB_PREFIX).split("/")
    if not name or len(parts) > 2 or not all(parts):
        raise InputError(f"{source!r} is not a name of a task; give {FORM}")
    try:
        task = mteb.get_task(name)
    except KeyError as error:
        near = str(error).partition("Did you mean: '")[2].partition("'")[0]
        way_out = f"did you mean mteb:{near}?" if near else "mteb.get_tasks(task_types=['Retrieval']) lists them"
        raise InputError(f"mteb has no task {name!r}; {way_out}") from error
    metadata = task.metadata
    if not isinstance(task, AbsTaskRetrieval) or not metadata.type.endswith("Retrieval"):
        raise InputError(f"{source} is a task of {metadata.type}; give one of retrieval, such as mteb:SciFact")
    if list(metadata.modalities) != ["text"]:
        raise InputError(f"{source} searches among {', '.join(metadata.modalities)}; give a task of texts alone")
    subset = _chosen(source, "subset", parts[0] if parts else None, metadata.hf_subsets, "default")
    split = _chosen(source, "split", parts[1] if parts[1:] else None, task.eval_splits, "test", f"{name}/{subset}")
    return task, subset, split


def _chosen(source: str, what: str, named: str | None, known: Any, usual: str, start: str | None = None) -> str:
    known = list(known)
    if named in known:
        return str(named)
    if named is None and (usual in known or len(known) == 1):
        return usual if usual in known else str(known[0])
    start = start or source.removeprefix(MTEB_PREFIX).partition("/")[0]
    verb = "has several" if named is None else f"has no {what} {named!r}"
    kind = f" {what}s" if named is None else ""
    raise InputError(f"{source} {verb}{kind} ({', '.join(known)}); name one of them, such as mteb:{start}/{known[0]}")
