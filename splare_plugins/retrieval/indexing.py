"""From text to an index: encoding and writing overlap, and every document is accounted for."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from scipy.sparse import csr_array

from splare_plugins.config import TopK
from splare_plugins.corpus import (
    EncodedBatch,
    EncodedCounts,
    Fields,
    ReadCounts,
    read_documents,
    source_identity,
)
from splare_plugins.corpus.documents import as_queries
from splare_plugins.corpus.readers import OnDuplicate
from splare_plugins.corpus.sources import Source
from splare_plugins.engines.base import Hits, IndexWriter, Searcher
from splare_plugins.machine import Progress
from splare_plugins.machine.overlap import overlapped
from splare_plugins.machine.places import find_place
from splare_plugins.retrieval.batches import document_batches, query_impacts
from splare_plugins.retrieval.making import InThisProcess, Job
from splare_plugins.retrieval.workers import Workers
from splare_plugins.steering import Weights, steer

if TYPE_CHECKING:
    from splare_plugins.machine.places import Place
    from splare_plugins.model.encoder import Encoder

DEFAULT_PART_SIZE = 2000


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What became of a corpus; the numbers add up: ``read == indexed + duplicates + elsewhere``.

    Attributes:
        read: documents read.
        indexed: documents indexed, or encoded into shards.
        duplicates: documents skipped because their id came before.
        elsewhere: documents that belong to other shards.
        empty: documents without text, kept; of the whole corpus.
        cleaned: documents in whose text control characters became blanks; of the whole corpus.
        without_impacts: documents indexed that no query finds, because no latent is active.
        truncated: documents longer than the model's limit; their beginning is indexed.
        clipped_documents: documents with a weight above the top of the quantiser's scale.
        clipped_weights: such weights.
        dropped_weights: weights that rounded to 0.
    """

    read: int
    indexed: int
    duplicates: int = 0
    elsewhere: int = 0
    empty: int = 0
    cleaned: int = 0
    without_impacts: int = 0
    truncated: int = 0
    clipped_documents: int = 0
    clipped_weights: int = 0
    dropped_weights: int = 0

    def __post_init__(self) -> None:
        if self.read != self.indexed + self.duplicates + self.elsewhere:
            raise RuntimeError(f"documents were lost or made up: {self}")

    @classmethod
    def of(cls, read: ReadCounts, encoded: EncodedCounts, *, elsewhere: int = 0) -> Summary:
        """Put together what the reader and the encoder counted."""
        values = dataclasses.asdict(encoded)
        indexed = values.pop("documents")
        return cls(indexed=indexed, elsewhere=elsewhere, **dataclasses.asdict(read), **values)

    def to_dict(self) -> dict[str, int]:
        """The counts by name."""
        return dataclasses.asdict(self)


def index(
    batches: Iterable[EncodedBatch],
    writer: IndexWriter,
    *,
    counts: ReadCounts,
    distinct: bool = False,
    on_progress: Progress | None = None,
    ahead: int = 2,
) -> Summary:
    """Feed batches to a writer while a worker thread makes the next ones.

    The writer is called from the calling thread only (Java needs that). Whatever either side raises ends both, and
    comes out here; so does an interrupt, which leaves a batch that is being encoded to end on its own.

    Args:
        batches: from :func:`document_batches` or ``EncodedFolder.batches``.
        writer: open; the caller's ``with`` block publishes the index after this returns.
        counts: filled by the reader while ``batches`` is consumed, or those of an ``EncodedFolder``.
        distinct: no id comes twice, as in what ``read_documents`` and ``EncodedFolder`` give; then the writer keeps no
            record of ids, which would be the second one.
        on_progress: called with the number of documents just written.
        ahead: batches that may wait for the writer.
    """
    encoded = EncodedCounts()
    if distinct:
        writer.trust_ids()
    with closing(overlapped(batches, ahead=ahead)) as stream:
        for batch in stream:
            writer.add(batch.docids, batch.impacts, batch.documents)
            encoded += EncodedCounts.of(batch)
            if on_progress is not None:
                on_progress(len(batch))
    return Summary.of(counts, encoded)


def encode_shard(
    model: Encoder | Workers,
    source: Source,
    folder: str | Place,
    *,
    shard: int = 1,
    shards: int = 1,
    part_size: int = DEFAULT_PART_SIZE,
    top_k: TopK = "model",
    store_text: bool = False,
    on_duplicate: OnDuplicate = "error",
    fields: Fields | None = None,
    on_progress: Progress | None = None,
) -> Summary:
    """Encode one shard of a corpus into a folder of Parquet parts; what is finished is not done again.

    Args:
        model: a model whose quantiser is calibrated, or workers that have loaded one, such as
            :func:`splare_plugins.retrieval.processes.local_workers`; the files are the same.
        source: the corpus, as for ``read_documents``.
        folder: shared by all shards; or an address on another file system, such as ``s3://bucket/encoded``.
        shard: number of this shard, from 1.
        shards: number of shards.
        part_size: documents of a part.
        top_k: latents kept of a document; ``None`` keeps all.
        store_text: keep titles and texts in the parts.
        on_duplicate: as for ``read_documents``.
        fields: as for ``read_documents``.
        on_progress: called with the number of documents just encoded or found finished.

    Raises:
        InputError: for a corpus that cannot be read, or a folder begun with other settings.
        IdentityError: for a folder begun with another model.
        SplareError: if workers died again and again.
    """
    from splare_plugins.corpus import Encoding, write_shard
    from splare_plugins.corpus.manifest import MANIFEST_FILE

    counts = ReadCounts()
    documents = read_documents(source, on_duplicate=on_duplicate, counts=counts, fields=fields)
    folder = find_place(folder)
    if not (folder / MANIFEST_FILE).exists():
        # What refuses the corpus at once must not leave a folder that holds its settings against the next try.
        documents = chain(list(islice(documents, 1)), documents)
    encoding = Encoding(
        config=model.config,
        top_k=model.config.document.top_k if top_k == "model" else top_k,
        part_size=part_size,
        shards=shards,
        store_text=store_text,
        corpus=source_identity(source, fields=fields),
        source=shlex.join([str(source)] if isinstance(source, str | Path) else map(str, source)),
        reading=(
            *(fields.options() if fields else ()),
            *(() if on_duplicate == "error" else ("--on-duplicate", on_duplicate)),
        ),
    )
    job, makers = Job(top_k, store_text), model if isinstance(model, Workers) else InThisProcess(model)
    record = write_shard(
        folder,
        encoding,
        shard,
        documents,
        lambda tasks: makers.make(tasks, job, on_progress),
        counts=counts,
        on_finished=on_progress,
    )
    return Summary.of(record.read, record.encoded, elsewhere=record.documents - record.encoded.documents)


def search_queries(
    searcher: Searcher,
    qids: Sequence[str],
    impacts: csr_array,
    k: int,
    *,
    weights: Weights | None = None,
    batch_size: int = 256,
    on_progress: Progress | None = None,
) -> dict[str, Hits]:
    """Answer queries in batches; a query without hits is in the result with none.

    Args:
        searcher: an open index.
        qids: unique ids, one per row.
        impacts: int32, shape ``(len(qids), width)``.
        k: most documents per query.
        weights: changes to latents of all queries; see :func:`splare_plugins.steering.steer`.
        batch_size: queries handed to the engine together.
        on_progress: called with the number of queries just answered.
    """
    run: dict[str, Hits] = {}
    impacts = steer(impacts, weights)
    for start in range(0, len(qids), batch_size):
        batch = qids[start : start + batch_size]
        run.update(zip(batch, searcher.search(impacts[start : start + batch_size], k), strict=True))
        if on_progress is not None:
            on_progress(len(batch))
    return run


def without_left_out(
    run: Mapping[str, Hits], queries: Iterable[tuple[str, str]], k: int, *, remove_query: bool = False
) -> dict[str, Hits]:
    """The best ``k`` hits of each query without the documents that must not answer it.

    Args:
        run: from :func:`search_queries`, with :func:`most_left_out` more hits than ``k``.
        queries: those of the run; what each excludes is left out, which a plain pair of id and text does not.
        k: most documents per query.
        remove_query: leave out the document that has the query's id, where queries are documents (ArguAna, Quora).
    """
    best = {}
    for query in as_queries(queries):
        out = {*query.excluded, *([query.qid] if remove_query else [])}
        docids, scores = run[query.qid]
        kept = [place for place, docid in enumerate(docids) if docid not in out][:k]
        best[query.qid] = Hits([docids[place] for place in kept], scores[kept])
    return best


def most_left_out(queries: Iterable[tuple[str, str]], *, remove_query: bool = False) -> int:
    """How many hits of a query :func:`without_left_out` may take away."""
    return max((len(query.excluded) for query in as_queries(queries)), default=0) + remove_query


# Their former names, which programs import; an encoder has methods of the same names that give float weights.
encode_documents, encode_queries = document_batches, query_impacts
