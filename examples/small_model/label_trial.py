"""Whose names say better what fired: SPLARE's labels, or the tokens that a SPLADE model's latents are?

``python examples/small_model/label_trial.py CORPUS SPLADE`` puts both to the forced choice of ``splare labels build``
on the same English contexts, of which no label was made, before the same judge: the built-in model's backbone.
"""

from __future__ import annotations

import argparse
import random
import re
from pathlib import Path

import numpy as np

from splare_plugins import SplareModel
from splare_plugins.corpus import read_documents
from splare_plugins.latents.contexts import split
from splare_plugins.latents.firing import fire
from splare_plugins.latents.trial import put_to_test
from splare_plugins.model.encoder import Encoder

UNNAMED = re.compile(r"f\d+|\[.*\]|\W*")


def trial(model: Encoder, judge: Encoder, contexts: list[str], most: int) -> str:
    """The share of right choices among the named latents that fire most often."""
    firing = fire(model, contexts)
    used = np.bincount(firing.weights.indices, minlength=model.config.width)
    names = [model.head.name(latent).removeprefix("e.g. ") for latent in range(model.config.width)]
    chosen = [latent for latent in np.argsort(-used, kind="stable") if not UNNAMED.fullmatch(names[latent])][:most]
    chosen = sorted(int(latent) for latent in chosen if used[latent])
    kept = set(chosen)
    named = [name if latent in kept else "" for latent, name in enumerate(names)]
    found = put_to_test(judge, contexts, firing, np.ones(len(contexts), dtype=bool), named, chosen, seed=0)
    assert found.share is not None and found.marked is not None
    return f"{len(chosen)} latents, plain {found.share:.1%}, marked {found.marked:.1%}"


def main() -> None:
    """Print the shares of both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus")
    parser.add_argument("splade", type=Path)
    parser.add_argument("--contexts", type=int, default=400)
    parser.add_argument("--most", type=int, default=500)
    options = parser.parse_args()
    contexts = [text for document in read_documents(options.corpus) for text in split(document.content)]
    random.Random(0).shuffle(contexts)
    judge = SplareModel.from_pretrained(device="cpu", runtime="torch")
    for name, model in (("SPLARE", judge), ("SPLADE", SplareModel.from_pretrained(options.splade, device="cpu"))):
        shares = trial(model, judge, contexts[: options.contexts], options.most)
        print(f"{name}: {shares}")  # noqa: T201


if __name__ == "__main__":
    main()
