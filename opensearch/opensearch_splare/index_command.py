"""``splare index opensearch``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from splare_plugins.cli.index import IndexJob
from splare_plugins.cli.options import corpus_source, expand_options

Url = Annotated[
    str | None,
    typer.Option(help="The cluster, as in https://user:password@host:9200.", show_default="$OPENSEARCH_URL, or 9200"),
]


@expand_options
def opensearch(
    name: Annotated[str, typer.Option("--index", "-i", help="Name of the index.")],
    job: IndexJob,
    url: Url = None,
    store_text: Annotated[
        bool,
        typer.Option("--store-text/--no-text", help="Store titles and texts, for BM25 and hybrid search."),
    ] = True,
    store_vectors: Annotated[
        bool, typer.Option("--store-vectors", help="Keep vectors in _source, for reindexing and partial updates.")
    ] = False,
    shards: Annotated[int, typer.Option(min=1, help="Primary shards.")] = 1,
    replicas: Annotated[
        int | None, typer.Option(min=0, help="Copies of each shard.", show_default="1 if there is a second node")
    ] = None,
    analyzer: Annotated[str | None, typer.Option(help="OpenSearch's analyzer of the texts.")] = None,
    chunk_mb: Annotated[float, typer.Option(min=0.01, help="Most megabytes of one request.")] = 8,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the index of this name.")] = False,
) -> None:
    """Index into an OpenSearch cluster, with vectors made here.

    The index appears, or is replaced, when all documents are in. After an error or an interrupt the same command
    goes on: documents that are in are not written again; with --encoded they are not encoded again either.
    """
    from opensearch_splare.location import default_url

    options = {
        "run": _run(job, store_text=store_text),
        "store_text": store_text,
        "store_vectors": store_vectors,
        "shards": shards,
        "replicas": replicas,
        "analyzer": analyzer,
        "chunk_bytes": int(chunk_mb * (1 << 20)),
    }
    location = f"{(url or default_url()).rstrip('/')}/{name}"
    job.run("opensearch", location, overwrite=overwrite, **options)


def _run(job: IndexJob, *, store_text: bool) -> str:
    """What tells this run from those that would index something else under the same name."""
    from splare_plugins.corpus import source_identity
    from splare_plugins.corpus.manifest import MANIFEST_FILE, load_encoding

    folder = Path(job.corpus[0])
    if len(job.corpus) == 1 and (folder / MANIFEST_FILE).is_file():
        encoding = load_encoding(folder)
        parts = [encoding.corpus, encoding.top_k]
    else:
        parts = [
            source_identity(corpus_source(job.corpus), fields=job.fields.names),
            job.top_k,
            job.on_duplicate.value,
        ]
    return " ".join(map(str, [*parts, "text" if store_text else "no text"]))
