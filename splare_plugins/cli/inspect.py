"""``splare inspect``: what a model folder, an encoded corpus or an index is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from splare_plugins.cli.inspect_latent import inspect_latent
from splare_plugins.cli.options import Json
from splare_plugins.cli.sae import labels_of
from splare_plugins.config import CONFIG_FILE, SideConfig, SplareConfig
from splare_plugins.errors import InputError, SplareError
from splare_plugins.heads.labels import IDENTITY, LABELS, about_labels, require_own_labels


def inspect(
    what: Annotated[
        str,
        typer.Argument(
            help="Built-in name, model folder, hub id, encoded corpus, index, or in OpenSearch http://host:9200/name."
        ),
    ],
    latent: Annotated[
        str | None, typer.Option(help="Of a model: show one latent, such as 7336 or f7336, instead.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what something is, which model made it, and how large it is."""
    from splare_plugins.cli.console import report

    if latent is not None:
        inspect_latent(what, latent, as_json=as_json)
        return
    facts = _facts(what)
    report(f"{what} is {facts['kind']}", facts if as_json else {**facts, "kind": None}, as_json=as_json)


def _facts(what: str) -> dict[str, Any]:
    from splare_plugins.corpus.manifest import MANIFEST_FILE

    if what.startswith(("http://", "https://")):
        return _engine_facts("opensearch", what)
    path = Path(what)
    if (path / MANIFEST_FILE).is_file():
        return _encoded_facts(path)
    return _index_facts(path) if path.is_dir() and not _is_model(path) else _model_facts(what)


def _is_model(folder: Path) -> bool:
    if (folder / CONFIG_FILE).is_file():
        return True
    if not any((folder / name).is_file() for name in ("config.json", "modules.json")):
        return False
    from splare_plugins.model.splade import recognise_splade  # takes seconds to import

    return recognise_splade(folder) is not None


def _model_facts(name: str) -> dict[str, Any]:
    from splare_plugins.model.describe import describe_model

    config, about, folder = describe_model(name)
    table = folder / config.head / LABELS
    if table.is_file():
        require_own_labels(about_labels(table).get(IDENTITY), config, table)
    return {
        "kind": "a model",
        **_identity(config),
        "folder": str(folder),
        "head": config.head_kind,
        "latents": config.width,
        "labels": labels_of(folder / config.head, config.width),
        "backbone": config.backbone,
        "backbone revision": config.backbone_revision,
        "layer": config.layer,
        "adapter": config.adapter,
        "head source": about.get("source"),
        "head licence": about.get("licence"),
        "query": _side(config.query),
        "document": _side(config.document),
        "query scale": config.query.scale,
        "document scale": config.document.scale,
    }


def _side(side: SideConfig) -> str:
    kept = "all latents" if side.top_k is None else f"top {side.top_k}"
    return f"{kept}, at most {side.max_length} tokens, prompt {side.prompt!r}"


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
    from splare_plugins.engines import engine_names

    refusals = []
    for name in engine_names():
        try:
            return {**_engine_facts(name, str(folder)), "bytes": _size(folder)}
        except SplareError as error:
            refusals.append(f"{name}: {error}")
    raise InputError(f"{folder} is not a model, an encoded corpus or an index ({'; '.join(refusals)})")


def _engine_facts(name: str, location: str) -> dict[str, Any]:
    from splare_plugins.engines import get_engine

    with get_engine(name).searcher(location) as searcher:
        return {
            "kind": f"an index of the engine {name}",
            **(_identity(searcher.config) if searcher.config else {"model": "unknown"}),
            "documents": searcher.num_docs,
            "top k": searcher.config.document.top_k if searcher.config else None,
        }


def _identity(config: SplareConfig) -> dict[str, str]:
    return {
        "model": f"{config.name} {config.revision}",
        "fingerprint": config.fingerprint(),
        "index fingerprint": config.index_fingerprint(),
    }


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
