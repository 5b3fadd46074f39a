"""Where training rows come from: files, BEIR folders, ``ir_datasets``, and published sets through ``datasets``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from splare_plugins.corpus import read_documents, read_qrels, read_queries
from splare_plugins.corpus.irds import open_irds
from splare_plugins.corpus.qrels import split_qrels
from splare_plugins.corpus.sources import is_irds
from splare_plugins.errors import InputError, MissingPartError
from splare_plugins.machine.files import COMPRESSED
from splare_plugins.training.data.files import PARTS, Located, ending, file_rows
from splare_plugins.training.data.ids import TextsById
from splare_plugins.training.data.values import Lookup

PUBLIC = {
    "bge-multilingual-gemma2-data": "hanhainebula/bge-multilingual-gemma2-data",
    "ms-marco-en-bge": "lightonai/ms-marco-en-bge",
}
"""Short names of published sets with teacher scores."""

_HUB_ID = re.compile(r"[^.~/][^/]*/[^/]+")


def read_rows(
    source: str,
    *,
    subset: str | None = None,
    split: str | None = None,
    columns: Sequence[str] = (),
    queries: str | None = None,
    corpus: str | None = None,
) -> Iterator[Located]:
    """The rows of a source, one at a time.

    Args:
        source: a file as :func:`splare_plugins.training.data.files.file_rows` reads it, a folder of such parts, a BEIR
            folder, ``irds:NAME``, a hub id or one of :data:`PUBLIC`, or a folder that holds a copy of such a set with
            its README.md.
        subset: configuration of a published set; all of them if left out.
        split: of a published set, all of them if left out; of a BEIR folder, ``train`` if left out.
        columns: names of the columns of TSV or CSV files without a header.
        queries: where the texts of queries are, for files with their ids; as ``read_queries`` takes it.
        corpus: likewise for documents, as ``read_documents`` takes it.

    Raises:
        InputError: for a source that does not exist or is not known, or broken JSON.
        MissingPartError: if ``ir_datasets`` or ``datasets`` is needed and not installed.
    """
    path = Path(source)
    parts = row_files(path)
    _require_use(source, subset, split)
    if parts:

        def rows(*, again: bool) -> Iterator[Located]:
            return (row for part in parts for row in file_rows(part, columns, again=again))

        if queries is None and corpus is None:
            return rows(again=False)
        lookup = TextsById(partial(rows, again=True), queries, corpus)
        return (Located(where, row, lookup) for where, row, _ in rows(again=False))
    if columns or queries or corpus:
        raise InputError(
            f"{source} brings its columns and its texts itself; columns, queries and corpus are for files of rows"
        )
    if is_irds(source):
        return _irds_rows(source)
    if path.is_dir():
        if _is_beir(path):
            return _beir_rows(path, split or "train")
        if not (path / "README.md").is_file():
            raise InputError(f"{path} holds neither a BEIR corpus nor files that end in {', '.join(PARTS)}")
    elif not (source in PUBLIC or _HUB_ID.fullmatch(source)):
        raise InputError(
            f"{source} does not exist; training data are a file ending in {', '.join(PARTS)}, a folder, irds:NAME, a "
            f"hub id or one of {', '.join(PUBLIC)}"
        )
    return _published_rows(PUBLIC.get(source, source), subset, split)


def _require_use(source: str, subset: str | None, split: str | None) -> None:
    """Refuse the name of a part for what has no parts."""
    path = Path(source)
    if subset and (path.is_file() or is_irds(source) or _is_beir(path) or row_files(path)):
        raise InputError(f"{source} has no subsets, which published sets have; omit subset")
    if split and (path.is_file() or is_irds(source) or row_files(path)):
        raise InputError(f"{source} has no splits, which published sets and BEIR folders have; omit split")


def row_files(path: Path) -> list[Path]:
    """The files of rows that a name stands for; none for anything else."""
    if path.is_file():
        return [path]
    if not path.is_dir() or _is_beir(path) or (path / "README.md").is_file():
        return []
    return sorted(file for file in path.iterdir() if ending(file) in PARTS and not file.name.startswith("."))


def _is_beir(folder: Path) -> bool:
    return any((folder / f"corpus.jsonl{end}").is_file() for end in ("", *COMPRESSED))


def source_stamp(source: str) -> str:
    """What tells whether files on disk changed: a hash of their names, sizes and times; the name of anything else."""
    path = Path(source)
    if not path.exists():
        return source
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(stats).encode()).hexdigest()[:16]


def _beir_rows(folder: Path, split: str) -> Iterator[Located]:
    path = split_qrels(folder, split)
    qrels = read_qrels(path)
    queries = {query.qid: query.text for query in read_queries(folder)}
    wanted = {docid for judged in qrels.values() for docid in judged}
    texts = {document.docid: document.content for document in read_documents(folder) if document.docid in wanted}
    return _judged_rows(str(path), qrels, queries, texts)


def _judged_rows(
    name: str, qrels: dict[str, dict[str, int]], queries: dict[str, str], texts: dict[str, str]
) -> Iterator[Located]:
    """One row a query and relevant document; what was judged irrelevant is its negatives."""
    for qid, judged in qrels.items():
        where = f"{name}: query {qid!r}"
        if qid not in queries:
            raise InputError(f"{where} is judged but not among the queries")
        if missing := [docid for docid in judged if docid not in texts]:
            raise InputError(f"{where}: the judged document {missing[0]!r} is not in the corpus")
        negatives = [texts[docid] for docid, relevance in judged.items() if relevance <= 0]
        for docid, relevance in judged.items():
            if relevance > 0:
                row = {"query": queries[qid], "positive": texts[docid], "negatives": negatives}
                yield Located(f"{where}, document {docid!r}", row)


def _irds_rows(source: str) -> Iterator[Located]:
    dataset = open_irds(source)
    if not dataset.has_queries() or not (dataset.has_docpairs() or dataset.has_qrels()):
        raise InputError(f"{source} has no triples and no judgements; name a part to train on, such as {source}/train")
    queries = {query.query_id: query.default_text() for query in dataset.queries_iter()}
    store = dataset.docs_store()
    if not dataset.has_docpairs():
        qrels = {qid: dict(judged) for qid, judged in dataset.qrels_dict().items()}
        wanted = {docid for judged in qrels.values() for docid in judged}
        texts = {docid: document.default_text() for docid, document in store.get_many(wanted).items()}
        return _judged_rows(source, qrels, queries, texts)
    return (
        Located(
            f"{source}, triple {number}",
            {
                "query": queries[pair.query_id],
                "positive": store.get(pair.doc_id_a).default_text(),
                "negative": store.get(pair.doc_id_b).default_text(),
            },
        )
        for number, pair in enumerate(dataset.docpairs_iter(), start=1)
    )


def _published_rows(name: str, subset: str | None, split: str | None) -> Iterator[Located]:
    try:
        import datasets
    except ImportError as error:
        raise MissingPartError(
            f"{name} needs datasets; install it with: pip install 'splare-plugins[train]'"
        ) from error
    datasets.disable_progress_bars()
    try:
        subsets = datasets.get_dataset_config_names(name)
        by_ids = {"queries", "documents", "train"} <= set(subsets)
        chosen = [subset] if subset else ["train"] if by_ids else subsets
        loaded = {each: datasets.load_dataset(name, each, split=split) for each in chosen}
        lookup = _id_lookup(name) if by_ids else None
    except (OSError, ValueError, ConnectionError, datasets.exceptions.DatasetsError) as error:
        raise InputError(f"cannot read the data set {name}: {' '.join(str(error).split())}") from error
    return (
        Located(f"{name}, {each}/{part}, row {number}", row, lookup)
        for each, found in loaded.items()
        for part, rows in (found.items() if split is None else [(split, found)])
        for number, row in enumerate(rows, start=1)
    )


def _id_lookup(name: str) -> Lookup:
    """Finds texts in the subsets ``queries`` and ``documents``, which stay on disk."""
    import datasets

    tables, rows = {}, {}
    for kind, subset in (("query", "queries"), ("document", "documents")):
        table = datasets.concatenate_datasets(list(datasets.load_dataset(name, subset).values()))
        tables[kind] = table
        rows[kind] = {str(value): number for number, value in enumerate(table[f"{kind}_id"])}

    def find(kind: str, wanted: Any) -> str:
        number = rows[kind].get(str(wanted))
        if number is None:
            raise InputError(f"the data set {name} has no {kind} {wanted!r}; fetch it again")
        return str(tables[kind][number]["text"])

    return find
