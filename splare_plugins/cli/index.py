"""``splare index``: text, or an encoded corpus, into a search engine.

Each engine's command lives with its adapter and joins through the entry point group ``splare_plugins.cli.index``;
it is made of :func:`index_verb`, or of the :class:`IndexJob` below and options of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from splare_plugins.cli.options import (
    DEFAULT_MODEL,
    DocumentFields,
    Duplicates,
    Json,
    Loading,
    OnDuplicateOption,
    Overwrite,
    TopKOption,
    corpus_source,
    expand_options,
    load_model,
    parse_top_k,
)
from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from splare_plugins.corpus import EncodedFolder
    from splare_plugins.retrieval.indexing import Summary

index = typer.Typer(help="Build an index from text or from an encoded corpus.", no_args_is_help=True)

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the index.")]


@dataclass(frozen=True, kw_only=True)
class IndexJob:
    """Text and a model, or a corpus that was encoded before, into an index; the fields are the options."""

    corpus: Annotated[
        list[str],
        typer.Argument(
            help="BEIR folder; JSONL, TSV, CSV, Parquet; irds:NAME, mteb:TASK; what `splare encode` made, S3 too."
        ),
    ]
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-M",
            help="Built-in name, model folder or hub id; an encoded corpus must have been made with it.",
            show_default=DEFAULT_MODEL,
        ),
    ] = None
    encoded: Annotated[
        str | None,
        typer.Option(help="Keep the encoded corpus in this folder, so that a killed run goes on where it stopped."),
    ] = None
    top_k: TopKOption = "model"
    on_duplicate: OnDuplicateOption = Duplicates.error
    as_json: Json = False
    fields: DocumentFields
    loading: Loading

    def run(self, engine: str, output: Path | str, *, overwrite: bool, **options: Any) -> None:
        """Build the index of ``engine`` at ``output``, with the ``options`` of its writer, and report."""
        from splare_plugins.cli.console import report

        summary = self.index_into(engine, output, overwrite=overwrite, **options)
        report(f"indexed into {output}", summary.to_dict(), as_json=self.as_json)

    def index_into(self, engine: str, output: Path | str, *, overwrite: bool, **options: Any) -> Summary:
        """Likewise, without a report."""
        from splare_plugins.cli.console import progress
        from splare_plugins.corpus import EncodedFolder, ReadCounts, read_documents
        from splare_plugins.engines import get_engine
        from splare_plugins.machine.folders import require_elsewhere
        from splare_plugins.retrieval.indexing import document_batches, encode_shard
        from splare_plugins.retrieval.indexing import index as fill

        if not str(output).startswith(("http://", "https://")):
            require_elsewhere(Path(output))
        maker, source = get_engine(engine), corpus_source(self.corpus)
        kept: dict[str, Any] = {"top_k": parse_top_k(self.top_k), "store_text": options.get("store_text", False)}
        ready = self.encoded_before(kept)
        if ready is None:
            model = load_model(self.model or DEFAULT_MODEL, self.loading)
            if self.encoded is not None:
                kept |= {"on_duplicate": self.on_duplicate.value, "fields": self.fields.names}
                with progress("encoding") as advance:
                    encode_shard(model, source, self.encoded, **kept, on_progress=advance)
                ready = EncodedFolder(self.encoded)
        if ready is not None:
            writing = maker.writer(str(output), ready.config, overwrite=overwrite, **options)
            with writing as writer, progress("indexing", ready.num_docs) as advance:
                summary = fill(ready.batches(), writer, counts=ready.read, distinct=True, on_progress=advance)
        else:
            counts = ReadCounts()
            documents = read_documents(
                source, on_duplicate=self.on_duplicate.value, counts=counts, fields=self.fields.names
            )
            config = model.config.with_documents_cut(kept["top_k"])
            writing = maker.writer(str(output), config, overwrite=overwrite, **options)
            with writing as writer, progress("encoding and indexing") as advance:
                batches = document_batches(model, documents, **kept, on_progress=advance)
                summary = fill(batches, writer, counts=counts, distinct=True)
                if not summary.read:
                    raise InputError(f"{' '.join(self.corpus)} holds no document")
        return summary

    def encoded_before(self, asked: dict[str, Any]) -> EncodedFolder | None:
        """The corpus that was encoded before, if that is what was given; what it cannot follow any more is refused."""
        from splare_plugins.corpus import EncodedFolder
        from splare_plugins.corpus.manifest import MANIFEST_FILE
        from splare_plugins.machine.places import find_place, is_address
        from splare_plugins.model.describe import describe_model

        if len(self.corpus) > 1 or not (
            is_address(self.corpus[0]) or (Path(self.corpus[0]) / MANIFEST_FILE).is_file()
        ):
            return None
        given = find_place(self.corpus[0])
        late = {
            "--encoded": self.encoded is not None,
            "--on-duplicate": self.on_duplicate is not Duplicates.error,
            **{_flag(name): value is not None for name, value in vars(self.fields).items()},
            **{_flag(each.name): getattr(self.loading, each.name) != each.default for each in fields(self.loading)},
        }
        if given_late := [name for name, was_given in late.items() if was_given]:
            raise InputError(f"{given} is encoded already, which {given_late[0]} cannot change; omit {given_late[0]}")
        ready = EncodedFolder(given)
        if asked["top_k"] not in ("model", ready.encoding.top_k):
            kept = "all" if ready.encoding.top_k is None else ready.encoding.top_k
            raise InputError(f"{given} was encoded with {kept} latents a document; omit --top-k, or encode again")
        if asked["store_text"] and not ready.encoding.store_text:
            keeping = replace(ready.encoding, store_text=True, shards=1).command("FOLDER", 1)
            raise InputError(f"{given} keeps no texts to store; omit --store-text, or encode into a FOLDER: {keeping}")
        if self.model is not None:
            describe_model(self.model).config.require_same_index(ready.config, f"{given}")
        return ready


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def index_verb(engine: str, about: str) -> Callable[..., None]:
    """The command of a registered engine without options of its own, with its help."""

    @expand_options
    def verb(output: Output, job: IndexJob, overwrite: Overwrite = False) -> None:
        job.run(engine, output, overwrite=overwrite)

    verb.__doc__ = about
    return verb


index.command("memory")(index_verb("memory", "Build an index for the exact in-memory engine, which needs no Java."))
