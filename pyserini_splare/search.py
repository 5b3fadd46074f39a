"""``python -m pyserini_splare.search``: topics against an impact index, with Pyserini's options.

Unlike ``python -m pyserini.search.lucene --impact`` it knows the model that made the index, encodes queries in batches
on the device at hand, and keeps latents that occur in every document unless ``--min-idf`` says otherwise.
"""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyserini_splare.commands import add_ignored, note_ignored, run
from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from pyserini_splare.searcher import LuceneSearcher
    from splare_plugins.corpus import Query
    from splare_plugins.engines.base import Hits
    from splare_plugins.steering import Weights

log = logging.getLogger(__name__)

_IMPLIED = {"--impact": "store_true", "--threads": "store", "--topics-format": "store"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Search an index and write a run.

    Raises:
        InputError: for topics or an index that cannot be used.
        IdentityError: if the index was made with another model.
    """
    options = _parse(arguments)
    note_ignored(options, _IMPLIED, "implied; queries are encoded and answered in batches")

    from pyserini_splare.searcher import LuceneSearcher
    from splare_plugins.cli.console import progress
    from splare_plugins.corpus import Fields, ReadCounts, read_queries, write_run
    from splare_plugins.machine.folders import require_no_input
    from splare_plugins.retrieval.indexing import without_left_out
    from splare_plugins.steering import parse_steering

    require_no_input(Path(options.output), options.topics)
    steering = parse_steering(options.steer)
    counts = ReadCounts()
    fields = Fields(text=options.topics_field, flags={"text": "--topics-field"})
    queries = read_queries(options.topics, counts=counts, fields=fields)
    with LuceneSearcher(options.index) as searcher:
        weights = _steered(_weights(options, queries, searcher), steering, searcher)
        found: dict[str, Hits] = {}
        with progress("searching", len(queries)) as advance:
            for start in range(0, len(queries), options.batch_size):
                part = slice(start, start + options.batch_size)
                qids = [query.qid for query in queries[part]]
                found.update(zip(qids, _answers(options, searcher, queries, weights[part]), strict=True))
                advance(len(qids))
    found = without_left_out(found, queries, options.hits, remove_query=options.remove_query)
    if options.output_format == "trec":
        write_run(options.output, found)
    else:
        _write_msmarco(Path(options.output), found)
    log.info(
        "%s: %d queries, %d of them blank, %d without hits",
        options.output,
        len(found),
        counts.empty,
        sum(not hits.docids for hits in found.values()),
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pyserini_splare.search", description=__doc__)
    parser.add_argument("--index", required=True, help="folder of the index")
    parser.add_argument(
        "--topics", required=True, help="queries: TSV, JSONL, topics of TREC, BEIR folder, irds:NAME, mteb:TASK"
    )
    parser.add_argument("--topics-field", help="field of the topics, such as title or description")
    parser.add_argument(
        "--encoder",
        "--model",
        help="SPLARE model, or a file of queries encoded beforehand; by default the model that made the index",
    )
    parser.add_argument(
        "--query-encoder",
        default="model",
        help="full: the model; static: its table of tokens, without a transformer; the folder of such a table; or as "
        "the model says",
    )
    parser.add_argument("--output", required=True, help="run to write")
    parser.add_argument("--output-format", choices=["trec", "msmarco"], default="trec")
    parser.add_argument("--hits", type=int, default=1000, help="documents a query")
    parser.add_argument("--batch-size", type=int, default=64, help="queries encoded together")
    parser.add_argument("--min-idf", type=float, help="leave out latents with ln(N / df) up to this; none by default")
    parser.add_argument(
        "--steer",
        default="",
        help="change latents of all queries: f7336=0 switches one off, f2499=2 doubles it, f12=@80 puts it in with "
        "that impact; parted by commas",
    )
    parser.add_argument("--remove-query", action="store_true", help="leave out the document with the query's id")
    parser.add_argument("--rm3", action="store_true", help="extend queries by RM3")
    parser.add_argument("--rocchio", action="store_true", help="extend queries by Rocchio")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:0, mps")
    parser.add_argument("--runtime", default="auto", help="what computes on a processor: auto, torch, openvino")
    add_ignored(parser, _IMPLIED)
    options = parser.parse_args(arguments)
    if options.rm3 and options.rocchio:
        parser.error("--rm3 and --rocchio exclude each other")
    if options.batch_size < 1 or options.hits < 1:
        parser.error("--batch-size and --hits must be at least 1")
    return options


def _weights(
    options: argparse.Namespace, queries: Sequence[Query], searcher: LuceneSearcher
) -> list[dict[str, float]]:
    """Each query as terms with weights."""
    if options.encoder is not None and Path(options.encoder).is_file():
        weights = _encoded_beforehand(Path(options.encoder), queries)
    else:
        weights = _encoded(options, queries, searcher)
    if options.min_idf is None:
        return weights
    least, documents = options.min_idf, searcher.num_docs
    return [
        {
            term: weight
            for term, weight in query.items()
            if (frequency := searcher.document_frequency(term)) and math.log(documents / frequency) > least
        }
        for query in weights
    ]


def _steered(queries: list[dict[str, float]], steering: Weights, searcher: LuceneSearcher) -> list[dict[str, float]]:
    """The queries with some of their latents changed, which is the last thing that happens to them."""
    if not steering:
        return queries
    from splare_plugins.impacts import from_dicts, latent_id, to_dicts
    from splare_plugins.steering import steer, without_effect

    # What weighs nothing is not asked for anyway.
    rows = [{term: weight for term, weight in query.items() if weight > 0} for query in queries]
    width = searcher.config.width if searcher.config else 1 + max(map(latent_id, {*steering}.union(*rows)))
    floats = not all(isinstance(weight, int) for row in rows for weight in row.values())
    impacts = from_dicts(rows, width, floats=floats)
    if idle := without_effect(impacts, steering):
        log.warning(
            "no query has %s, so this part of --steer changes nothing; @80 would put a latent in", ", ".join(idle)
        )
    return [dict(query) for query in to_dicts(steer(impacts, steering))]


def _encoded(
    options: argparse.Namespace, queries: Sequence[Query], searcher: LuceneSearcher
) -> list[dict[str, float]]:
    from splare_plugins.cli.index_model import load_query_encoder
    from splare_plugins.cli.options import Loading
    from splare_plugins.impacts import to_dicts
    from splare_plugins.retrieval.indexing import query_impacts

    loading = Loading(device=options.device, runtime=options.runtime)
    what = f"the index {searcher.location}"
    model = load_query_encoder(searcher.config, options.encoder, options.query_encoder, loading, what)
    cut: list[int] = []
    weights: list[dict[str, float]] = []
    for start in range(0, len(queries), options.batch_size):
        impacts = query_impacts(model, queries[start : start + options.batch_size], on_truncated=cut.append)
        weights += [dict(query) for query in to_dicts(impacts)]
    if sum(cut):
        log.info("%d queries are longer than the model reads; their beginning is searched for", sum(cut))
    return weights


def _encoded_beforehand(path: Path, queries: Sequence[Query]) -> list[dict[str, float]]:
    from splare_plugins.machine.files import read_jsonl

    known = {}
    for where, record in read_jsonl(path):
        contents, vector = record.get("contents"), record.get("vector")
        if not isinstance(contents, str) or not isinstance(vector, dict):
            raise InputError(f'{where} must have "contents" and "vector": a text and an object of weights')
        known[contents.strip()] = vector
    for query in queries:
        if query.text.strip() not in known:
            raise InputError(f"{path} has no vector for the query {query.qid!r}, {query.text[:60]!r}")
    return [known[query.text.strip()] for query in queries]


def _answers(
    options: argparse.Namespace,
    searcher: LuceneSearcher,
    queries: Sequence[Query],
    weights: Sequence[dict[str, float]],
) -> list[Hits]:
    from splare_plugins.retrieval.indexing import most_left_out

    # More, since what must not answer may be among them.
    k = options.hits + most_left_out(queries, remove_query=options.remove_query)
    if options.rm3 or options.rocchio:
        from pyserini_splare.expansion import rm3, rocchio

        return (rm3 if options.rm3 else rocchio)(searcher, weights, k)
    return searcher.search_dicts(weights, k)


def _write_msmarco(path: Path, found: dict[str, Hits]) -> None:
    from splare_plugins.machine.files import replacing

    with replacing(path) as place, place.open("w", encoding="utf-8", newline="\n") as stream:
        for qid, hits in found.items():
            for rank, docid in enumerate(hits.docids, start=1):
                stream.write(f"{qid}\t{docid}\t{rank}\n")


if __name__ == "__main__":
    run(main)
