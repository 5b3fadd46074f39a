"""The model card: README.md with the header that the hub reads.

It says only what is known: parts with their revisions and hashes from the config and the head's card, licences where
they are written down ("unknown" elsewhere), and figures that somebody measured and handed over.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import yaml  # type: ignore[import-untyped]

from splare_plugins.backbone.files import inside
from splare_plugins.config import HEAD_CARD, SideConfig, SplareConfig
from splare_plugins.errors import InputError, splare_command
from splare_plugins.heads.importers.catalogue import PUBLISHED
from splare_plugins.heads.labels import IDENTITY, LABELS, about_labels, latents_identity
from splare_plugins.machine.files import read_json, read_json_list, replacing, write_json

logger = logging.getLogger(__name__)

CARD_FILE = "README.md"
FIGURES_FILE = "figures.json"
LIBRARY = "splare-plugins"
# A card that has lost this line is somebody's own and stays as it is.
MARK = "<!-- written by splare-plugins, again at every save; remove this line to keep your own text -->"
TAGS = ("splare", "sparse-retrieval", "sparse-encoder", "information-retrieval")
# What sentence-transformers calls the task in the cards of its sparse encoders.
TASK = ("sparse-information-retrieval", "Sparse Information Retrieval")
UNKNOWN = "unknown"

Figure = Mapping[str, Any]
"""``dataset``, ``metric`` and ``value``; optional ``split``, ``config`` (a language, say) and ``source``."""


class CardOptions(TypedDict, total=False):
    """What a card says beyond the model itself.

    Attributes:
        figures: measured ones; they are kept in ``figures.json``, whose figures are shown where none are given.
        licence: of the whole, by its name on the hub; by default that of the earlier card.
        languages: codes like ``en``; by default those of the earlier card.
    """

    figures: Sequence[Figure] | None
    licence: str | None
    languages: Sequence[str]


def write_card(
    folder: Path, config: SplareConfig, *, repo_id: str | None = None, **options: Unpack[CardOptions]
) -> None:
    """Write the card of the model that ``folder`` holds, unless a README of somebody's own is there.

    Args:
        folder: a complete model folder.
        config: the model's.
        repo_id: what the card calls the model's place, a hub id or a folder's name; by default that of ``folder``.
        **options: see :class:`CardOptions`.

    Raises:
        InputError: for figures that are not such mappings.
    """
    from huggingface_hub import ModelCardData

    known = _figures(folder, config, options.get("figures"))
    licence, languages = options.get("licence"), options.get("languages") or ()
    path = folder / CARD_FILE
    if path.is_file():
        if MARK not in path.read_text(encoding="utf-8", errors="replace"):
            logger.warning("%s was not written here and is kept as it is", path)
            return
        earlier = read_header(path)
        licence = licence or earlier.get("license")
        languages = languages or earlier.get("language") or ()
    head = read_json(folder / config.head / HEAD_CARD)
    base = _base_model(config, head, folder)
    data = ModelCardData(
        library_name=LIBRARY,
        pipeline_tag="feature-extraction",
        tags=[*TAGS, "splade" if config.head_kind != "sae" else "sparse-autoencoder"],
        base_model=base,
        license=licence,
        language=[languages] if isinstance(languages, str) else list(languages) or None,
        model_name=config.name,
        eval_results=_results(known),
    )
    use = _use(repo_id or folder.name)
    sections = [MARK, f"# {config.name}", _what(config), _parts(config, head, base, folder), use, _table(known)]
    sections += _labels(folder, config)
    body = "\n\n".join(sections)
    with replacing(path) as beside:
        beside.write_text(f"---\n{data.to_yaml()}\n---\n\n{body}\n", encoding="utf-8")


def read_header(path: Path) -> dict[str, Any]:
    """The header of any model card; empty where there is none that can be read."""
    from huggingface_hub.repocard import metadata_load

    try:
        header = metadata_load(path)
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return header if isinstance(header, dict) else {}


def _figures(folder: Path, config: SplareConfig, given: Sequence[Figure] | None) -> Sequence[Figure]:
    """The figures of this very model; given ones are written down with its fingerprint."""
    path, fingerprint = folder / FIGURES_FILE, config.index_fingerprint()
    if given is not None:
        known = [{**_figure(figure, "the given figures"), "fingerprint": fingerprint} for figure in given]
        with replacing(path) as beside:
            write_json(beside, known)
        return known
    if not path.is_file():
        return []
    everything = [_figure(value, path) for value in read_json_list(path)]
    own = [figure for figure in everything if figure.get("fingerprint", fingerprint) == fingerprint]
    if len(own) < len(everything):
        logger.warning(
            "%d figures of %s were measured with another model and are left out of the card",
            len(everything) - len(own),
            path,
        )
    return own


def _figure(value: Any, where: object) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not {"dataset", "metric", "value"} <= set(value):
        raise InputError(f"each figure of {where} must have a dataset, a metric and a value, not {value!r}")
    number = value["value"]
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise InputError(f"a figure of {where} has the value {number!r}, which is not a number")
    return dict(value)


def _results(figures: Sequence[Figure]) -> list[Any] | None:
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type=TASK[0],
            task_name=TASK[1],
            dataset_type=re.sub(r"[^\w.-]+", "-", str(figure["dataset"])).strip("-").lower(),
            dataset_name=str(figure["dataset"]),
            dataset_config=figure.get("config"),
            dataset_split=figure.get("split"),
            metric_type=re.sub(r"\W+", "_", str(figure["metric"])).strip("_").lower(),
            metric_name=str(figure["metric"]),
            metric_value=figure["value"],
            **({"source_name": LIBRARY, "source_url": figure["source"]} if figure.get("source") else {}),
        )
        for figure in figures
    ] or None


def _base_model(config: SplareConfig, head: Mapping[str, Any], folder: Path) -> str | None:
    """The hub id of the backbone; what an SAE was trained on need not be what it was put on."""
    name = head.get("source") if config.head_kind != "sae" else config.backbone
    if not name or not re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)):
        return None
    return None if (folder / str(name)).exists() or Path(str(name)).exists() else str(name)


def _what(config: SplareConfig) -> str:
    latents = "tokens of its vocabulary" if config.head_kind != "sae" else "latents of a sparse autoencoder"
    return (
        f"A text encoder for learned sparse retrieval: a text becomes weighted {latents}, which an inverted index "
        "(Lucene, PISA, Terrier, Seismic, OpenSearch) holds as integer impacts of pseudo-terms `f12345`. The method "
        "is [SPLARE](https://arxiv.org/abs/2603.13277)"
        + ("." if config.head_kind == "sae" else "'s baseline, SPLADE.")
    )


def _parts(config: SplareConfig, head: Mapping[str, Any], base: str | None, folder: Path) -> str:
    layers = "all layers" if config.layer is None else f"cut after layer {config.layer} (counted from 0)"
    attention = "bidirectional" if config.bidirectional else "causal"
    licences = {row.backbone: row.backbone_licence for row in PUBLISHED}
    rows = {
        "revision": config.revision,
        "fingerprint": f"`{config.fingerprint()}`, with the quantiser `{config.index_fingerprint()}`",
        "backbone": f"[{base}](https://huggingface.co/{base})" if base else None,
        "its revision": f"`{config.backbone_revision}`" if config.backbone_revision else None,
        "its weights": _weights(config, folder),
        "layers": f"{layers}, {attention} attention",
        "head": f"{config.head_kind}, {config.width:,} latents, sha256 `{config.head_sha256}`",
        "source of the head": head.get("source") or UNKNOWN,
        "revision of the source": head.get("revision"),
        "sha256 of the source": f"`{head['source_sha256']}`" if head.get("source_sha256") else None,
        "the head was trained on": head.get("base_model"),
        "adapter": f"`{config.adapter}`, sha256 `{config.adapter_sha256}`" if config.adapter else "none",
        "weights": f"divided by their norm to the power {config.norm_power:g}" if config.norm_power else None,
        "queries": _side(config.query),
        "documents": _side(config.document),
        "licence of the backbone": licences.get(base or "", UNKNOWN),
        "licence of the head": head.get("licence") or UNKNOWN,
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items() if value is not None]
    return "\n".join(["| part | |", "| --- | --- |", *lines])


def _weights(config: SplareConfig, folder: Path) -> str:
    """Where the backbone's weights lie, as far as this folder tells."""
    if config.backbone_sha256 is None:
        return "on the hub" if config.backbone_revision else UNKNOWN
    if inside(config, folder):
        place = "in this folder"
    elif Path(config.backbone).is_absolute():
        place = f"`{config.backbone}` on the machine that it was saved on"
    else:
        place = f"those of `{config.backbone}`"
    return f"{place}, sha256 `{config.backbone_sha256}`"


def _side(side: SideConfig) -> str:
    kept = "all latents" if side.top_k is None else f"top {side.top_k}"
    scale = "not calibrated" if side.scale is None else f"quantiser scale {side.scale:g}"
    return f"{kept}, at most {side.max_length} tokens, prompt `{json.dumps(side.prompt, ensure_ascii=False)}`, {scale}"


def _use(where: str) -> str:
    return f"""## Use

```python
from splare_plugins import SplareModel

model = SplareModel.from_pretrained({json.dumps(where, ensure_ascii=False)})
weights = model.encode_documents(["A text."])  # scipy csr_array, float32
impacts = model.quantizer.documents(weights).impacts  # int32, 1..255
```

`{splare_command("index", "lucene", "CORPUS", "-o", "INDEX", "--model", where)}` builds a Lucene index."""


def _table(figures: Sequence[Figure]) -> str:
    if not figures:
        return "## Figures\n\nNone were handed over with this model."
    lines = [
        f"| {' '.join(str(figure[key]) for key in ('dataset', 'config', 'split') if figure.get(key))} "
        f"| {figure['metric']} | {figure['value']} |"
        for figure in figures
    ]
    return "\n".join(["## Figures", "", "| data | measure | value |", "| --- | --- | ---: |", *lines])


def _labels(folder: Path, config: SplareConfig) -> list[str]:
    """What was found out about the labels that were made for this model."""
    path = folder / config.head / LABELS
    about = about_labels(path) if path.is_file() else {}
    if about.get(IDENTITY) != latents_identity(config):
        return []
    share, asked = about.get("forced_choice"), about.get("asked_latents")
    tested = (
        f"Told by its label alone, a held-out context of one of the {asked:,} most used latents was given to it and "
        f"not to another of them in {share:.1%} of choices, and in {about['forced_choice_marked']:.1%} with the word "
        "at the latent's peak marked (a coin: 50 %)."
        if share is not None
        else "They were not tested: too few of the contexts were held out."
    )
    return [
        f"## Labels\n\n{about['named']:,} latents have a name and {about['examples']:,} examples of their words, made "
        f"from {about['contexts']:,} contexts of {', '.join(about['corpora'])}. {tested} "
        f"`{splare_command('inspect', folder.name, '--latent', 0)}` shows one with its contexts."
    ]
