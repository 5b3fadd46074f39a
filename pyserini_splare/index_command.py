"""``splare index lucene``."""

from __future__ import annotations

from typing import Annotated

import typer

from splare_plugins.cli.index import Corpus, Encoded, EncodingModel, IndexSource, Output, report_index
from splare_plugins.cli.options import (
    USUAL,
    Duplicates,
    Json,
    Loading,
    OnDuplicateOption,
    Overwrite,
    TopKOption,
    loading_options,
)


@loading_options
def lucene(
    corpus: Corpus,
    output: Output,
    model: EncodingModel = None,
    encoded: Encoded = None,
    top_k: TopKOption = "model",
    store_text: Annotated[bool, typer.Option("--store-text", help="Store titles and texts in the index.")] = False,
    store_vectors: Annotated[
        bool, typer.Option("--store-vectors", help="Store vectors too, which RM3 and Rocchio need.")
    ] = False,
    on_duplicate: OnDuplicateOption = Duplicates.error,
    overwrite: Overwrite = False,
    as_json: Json = False,
    loading: Loading = USUAL,
) -> None:
    """Build a Lucene index that Pyserini and Anserini search too."""
    source = IndexSource(
        corpus=corpus,
        model=model,
        loading=loading,
        encoded=encoded,
        top_k=top_k,
        store_text=store_text,
        on_duplicate=on_duplicate,
    )
    summary = source.index_into(
        "lucene", output, overwrite=overwrite, store_text=store_text, store_vectors=store_vectors
    )
    report_index(summary, output, as_json=as_json)
