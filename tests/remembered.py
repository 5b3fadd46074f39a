"""A model that a process has loaded is copied when it is loaded again: pages and notebooks load one many times."""

from __future__ import annotations

import copy
from typing import Any

from splare_plugins.model import splare
from splare_plugins.model.parts import FoundParts, Parts, load_parts


def remember_models() -> None:
    """Have ``SplareModel.from_pretrained`` of this process read the same model from its files once."""
    kept: dict[str, Parts] = {}

    def load(found: FoundParts, **options: Any) -> Parts:
        if found.splade_head is not None:  # has its weights in memory already
            return load_parts(found, **options)
        key = repr((found, sorted(options.items())))
        if key not in kept:
            kept.clear()  # one is enough, and takes half a gigabyte
            kept[key] = load_parts(found, **options)
        # What trains changes weights; a tokenizer takes as long to copy as to read, and nothing changes it.
        tokenizer = kept[key].backbone.tokenizer
        return copy.deepcopy(kept[key], {id(tokenizer): tokenizer})

    splare.load_parts = load  # type: ignore[assignment]
