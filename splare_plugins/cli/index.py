"""``splare index``: text, or an encoded corpus, into a search engine.

Each engine's command lives with its adapter and joins through the entry point group ``splare_plugins.cli.index``;
it is made of :func:`index_verb`, or of the options and the :class:`IndexSource` below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from splare_plugins.cli.options import (
    DEFAULT_MODEL,
    USUAL,
    Duplicates,
    Json,
    Loading,
    OnDuplicateOption,
    Overwrite,
    TopKOption,
    loading_options,
)
from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from splare_plugins.corpus import EncodedFolder
    from splare_plugins.retrieval.indexing import Summary

index = typer.Typer(help="Build an index from text or from an encoded corpus.", no_args_is_help=True)

Corpus = Annotated[
    list[str],
    typer.Argument(help="BEIR folder, JSONL or TSV files (also .gz), irds:NAME, or a folder made by `splare encode`."),
]
EncodingModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-M",
        help="Built-in name, model folder or hub id; an encoded corpus must have been made with it.",
        show_default=DEFAULT_MODEL,
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the index.")]
Encoded = Annotated[
    Path | None,
    typer.Option(help="Keep the encoded corpus in this folder, so that a killed run goes on where it stopped."),
]


def index_verb(engine: str, about: str) -> Callable[..., None]:
    """The command of an engine without options of its own.

    Args:
        engine: its registered name.
        about: the command's help.
    """

    @loading_options
    def verb(
        corpus: Corpus,
        output: Output,
        model: EncodingModel = None,
        encoded: Encoded = None,
        top_k: TopKOption = "model",
        on_duplicate: OnDuplicateOption = Duplicates.error,
        overwrite: Overwrite = False,
        as_json: Json = False,
        loading: Loading = USUAL,
    ) -> None:
        source = IndexSource(
            corpus=corpus, model=model, loading=loading, encoded=encoded, top_k=top_k, on_duplicate=on_duplicate
        )
        report_index(source.index_into(engine, output, overwrite=overwrite), output, as_json=as_json)

    verb.__doc__ = about
    return verb


@dataclass(frozen=True, kw_only=True)
class IndexSource:
    """Where impacts come from: text and a model, or a corpus that was encoded before."""

    corpus: list[str]
    model: str | None
    loading: Loading | str
    """Or just a device."""
    encoded: Path | None
    top_k: str
    on_duplicate: Duplicates
    store_text: bool = False

    def index_into(self, engine: str, output: Path | str, *, overwrite: bool, **options: Any) -> Summary:
        """Build the index of ``engine`` at ``output``, with the ``options`` of the engine's own writer."""
        from splare_plugins.cli.console import progress
        from splare_plugins.cli.options import load_model, parse_top_k
        from splare_plugins.corpus import ReadCounts, read_documents
        from splare_plugins.engines import get_engine
        from splare_plugins.retrieval.indexing import encode_documents, index

        top_k = parse_top_k(self.top_k)
        maker = get_engine(engine)
        if (ready := self._encoded_folder()) is not None:
            writing = maker.writer(str(output), ready.config, overwrite=overwrite, **options)
            with writing as writer, progress("indexing", ready.num_docs) as advance:
                return index(ready.batches(), writer, counts=ready.read, on_progress=advance)
        loaded = load_model(self.model or DEFAULT_MODEL, self.loading)
        counts = ReadCounts()
        documents = read_documents(self._paths(), on_duplicate=self.on_duplicate.value, counts=counts)
        writing = maker.writer(str(output), loaded.config, overwrite=overwrite, **options)
        with writing as writer, progress("encoding and indexing") as advance:
            batches = encode_documents(loaded, documents, top_k=top_k, store_text=self.store_text, on_progress=advance)
            return index(batches, writer, counts=counts)

    def _encoded_folder(self) -> EncodedFolder | None:
        """The encoded corpus, made first where ``--encoded`` asks for it."""
        from splare_plugins.corpus import EncodedFolder
        from splare_plugins.corpus.manifest import MANIFEST_FILE
        from splare_plugins.model.describe import describe_model

        given = Path(self.corpus[0])
        if len(self.corpus) == 1 and (given / MANIFEST_FILE).is_file():
            if self.encoded is not None:
                raise InputError(f"{given} is encoded already; omit --encoded")
            ready = EncodedFolder(given)
            if self.model is not None:
                describe_model(self.model).config.require_same_index(ready.config, f"{given}")
            return ready
        if self.encoded is None:
            return None
        from splare_plugins.cli.console import progress
        from splare_plugins.cli.options import load_model, parse_top_k
        from splare_plugins.retrieval.indexing import encode_shard

        loaded = load_model(self.model or DEFAULT_MODEL, self.loading)
        with progress("encoding") as advance:
            encode_shard(
                loaded,
                self._paths(),
                self.encoded,
                top_k=parse_top_k(self.top_k),
                store_text=self.store_text,
                on_duplicate=self.on_duplicate.value,
                on_progress=advance,
            )
        return EncodedFolder(self.encoded)

    def _paths(self) -> str | list[Path]:
        return self.corpus[0] if len(self.corpus) == 1 else [Path(name) for name in self.corpus]


def report_index(summary: Summary, output: Path | str, *, as_json: bool) -> None:
    """Print what was indexed into ``output``."""
    from splare_plugins.cli.console import report

    report(f"indexed into {output}", summary.to_dict(), as_json=as_json)


index.command("memory")(index_verb("memory", "Build an index for the exact in-memory engine, which needs no Java."))
