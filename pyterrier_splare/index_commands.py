"""``splare index pisa``, ``terrier``, ``anserini`` and ``seismic``."""

from __future__ import annotations

from typing import Annotated

import typer

from splare_plugins.cli.index import IndexJob, Output, index_verb
from splare_plugins.cli.options import Overwrite, expand_options


@expand_options
def pisa(
    output: Output,
    job: IndexJob,
    encoding: Annotated[str, typer.Option(help="How PISA compresses its lists.")] = "block_simdbp",
    overwrite: Overwrite = False,
) -> None:
    """Build a PISA index for PyTerrier; exact, no Java."""
    job.run("pisa", output, overwrite=overwrite, encoding=encoding)


terrier = index_verb("terrier", "Build a Terrier index for PyTerrier; exact, needs Java.")
anserini = index_verb("anserini", "Build a Lucene index for PyTerrier, Pyserini and Anserini; exact, needs Java.")
seismic = index_verb(
    "seismic",
    "Build a Seismic index for PyTerrier; approximate and fast, or exact when searched exhaustively; no Java.",
)
