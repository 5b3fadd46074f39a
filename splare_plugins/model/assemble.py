"""A SPLARE model from its two parts: a published backbone and a sparse autoencoder that was trained on it."""

from __future__ import annotations

import dataclasses
import logging
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from splare_plugins.backbone.files import take_backbone
from splare_plugins.backbone.source import GGUF, Source, find_backbone, weights_of
from splare_plugins.config import CONFIG_FILE, HEAD_CARD, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.heads.importers import import_sae
from splare_plugins.machine.files import file_sha256, read_json, require_free
from splare_plugins.machine.folders import replacing_folder
from splare_plugins.machine.hub import hub_errors
from splare_plugins.model.card import write_card
from splare_plugins.model.find import NAMED

logger = logging.getLogger(__name__)

# What names of models say, and how transformers calls the family.
_FAMILIES = {"llama": "llama", "gemma": "gemma", "qwen": "qwen", "mistral": "mistral", "pythia": "gpt_neox"}

REVISION = "zero-shot"
DEFAULT_MAX_LENGTH = 512


def assemble(
    backbone: str,
    sae: str,
    output: Path,
    *,
    revision: str | None = None,
    layer: int | None = None,
    name: str | None = None,
    max_length: int | None = None,
    bidirectional: bool = True,
    copy_backbone: bool | None = None,
    overwrite: bool = False,
) -> SplareConfig:
    """Write a model folder: the SAE's encoder as head, and the backbone, a hub's by name; nothing is trained.

    Of a hub backbone only the config is fetched now; its weights come when the model is loaded, from the same commit.
    The rest of the config is the paper's: no prompts, the 40 and 400 largest latents of a query and a document. An SAE
    of ``splare sae train`` brings the prompt and the limit on norms that it was trained with.

    Args:
        backbone: hub id, transformers folder, or GGUF file.
        sae: folder made by ``splare sae import``, or a source that it takes.
        output: folder to make.
        revision: branch, tag or commit of a hub backbone.
        layer: layer whose output the SAE reads; needed where its card does not say.
        name: of the model; by default made of backbone, layer and width.
        max_length: tokens kept of a text; by default 512, or what the backbone reads (the paper evaluates with 1024).
        bidirectional: every token sees every other one.
        copy_backbone: take the files of a backbone on disk into the model, as hard links where that is possible;
            ``False`` names its place, which only this machine has. By default those that are on disk.
        overwrite: replace the model that ``output`` holds.

    Raises:
        InputError: if a part cannot be found, or SAE and backbone do not fit.
    """
    require_free(output, overwrite=overwrite, marker=CONFIG_FILE, what="model")
    output = output.resolve()
    draft = SplareConfig(
        name=name or Path(backbone.removesuffix(GGUF)).name,
        revision=REVISION,
        backbone=backbone,
        backbone_revision=revision,
        bidirectional=bidirectional,
        width=0,
    )
    local = Path(find_backbone(draft, Path(), local_files_only=False).name).is_dir()
    if copy_backbone and not local:
        raise InputError(
            f"{backbone} is not a folder or file here, and only those can be copied; omit --copy-backbone"
        )
    place, source = identify(draft)
    settings = backbone_settings(source)
    head_folder = Path(sae) if (Path(sae) / HEAD_CARD).is_file() else import_sae(sae, d_model=settings.hidden_size)
    card = read_json(head_folder / HEAD_CARD)
    layer = require_fit(card, settings, backbone, layer)
    max_length = choose_length(settings, max_length, backbone)
    base, sha256 = card.get("base_model"), card.get("backbone_sha256")
    if local and sha256:  # trained here: the name of a folder says nothing
        if place.backbone_sha256 != sha256:
            logger.warning("this SAE was trained on another backbone, called %s; its latents may mean less", base)
    elif base and not _may_be(base, None if local else backbone, settings.model_type):
        logger.warning("this SAE was trained on %s; on %s its latents may mean less", base, backbone)
    if card.get("bidirectional", bidirectional) != bidirectional:
        logger.warning(
            "this SAE was trained on states of %s attention; %s --causal, or its latents may mean less",
            *(("bidirectional", "omit") if card["bidirectional"] else ("causal", "add")),
        )
    head = SparseAutoencoder.load(head_folder)  # whole, finite, and with the hash that its card names
    config = dataclasses.replace(
        place,
        name=name or f"{draft.name}-L{layer}-{head.width}",
        layer=layer,
        width=head.width,
        head_sha256=card["sha256"],
        max_token_norm_ratio=card.get("max_token_norm_ratio"),
        query=dataclasses.replace(draft.query, max_length=max_length, prompt=card.get("prompt", "")),
        document=dataclasses.replace(draft.document, max_length=max_length, prompt=card.get("prompt", "")),
    )
    with replacing_folder(output) as made:
        shutil.copytree(head_folder, made / config.head)
        if local:
            config = take_backbone(config, Path(), made, copy=copy_backbone is not False)
        write_card(made, config, repo_id=output.name)
        config.save(made)
    return config


def identify(config: SplareConfig) -> tuple[SplareConfig, Source]:
    """The config with what its backbone is now: the hash of one on disk, the commit of a hub's; and its source.

    Raises:
        InputError: if it cannot be found, or one on disk is asked for by a revision.
    """
    backbone, revision = config.backbone, config.backbone_revision
    source = find_backbone(config, Path(), local_files_only=False)
    if not Path(source.name).is_dir():
        commit = _commit(source)
        source.options["revision"] = commit
        return dataclasses.replace(config, backbone_revision=commit), source
    if revision is not None:
        raise InputError(f"{backbone} is on this machine and has no revision {revision!r}; omit it, or give a hub id")
    place = backbone if backbone in NAMED else str(Path(backbone).resolve())
    return dataclasses.replace(config, backbone=place, backbone_sha256=file_sha256(*weights_of(source))), source


def choose_length(settings: PreTrainedConfig, asked: int | None, backbone: str) -> int:
    """Tokens kept of a text: those asked for, or else 512, or what the backbone reads.

    Raises:
        InputError: if it does not read so many.
    """
    positions = getattr(settings, "max_position_embeddings", None) or sys.maxsize
    length = min(DEFAULT_MAX_LENGTH, positions) if asked is None else asked
    if not 1 <= length <= positions:
        raise InputError(f"{backbone} reads 1 to {positions} tokens, not {length}; choose another --max-length")
    return length


def require_fit(card: Mapping[str, Any], settings: PreTrainedConfig, backbone: str, layer: int | None = None) -> int:
    """The layer whose output an SAE reads, after the refusal of a backbone that it was not made for.

    Args:
        card: the SAE head's.
        settings: the backbone's, of its part that reads text.
        backbone: its name.
        layer: what the user says, where the card does not.

    Raises:
        InputError: naming what does not fit.
    """
    if card.get("kind") != "sae":
        raise InputError(f"this head is of the kind {card.get('kind')!r}; only SAEs are put on another backbone")
    if settings.hidden_size != card["state_size"]:
        raise InputError(
            f"this SAE reads states of size {card['state_size']}, but those of {backbone} have size "
            f"{settings.hidden_size}; it was trained on {card.get('base_model') or 'another model'}"
        )
    own = card.get("layer")
    if own is not None and layer not in (None, own):
        raise InputError(f"this SAE reads the output of layer {own}, not of layer {layer}; omit --layer")
    layer = layer if own is None else int(own)
    if layer is None:
        raise InputError(
            "nothing says which layer this SAE reads; name it with --layer when it is imported or assembled"
        )
    if settings.num_hidden_layers <= layer:
        raise InputError(f"this SAE needs {layer + 1} layers, but {backbone} has {settings.num_hidden_layers}")
    return layer


def backbone_settings(source: Source) -> PreTrainedConfig:
    """The transformers config of a backbone, of its part that reads text.

    Raises:
        InputError: if it cannot be found or is of an unknown kind.
    """
    try:
        return AutoConfig.from_pretrained(source.name, **source.options, trust_remote_code=False).get_text_config()
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise InputError(f"cannot load the backbone {source.name}: {' '.join(str(error).split())}") from error


def _commit(source: Source) -> str:
    """The commit of a hub backbone as of now; the hub's cache answers without a network."""
    from huggingface_hub import hf_hub_download

    file = source.options.get("gguf_file", "config.json")
    with hub_errors(source.name):
        path = hf_hub_download(source.name, file, revision=source.options["revision"])
    return Path(path.removesuffix(f"/{file}")).name


def _may_be(base: str, name: str | None, model_type: str) -> bool:
    """Whether a backbone may be the model that an SAE names, which spells it in its own way.

    Args:
        base: such as ``google/gemma-2-2b``, ``gemma-2-2b`` or ``gemma-v3-270m-pt``.
        name: hub id of the backbone; ``None`` for a folder, of which only its family is known.
        model_type: transformers' word for that.
    """
    if name is not None:
        return _plain(base) == _plain(name)
    named = [family for family in _FAMILIES if family in _plain(base)]
    return not named or any(model_type.startswith(_FAMILIES[family]) for family in named)


def _plain(name: str) -> str:
    return re.sub(r"-v(?=\d)", "-", name.rsplit("/", 1)[-1].lower()).removesuffix("-pt")
