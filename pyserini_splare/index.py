"""``python -m pyserini_splare.index``: a ``JsonVectorCollection`` into Lucene, with Pyserini's options.

The index is the one that ``python -m pyserini.index.lucene --impact --pretokenized`` makes, built with a fraction
of the work; documents with an empty vector are kept.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from pyserini_splare.commands import add_ignored, note_ignored, run
from splare_plugins.errors import InputError

log = logging.getLogger(__name__)

COLLECTION = "JsonVectorCollection"
_SWITCHES = "--impact --pretokenized --storePositions --storeContents --uniqueDocid --optimize --quiet --verbose"
_IMPLIED = {"--generator": "store", "--threads": "store", **dict.fromkeys(_SWITCHES.split(), "store_true")}


def main(arguments: Sequence[str] | None = None) -> None:
    """Index a collection.

    Raises:
        InputError: for a collection that cannot be used, naming file, line and id.
    """
    parser = argparse.ArgumentParser(prog="python -m pyserini_splare.index", description=__doc__)
    parser.add_argument("--collection", default=COLLECTION, help=f"only {COLLECTION}")
    parser.add_argument("--input", required=True, help="folder of .jsonl files (also .gz)")
    parser.add_argument("--index", required=True, help="folder of the index")
    parser.add_argument("--overwrite", action="store_true", help="replace the index that stands there")
    parser.add_argument("--storeRaw", action="store_true", help="keep each document's JSON")
    parser.add_argument("--storeDocvectors", action="store_true", help="keep vectors, for RM3 and Rocchio")
    parser.add_argument("--memoryBuffer", type=float, default=64.0, metavar="MB", help="postings kept in memory")
    add_ignored(parser, _IMPLIED)
    options = parser.parse_args(arguments)
    if options.collection != COLLECTION:
        raise InputError(f"--collection can only be {COLLECTION}, not {options.collection}")
    note_ignored(options, _IMPLIED, "implied, or Lucene's text indexing only")

    from pyserini_splare.vectors import read_json_vectors
    from pyserini_splare.writer import LuceneWriter
    from splare_plugins.cli.console import progress
    from splare_plugins.impacts import to_dicts

    batches = read_json_vectors(options.input)
    with (
        LuceneWriter(
            options.index,
            overwrite=options.overwrite,
            store_text=options.storeRaw,
            store_vectors=options.storeDocvectors,
            memory_buffer=options.memoryBuffer,
        ) as writer,
        progress("indexing") as advance,
    ):
        for batch in batches:
            if options.storeRaw:
                # As Anserini keeps it: the whole line.
                for document, vector in zip(batch.documents or [], to_dicts(batch.impacts), strict=True):
                    document["vector"] = vector
            writer.add(batch.docids, batch.impacts, batch.documents)
            advance(len(batch))
    log.info(
        "%s: %d documents, %d of them empty, %d impacts", options.index, writer.documents, writer.empty, writer.impacts
    )


if __name__ == "__main__":
    run(main)
