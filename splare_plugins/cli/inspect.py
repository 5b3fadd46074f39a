"""``splare inspect``: what a model folder, an encoded corpus or an index is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from splare_plugins.cli.options import Json
from splare_plugins.config import CONFIG_FILE, SplareConfig
from splare_plugins.errors import InputError, SplareError


def inspect(
    what: Annotated[str, typer.Argument(help="Built-in name, model folder, hub id, encoded corpus, or index.")],
    as_json: Json = False,
) -> None:
    """Say what something is, which model made it, and how large it is."""
    from splare_plugins.cli.console import print_facts, print_json

    facts = _facts(what)
    if as_json:
        print_json(facts)
    else:
        print_facts(f"{what} is {facts.pop('kind')}", facts)


def _facts(what: str) -> dict[str, Any]:
    from splare_plugins.corpus.manifest import MANIFEST_FILE

    path = Path(what)
    if (path / MANIFEST_FILE).is_file():
        return _encoded_facts(path)
    if path.is_dir() and not (path / CONFIG_FILE).is_file():
        return _index_facts(path)
    return _model_facts(what)


def _model_facts(name: str) -> dict[str, Any]:
    from splare_plugins.locate import locate_model

    folder = locate_model(name)
    config = SplareConfig.load(folder)
    card = folder / config.head / "head.json"
    about = json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {}
    return {
        "kind": "a model",
        **_identity(config),
        "folder": str(folder),
        "latents": config.width,
        "backbone": config.backbone,
        "layer": config.layer,
        "adapter": config.adapter,
        "head source": about.get("source"),
        "head licence": about.get("licence"),
        "query": f"top {config.query.top_k}, at most {config.query.max_length} tokens, prompt {config.query.prompt!r}",
        "document": f"top {config.document.top_k}, at most {config.document.max_length} tokens, "
        f"prompt {config.document.prompt!r}",
        "query scale": config.query.scale,
        "document scale": config.document.scale,
    }


def _encoded_facts(folder: Path) -> dict[str, Any]:
    from splare_plugins.corpus import EncodedFolder

    ready = EncodedFolder(folder)
    return {
        "kind": "an encoded corpus",
        **_identity(ready.config),
        "documents": ready.num_docs,
        "source": ready.encoding.source,
        "shards": ready.encoding.shards,
        "top k": ready.encoding.top_k,
        "text stored": ready.encoding.store_text,
        "truncated": ready.encoded.truncated,
        "without impacts": ready.encoded.without_impacts,
        "clipped weights": ready.encoded.clipped_weights,
        "bytes": _size(folder),
    }


def _index_facts(folder: Path) -> dict[str, Any]:
    from splare_plugins.engines import engine_names, get_engine

    refusals = []
    for name in engine_names():
        try:
            with get_engine(name).searcher(str(folder)) as searcher:
                return {
                    "kind": f"an index of the engine {name}",
                    **(_identity(searcher.config) if searcher.config else {"model": "unknown"}),
                    "documents": searcher.num_docs,
                    "bytes": _size(folder),
                }
        except SplareError as error:
            refusals.append(f"{name}: {error}")
    raise InputError(f"{folder} is no model, encoded corpus or index ({'; '.join(refusals)})")


def _identity(config: SplareConfig) -> dict[str, str]:
    return {
        "model": f"{config.name} {config.revision}",
        "fingerprint": config.fingerprint(),
        "index fingerprint": config.index_fingerprint(),
    }


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
