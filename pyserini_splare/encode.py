"""``python -m pyserini_splare.encode input ... output ... encoder ...``: a corpus as ``JsonVectorCollection``.

Options are those of ``python -m pyserini.encode``. Unlike there the corpus is streamed, files are read in the
order of their names, texts of similar length are encoded together, and a killed run leaves no half-written file.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from pyserini_splare.commands import add_ignored, note_ignored, run
from splare_plugins.errors import InputError
from splare_plugins.machine.files import read_jsonl
from splare_plugins.machine.ids import told_apart

log = logging.getLogger(__name__)

OUTPUT_FILE = "embeddings.jsonl"
ID_FIELDS = ("id", "_id", "docid")
GROUPS = ("input", "output", "encoder")

_VALUES = "--encoder-class --batch-size --max-length --dimension --pooling --prefix --rate-limit"
_SWITCHES = "--fp16 --add-sep --l2-norm --multimodal --use-openai --explicit-truncate"
_OF_OTHER_ENCODERS = {**dict.fromkeys(_VALUES.split(), "store"), **dict.fromkeys(_SWITCHES.split(), "store_true")}


class Record(NamedTuple):
    """One document of the corpus."""

    docid: str
    fields: dict[str, str]
    """Absent and empty fields are left out."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Encode a corpus.

    Raises:
        InputError: for a corpus that cannot be used, naming file and line.
    """
    options = _parse(sys.argv[1:] if arguments is None else list(arguments))
    note_ignored(options["encoder"], _OF_OTHER_ENCODERS, "the model's own settings apply")
    given, wanted = options["input"], options["encoder"].fields
    if unknown := [field for field in wanted if field not in given.fields]:
        raise InputError(f"the field {unknown[0]!r} is to be encoded, but --fields of input does not name it")
    output = Path(options["output"].embeddings) / OUTPUT_FILE

    records = _shard(given)
    from pyserini_splare.vectors import JsonVectorWriter
    from splare_plugins.cli.console import progress
    from splare_plugins.model.splare import SplareModel

    model = SplareModel.from_pretrained(
        options["encoder"].encoder, device=options["encoder"].device, runtime=options["encoder"].runtime
    )
    quantizer = model.quantizer

    def content(record: Record) -> str:
        return " ".join(record.fields[field] for field in wanted if field in record.fields)

    documents = truncated = clipped = 0
    with JsonVectorWriter(output) as writer, progress("encoding") as advance:
        for items, weights, cut in model.stream_documents(records, text=content):
            docids = [record.docid for record in items]
            quantized = quantizer.documents(weights, docids)
            writer.add(docids, quantized.impacts, [record.fields for record in items])
            documents += len(items)
            truncated += int(cut.sum())
            clipped += quantized.clipped
            advance(len(items))
    log.info("%s: %d documents, %d truncated, %d weights clipped", output, documents, truncated, clipped)


def _parse(arguments: list[str]) -> dict[str, argparse.Namespace]:
    """Options by group; each group's options follow its name, as in Pyserini."""
    parser = argparse.ArgumentParser(prog="python -m pyserini_splare.encode", description=__doc__)
    commands = parser.add_subparsers(title="groups, all three in one command line", metavar="|".join(GROUPS))
    source = commands.add_parser("input")
    source.add_argument("--corpus", required=True, help="JSONL file, or folder of such files (also .gz)")
    source.add_argument("--fields", nargs="+", default=["text"], help="fields of a document, in order")
    source.add_argument("--docid-field", help="field of the document id")
    source.add_argument("--delimiter", default="\n", help="between fields that stand together in 'contents'")
    source.add_argument("--shard-id", type=int, default=0, help="from 0")
    source.add_argument("--shard-num", type=int, default=1)
    target = commands.add_parser("output")
    target.add_argument("--embeddings", required=True, help=f"folder that gets {OUTPUT_FILE}")
    encoder = commands.add_parser("encoder")
    encoder.add_argument("--encoder", default="splare-e5-small", help="name, folder or hub id of a SPLARE model")
    encoder.add_argument("--fields", nargs="+", default=["text"], help="fields to encode")
    encoder.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:0, mps")
    encoder.add_argument("--runtime", default="auto", help="what computes on a processor: auto, torch, openvino")
    add_ignored(encoder, _OF_OTHER_ENCODERS)

    starts = [position for position, word in enumerate(arguments) if word in GROUPS]
    parser.parse_args(arguments[: starts[0]] if starts else arguments)
    options = {}
    for start, end in zip(starts, [*starts[1:], len(arguments)], strict=True):
        options[arguments[start]] = parser.parse_args(arguments[start:end])
    if missing := [group for group in ("input", "output") if group not in options]:
        parser.error(f"the group {missing[0]!r} is missing")
    options.setdefault("encoder", parser.parse_args(["encoder"]))
    return options


def _shard(options: argparse.Namespace) -> Iterator[Record]:
    """The documents of this shard: a contiguous range, the last shard taking the rest, as Pyserini cuts."""
    if not Path(options.corpus).exists():
        raise InputError(f"there is no corpus at {options.corpus}")
    if not 0 <= options.shard_id < options.shard_num:
        raise InputError(f"--shard-id must be from 0 to {options.shard_num - 1}, not {options.shard_id}")
    records = _records(options)
    if options.shard_num == 1:
        return records
    total = sum(1 for _ in _records(options))
    size = total // options.shard_num
    start = options.shard_id * size
    return islice(records, start, total if options.shard_id == options.shard_num - 1 else start + size)


def _records(options: argparse.Namespace) -> Iterator[Record]:
    corpus = Path(options.corpus)
    files = sorted(path for path in corpus.iterdir() if path.is_file()) if corpus.is_dir() else [corpus]
    lines = ((where, _record(info, where, options)) for path in files for where, info in read_jsonl(path))
    for (where, record), repeated in told_apart(lines, lambda line: line[1].docid):
        if repeated:
            raise InputError(f"{where}: document id {record.docid!r} was there before")
        yield record


def _record(info: Mapping[str, Any], where: str, options: argparse.Namespace) -> Record:
    from splare_plugins.corpus.documents import check_id, check_text

    names, keys = options.fields, [options.docid_field] if options.docid_field else ID_FIELDS
    if (key := next((key for key in keys if key in info), None)) is None:
        raise InputError(f"{where} has no field {' or '.join(keys)}; name it with --docid-field")
    value = info[key]
    docid = check_id(value, where)
    contents = info.get("contents")
    named = all(name in info for name in names)
    # Empty fields do not hide contents that are there.
    empty = not any(str(info.get(name) or "").strip() for name in names)
    if named and not (empty and isinstance(contents, str) and contents.strip()):
        values = [info[name] for name in names]
    elif isinstance(contents, str):
        # A shell hands over a backslash and an n where the line break was meant.
        values = _split(contents, options.delimiter.replace("\\n", "\n"), len(names), where)
    else:
        raise InputError(f"{where} has neither the fields {', '.join(names)} nor 'contents'; name them with --fields")
    texts = {name: check_text(value or "", where)[0].strip() for name, value in zip(names, values, strict=True)}
    return Record(docid, {name: text for name, text in texts.items() if text})


def _split(contents: str, delimiter: str, count: int, where: str) -> list[str]:
    """``contents`` as ``count`` fields; one more delimiter at its end does not begin another."""
    if contents.count(delimiter) == count:
        contents = contents.removesuffix(delimiter)
    values = contents.split(delimiter) if count > 1 else [contents]
    if len(values) != count:
        raise InputError(f"{where}: 'contents' has {len(values)} fields, and --fields names {count}")
    return values


if __name__ == "__main__":
    run(main)
