"""The labels that ship with the built-in model."""

from __future__ import annotations

import pytest

from splare_plugins.heads.labels import IDENTITY, LABELS, about_labels, latents_identity
from splare_plugins.latents.table import read_latent
from splare_plugins.model.builtin import BUILTIN_MODEL, ZERO_SHOT_MODEL
from splare_plugins.model.builtin.shipped import shipped
from splare_plugins.model.queries import load_static_queries

MOST_BYTES = 3_000_000


def test_they_are_small_and_only_the_trained_model_has_them():
    assert len(shipped(BUILTIN_MODEL)["labels"].read_bytes()) <= MOST_BYTES
    assert "labels" not in shipped(ZERO_SHOT_MODEL)


@pytest.mark.model
def test_they_are_the_models_own_and_are_shown(builtin):
    path = builtin.folder / builtin.config.head / LABELS
    about = about_labels(path)
    assert about[IDENTITY] == latents_identity(builtin.config)
    assert all(words in about["terms"] for words in ("NTREX", "CC BY-SA 4.0", "Tatoeba", "CC BY 2.0 FR"))
    card = (builtin.folder / "README.md").read_text(encoding="utf-8")
    assert f"{about['forced_choice']:.1%} are right, {about['forced_choice_marked']:.1%} where" in " ".join(
        card.split()
    )
    assert len(builtin.head.labels) == about["named"] + about["examples"]
    latent, label = next(iter(builtin.head.labels.items()))
    known = read_latent(builtin.folder, builtin.config, latent)
    assert known is not None
    assert known.text == label.text
    assert known.contexts
    assert load_static_queries(BUILTIN_MODEL).head.name(latent) == label.text
    shown = builtin.explain("three dogs", "drei Hunde")._repr_html_()
    assert "three · cuatro · four · two / dos / 2" in shown
