"""``splare index lucene``."""

from __future__ import annotations

from typing import Annotated

import typer

from splare_plugins.cli.index import IndexJob, Output
from splare_plugins.cli.options import Overwrite, expand_options


@expand_options
def lucene(
    output: Output,
    job: IndexJob,
    store_text: Annotated[bool, typer.Option("--store-text", help="Store titles and texts in the index.")] = False,
    store_vectors: Annotated[
        bool, typer.Option("--store-vectors", help="Store vectors too, which RM3 and Rocchio need.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Build a Lucene index that Pyserini and Anserini search too."""
    job.run("lucene", output, overwrite=overwrite, store_text=store_text, store_vectors=store_vectors)
