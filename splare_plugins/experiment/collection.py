"""Collections of an experiment: the bundled ones, BEIR folders, and those of ``ir_datasets`` and of mteb."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from splare_plugins.corpus import Document, Query, read_documents, read_qrels, read_queries, source_identity
from splare_plugins.corpus.irds import irds_qrels
from splare_plugins.corpus.mteb_tasks import is_mteb, mteb_language, mteb_qrels
from splare_plugins.corpus.sources import is_catalogued
from splare_plugins.errors import InputError
from splare_plugins.experiment.config import CollectionSettings

DATA = Path(__file__).resolve().parents[2] / "examples" / "data"
_FEWEST = 2
LANGUAGES = ("ar", "de", "en", "es", "ru", "zh")


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Documents, the judged queries and their judgements.

    Attributes:
        name: that of the settings.
        source: where the documents are.
        corpus: tells the documents from others.
        language: of the documents.
        queries: judged ones, in the order of their file.
        qrels: judgements; queries that have no text stay, and count as unanswered.
    """

    name: str
    source: str
    corpus: str
    language: str
    queries: list[Query]
    qrels: dict[str, dict[str, int]]

    def documents(self) -> Iterator[Document]:
        """The documents, read anew each time."""
        return read_documents(self.source)

    @property
    def asked(self) -> str:
        """Tells the queries from others."""
        digest = hashlib.sha256()
        for query in self.queries:
            digest.update(repr((query.qid, query.text, query.excluded)).encode())
        return digest.hexdigest()[:16]


def open_collection(settings: CollectionSettings, data: Path = DATA) -> Collection:
    """Read queries and judgements; documents are read when they are asked for.

    Args:
        settings: of the collection.
        data: folder of the bundled collections.

    Raises:
        InputError: if the collection is neither bundled nor has a source, or has no judged query.
    """
    source, queries, language = _places(settings, data)
    qrels = _judgements(settings, source)
    asked = [query for query in read_queries(queries) if query.qid in qrels]
    if not asked:
        raise InputError(
            f"collections: {settings.name}: none of the queries of {queries} is judged in {source}, whose judgements "
            f"are of {', '.join(list(qrels)[:3])} and so on; give the queries that these are about"
        )
    if settings.limit is not None:
        asked = asked[: settings.limit]
        qrels = {query.qid: qrels[query.qid] for query in asked}
    if len(qrels) < _FEWEST:
        raise InputError(f"collections: {settings.name} has one judged query, and tests of significance need two")
    return Collection(
        name=settings.name,
        source=source,
        corpus=source_identity(source),
        language=language,
        queries=asked,
        qrels=qrels,
    )


def _judgements(settings: CollectionSettings, source: str) -> dict[str, dict[str, int]]:
    if not is_catalogued(source):
        return read_qrels(source, split=settings.split)
    if settings.split is not None:
        raise InputError(
            f"collections: {settings.name}: split is for folders, and {source} names its part itself, as "
            "irds:beir/scifact/test and mteb:MIRACLRetrieval/de/dev do; omit split"
        )
    return mteb_qrels(source) if is_mteb(source) else irds_qrels(source)


def _places(settings: CollectionSettings, data: Path) -> tuple[str, str, str]:
    """Documents, queries, and the documents' language."""
    if settings.source is not None:
        return settings.source, settings.queries or settings.source, settings.language or _language(settings)
    if settings.name == "scifact":
        source, queries, language = data / "scifact", data / "scifact", "en"
    else:
        kind, _, pair = settings.name.partition("/")
        asking, _, language = pair.partition("-")
        if kind != "xquad" or asking not in LANGUAGES or language not in LANGUAGES:
            raise InputError(
                f"collections: {settings.name!r} is not bundled, as scifact and xquad/QUERIES-DOCUMENTS are, such as "
                f"xquad/de-en, in {', '.join(LANGUAGES)}; give it a source, a BEIR folder, irds:NAME or mteb:TASK"
            )
        source, queries = data / "xquad" / language, data / "xquad" / asking
    if not source.is_dir():
        raise InputError(f"{source} is missing; run this in a clone of the project, or name its data with --data")
    return str(source), settings.queries or str(queries), settings.language or language


def _language(settings: CollectionSettings) -> str:
    """Of the documents, where it is not stated."""
    source = settings.source
    if source is None or not is_mteb(source):
        return "en"
    if (language := mteb_language(source)) is None:
        raise InputError(
            f"collections: {settings.name}: mteb does not name one language of the documents of {source} that BM25 "
            "has an analyzer for; state it, such as language: en"
        )
    return language
