"""States of the backbone that an imported SAE belongs to, as the suite that made it reads texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from splare_plugins.config import CONFIG_FILE, HEAD_CARD, SplareConfig
from splare_plugins.errors import InputError

if TYPE_CHECKING:
    import torch

    from splare_plugins.backbone import Backbone

_LENGTH = 1024


class TextStates(NamedTuple):
    """The tokens of some texts that are their own."""

    states: torch.Tensor
    """Shape ``[tokens, d]``."""
    tokens: list[str]
    """As the text has them."""


def head_folder(folder: Path) -> Path:
    """The folder of the head, where that of its model may be given.

    Raises:
        InputError: if there is none.
    """
    if (folder / CONFIG_FILE).is_file():
        folder = folder / SplareConfig.load(folder).head
    if not (folder / HEAD_CARD).is_file():
        raise InputError(
            f"{folder} is not an imported SAE: it has no {HEAD_CARD}; make one: splare sae import SOURCE -o FOLDER"
        )
    return folder


def hook_number(card: Mapping[str, Any]) -> int | None:
    """The number of an SAE's hook, as Neuronpedia has it; for resid_pre it is not the layer whose output it reads."""
    import re

    hook = re.search(r"(?:blocks\.|layers\.|layer_)(\d+)", str(card.get("hook")))
    return int(hook[1]) if hook else card.get("layer")


def open_backbone(card: Mapping[str, Any], name: str, device: str) -> Backbone:
    """The backbone as published, in float32, up to the layer that an SAE reads.

    Raises:
        InputError: if it is not there, or does not fit.
    """
    import torch

    from splare_plugins.backbone import load_backbone
    from splare_plugins.backbone.source import find_backbone
    from splare_plugins.model.assemble import backbone_settings, require_fit

    chosen = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    config = SplareConfig(name=name, revision="published", backbone=name, width=card["width"])
    settings = backbone_settings(find_backbone(config, Path(), local_files_only=False))
    bidirectional = card.get("bidirectional", False)
    config = replace(config, layer=require_fit(card, settings, name), bidirectional=bidirectional)
    return load_backbone(config, Path(), device=chosen, dtype=torch.float32)


def text_states(backbone: Backbone, texts: Sequence[str]) -> TextStates:
    """States of the tokens of texts that are their own.

    Raises:
        InputError: if there are none.
    """
    import torch

    parts, shown = [], []
    with torch.inference_mode():
        for text in texts:
            (tokens,) = backbone.tokenize([text], "", _LENGTH)
            states, _ = backbone([tokens])
            parts.append(states[torch.from_numpy(tokens.keep).to(states.device)])
            shown += [text[first:last] for first, last in tokens.spans[tokens.keep]]
    if not shown:
        raise InputError("the --text has no token besides special ones; give a longer one")
    return TextStates(torch.cat(parts), shown)
