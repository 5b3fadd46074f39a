"""``splare index pisa``, ``terrier``, ``anserini`` and ``seismic``."""

from __future__ import annotations

from typing import Annotated

import typer

from splare_plugins.cli.index import Corpus, Encoded, EncodingModel, IndexSource, Output, index_verb, report_index
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
def pisa(
    corpus: Corpus,
    output: Output,
    model: EncodingModel = None,
    encoded: Encoded = None,
    top_k: TopKOption = "model",
    encoding: Annotated[str, typer.Option(help="How PISA compresses its lists.")] = "block_simdbp",
    on_duplicate: OnDuplicateOption = Duplicates.error,
    overwrite: Overwrite = False,
    as_json: Json = False,
    loading: Loading = USUAL,
) -> None:
    """Build a PISA index for PyTerrier; exact, no Java."""
    source = IndexSource(
        corpus=corpus, model=model, loading=loading, encoded=encoded, top_k=top_k, on_duplicate=on_duplicate
    )
    report_index(source.index_into("pisa", output, overwrite=overwrite, encoding=encoding), output, as_json=as_json)


terrier = index_verb("terrier", "Build a Terrier index for PyTerrier; exact, needs Java.")
anserini = index_verb("anserini", "Build a Lucene index for PyTerrier, Pyserini and Anserini; exact, needs Java.")
seismic = index_verb(
    "seismic",
    "Build a Seismic index for PyTerrier; approximate and fast, or exact when searched exhaustively; no Java.",
)
