"""``splare index opensearch``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from splare_plugins.cli.index import IndexJob
from splare_plugins.cli.options import (
    DEFAULT_MODEL,
    corpus_source,
    expand_options,
    load_model,
    parse_shard,
    parse_top_k,
)
from splare_plugins.errors import InputError
from splare_plugins.machine.places import without_password

if TYPE_CHECKING:  # the client
    from opensearch_splare.generations import Swap
    from splare_plugins.corpus import Encoding

_SWAPPED = {
    "published": "replaced_by",
    "carried": "taken_over",
    "kept": "previous_kept",
    "removed": "previous_removed",
}

Url = Annotated[
    str | None,
    typer.Option(
        help="The cluster, as in https://user:password@host:9200; several nodes with commas.",
        show_default="$OPENSEARCH_URL, or 9200",
    ),
]
CaCerts = Annotated[
    Path | None,
    typer.Option(help="PEM file of certificates to trust.", show_default="$OPENSEARCH_CA_CERTS, or the usual ones"),
]
AwsRegion = Annotated[
    str | None,
    typer.Option(
        help="Sign requests for AWS in this region, with the credentials of AWS' own tools.",
        show_default="$OPENSEARCH_AWS_REGION",
    ),
]


@expand_options
def opensearch(
    name: Annotated[str, typer.Option("--index", "-i", help="Name of the index.")],
    job: IndexJob,
    url: Url = None,
    store_text: Annotated[
        bool | None,
        typer.Option(
            "--store-text/--no-text",
            help="Store titles and texts, for BM25 and hybrid search.",
            show_default="--store-text, unless an encoded corpus has none",
        ),
    ] = None,
    store_vectors: Annotated[
        bool | None,
        typer.Option(
            "--store-vectors/--no-vectors",
            help="Keep vectors in _source, for reindexing and partial updates.",
            show_default="as the replaced index, or not",
        ),
    ] = None,
    shards: Annotated[
        int | None, typer.Option(min=1, help="Primary shards.", show_default="as the replaced index, or 1")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            help="i/n: load share i of n, while others load theirs into the same index; the last one publishes it.",
            show_default="all, alone",
        ),
    ] = None,
    replicas: Annotated[
        int | None,
        typer.Option(
            min=0, help="Copies of each shard.", show_default="as the replaced index, or 1 if there is a second node"
        ),
    ] = None,
    analyzer: Annotated[
        str | None, typer.Option(help="OpenSearch's analyzer of the texts.", show_default="as the replaced index")
    ] = None,
    chunk_mb: Annotated[float, typer.Option(min=0.01, help="Most megabytes of one request.")] = 8,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace the index of this name; its aliases, settings and other fields are taken over.",
        ),
    ] = False,
    keep_previous: Annotated[
        bool, typer.Option("--keep-previous/--drop-previous", help="Keep what was replaced, or delete it.")
    ] = True,
    ca_certs: CaCerts = None,
    aws_region: AwsRegion = None,
) -> None:
    """Index into an OpenSearch cluster, with vectors made here.

    The index appears, or is replaced, when all documents are in. After an error or an interrupt the same command
    goes on: documents that are in are not written again; with --encoded they are not encoded again either. Several
    machines fill one index with --shard.
    """
    from opensearch_splare.location import default_url
    from splare_plugins.cli.console import report

    swaps: list[Swap] = []
    encoding = _encoding(job)
    if store_text is None:
        store_text = encoding is None or encoding.store_text
    kind = {"store_vectors": store_vectors, "shards": shards, "replicas": replicas, "analyzer": analyzer}
    run = _run(job, encoding, store_text=store_text)
    options: dict[str, Any] = {
        "connection": {"ca_certs": ca_certs, "aws_region": aws_region},
        "keep_previous": keep_previous,
        "on_swap": swaps.append,
        "store_text": store_text,
        **kind,
        "chunk_bytes": int(chunk_mb * (1 << 20)),
    }
    location = f"{(url or default_url()).rstrip('/')}/{name}"
    done = f"indexed into {without_password(location)}"
    if shard is None:
        summary = job.index_into("opensearch", location, overwrite=overwrite, run=run, **options)
        facts: dict[str, Any] = summary.to_dict()
    else:
        run = " ".join([run, "shared", *(f"{key}={value}" for key, value in kind.items())])
        facts = _load_share(job, location, shard, overwrite=overwrite, run=run, **options)
        if not facts["complete"]:
            done = f"share {shard} is in {without_password(location)}, which is complete with {facts['waits_for']}"
    for swap in swaps:
        for what, names in swap._asdict().items():
            facts[_SWAPPED[what]] = names if job.as_json or isinstance(names, str) else ", ".join(names) or None
    report(done, facts, as_json=job.as_json)


def _load_share(job: IndexJob, location: str, shard: str, *, overwrite: bool, **options: Any) -> dict[str, Any]:
    """Load one share of a corpus; what became of it."""
    from opensearch_splare.shares import EncodedShare, Share, TextShare
    from opensearch_splare.sharing import load_share
    from splare_plugins.cli.console import progress
    from splare_plugins.corpus import ReadCounts, read_documents
    from splare_plugins.retrieval.batches import document_batches

    number, count = parse_shard(shard)
    if job.encoded is not None:
        raise InputError(
            "--encoded and --shard do not go together: encode with splare encode --shard, and give that folder to "
            "splare index opensearch --shard"
        )
    kept: dict[str, Any] = {"top_k": parse_top_k(job.top_k), "store_text": options["store_text"]}
    folder = job.encoded_before(kept)
    share: Share
    if folder is not None:
        config, share = folder.config, EncodedShare(folder, shard=number, shards=count)
    else:
        model, read = load_model(job.model or DEFAULT_MODEL, job.loading), ReadCounts()
        documents = read_documents(
            corpus_source(job.corpus), on_duplicate=job.on_duplicate.value, counts=read, fields=job.fields.names
        )
        config, encode = model.config.with_documents_cut(kept["top_k"]), partial(document_batches, model, **kept)
        share = TextShare(documents, encode, read=read, shard=number, shards=count, source=" ".join(job.corpus))
    with progress("indexing") as advance:
        outcome = load_share(location, config, share, overwrite=overwrite, on_progress=advance, **options)
    waiting = share.waiting(outcome.missing)
    return {
        **(outcome.summary.to_dict() if outcome.summary else {}),
        "complete": outcome.published,
        "waits_for": waiting if job.as_json else ", ".join(waiting) or None,
    }


def _encoding(job: IndexJob) -> Encoding | None:
    """Of a corpus that was encoded before."""
    from splare_plugins.corpus.manifest import MANIFEST_FILE, load_encoding
    from splare_plugins.machine.places import find_place, is_address

    if len(job.corpus) > 1 or not (is_address(job.corpus[0]) or (Path(job.corpus[0]) / MANIFEST_FILE).is_file()):
        return None
    return load_encoding(find_place(job.corpus[0]))


def _run(job: IndexJob, encoding: Encoding | None, *, store_text: bool) -> str:
    """What tells this run from those that would index something else under the same name."""
    from splare_plugins.corpus import source_identity

    if encoding is not None:
        parts = [encoding.corpus, encoding.top_k]
    else:
        parts = [
            source_identity(corpus_source(job.corpus), fields=job.fields.names),
            job.top_k,
            job.on_duplicate.value,
        ]
    return " ".join(map(str, [*parts, "text" if store_text else "no text"]))
