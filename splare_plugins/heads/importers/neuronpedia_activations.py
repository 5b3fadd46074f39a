"""Neuronpedia's exports of activations: on which tokens of its texts a latent fires, and how much.

They lie beside the explanations as ``activations/batch-*.jsonl.gz``, one JSON object a line: ``index``, ``tokens`` and
``values``, a number for each token, and the SAE's name as in :mod:`.neuronpedia`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from splare_plugins.errors import InputError
from splare_plugins.heads.importers.neuronpedia import export_files, latent_of, records_of, require_same_sae


class Shown(NamedTuple):
    """What Neuronpedia shows of a latent on one text."""

    latent: int
    tokens: list[str]
    values: list[float]


def read_activations(paths: Sequence[Path], *, width: int, layer: int | None, limit: int) -> list[Shown]:
    """The first texts of an export.

    Args:
        paths: ``.jsonl``, ``.jsonl.gz`` or ``.json`` files, or folders of them.
        width: latents of the SAE.
        layer: the number in the name of the SAE's hook; ``None`` skips that check.
        limit: most texts.

    Raises:
        InputError: for a file that is not such an export, or of another SAE.
    """
    found: list[Shown] = []
    for path in export_files(paths):
        for where, record in records_of(path, "activations"):
            if len(found) == limit:
                return found
            tokens, values = (record.get(name) if isinstance(record, dict) else None for name in ("tokens", "values"))
            if not (isinstance(tokens, list) and isinstance(values, list) and tokens and len(tokens) == len(values)):
                raise InputError(
                    f"{where} is not an activation of Neuronpedia: it lacks tokens, or a value for each; take the "
                    "activations of an export, not its explanations"
                )
            latent = latent_of(record, where)
            require_same_sae(str(record.get("layer", "")), width, layer, where)
            if latent >= width:
                raise InputError(f"{where} shows latent {latent}, but this SAE has only {width}: it is of another SAE")
            try:
                found.append(Shown(latent, [str(token) for token in tokens], [float(value) for value in values]))
            except (TypeError, ValueError) as error:
                raise InputError(f"{where} has a value that is not a number") from error
    if not found:
        raise InputError(f"{', '.join(map(str, paths))} holds no activation")
    return found


def token_ids(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str]) -> list[int] | None:
    """The ids of tokens as Neuronpedia spells them; ``None`` where one is no single token of this tokenizer."""
    vocabulary = tokenizer.get_vocab()
    ids = []
    for token in tokens:
        alone = tokenizer.encode(token, add_special_tokens=False)
        if len(alone) == 1 and tokenizer.decode(alone) == token:
            ids.append(alone[0])
            continue
        spelled = (token, token.replace(" ", "▁"), token.replace(" ", "Ġ").replace("\n", "Ċ"))
        known = next((vocabulary[each] for each in spelled if each in vocabulary), None)
        if known is None:
            return None
        ids.append(known)
    return ids
