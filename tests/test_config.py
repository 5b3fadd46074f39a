"""What defines a model, and what an index must agree on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from splare_plugins.config import CONFIG_FILE, SideConfig, SplareConfig
from splare_plugins.errors import IdentityError, InputError


@pytest.fixture
def config() -> SplareConfig:
    return SplareConfig(
        name="modèle",
        revision="1",
        backbone="backbone",
        backbone_sha256="aa",
        head_sha256="bb",
        width=16384,
        layer=11,
        query=SideConfig(prompt="query: ", top_k=40, scale=200.0),
        document=SideConfig(prompt="passage: ", top_k=400, scale=100.0),
    )


def test_round_trip(config: SplareConfig, tmp_path: Path) -> None:
    config.save(tmp_path)
    assert SplareConfig.load(tmp_path) == config
    assert SplareConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert SplareConfig.load(tmp_path).index_fingerprint() == config.index_fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"layer": 10},
        {"final_norm": True},
        {"bidirectional": False},
        {"head_sha256": "cc"},
        {"adapter_sha256": "dd"},
        {"backbone_sha256": "ee"},
        {"backbone_revision": "abc"},
        {"width": 512},
        {"max_token_norm_ratio": 10.0},
        {"norm_power": 0.5},
        {"query": SideConfig(prompt="other: ", top_k=40, scale=200.0)},
        {"document": SideConfig(prompt="passage: ", max_length=256, top_k=400, scale=100.0)},
    ],
)
def test_what_changes_vectors_changes_the_fingerprint(config: SplareConfig, change: dict[str, Any]) -> None:
    other = dataclasses.replace(config, **change)
    assert other.fingerprint() != config.fingerprint()
    with pytest.raises(IdentityError) as caught:
        config.require_same_index(other, "the index")
    assert str(caught.value).startswith("the index was made with")
    unlike = next(iter(change))
    assert f"which has another {unlike}" in str(caught.value)  # the names are the same
    renamed = dataclasses.replace(other, name="another", location="/models/another")
    with pytest.raises(IdentityError, match=r"made with another \S+ \(/models/another\), but .*--model"):
        config.require_same_index(renamed, "the index")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"revision": "2"},
        {"backbone": "elsewhere"},
        {"head": "elsewhere"},
        {"adapter": "elsewhere"},
        {"query": SideConfig(prompt="query: ", top_k=5, scale=200.0)},
    ],
)
def test_names_places_and_top_k_do_not(config: SplareConfig, change: dict[str, Any]) -> None:
    other = dataclasses.replace(config, **change)
    assert other.fingerprint() == config.fingerprint()
    config.require_same_index(other, "the index")


def test_scales_change_the_index_only(config: SplareConfig) -> None:
    other = dataclasses.replace(config, document=dataclasses.replace(config.document, scale=99.0))
    assert other.fingerprint() == config.fingerprint()
    assert other.index_fingerprint() != config.index_fingerprint()


def test_a_hub_backbone_is_told_by_its_name(config: SplareConfig) -> None:
    hub = dataclasses.replace(config, backbone_sha256=None)
    assert dataclasses.replace(hub, backbone="other/model").fingerprint() != hub.fingerprint()


def test_files_that_are_no_config(config: SplareConfig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not a SPLARE model: it has no splare_config\.json"):
        SplareConfig.load(tmp_path)
    for text, message in {
        "{": r"is not valid JSON",
        "[]": r"must hold a JSON object",
        "{}": r"has format None",
        json.dumps({**config.to_dict(), "format": 2}): r"has format 2; this version of splare-plugins reads format 1",
        json.dumps({**config.to_dict(), "surprise": 1}): r"does not have the fields of format 1: .*surprise",
        json.dumps({**config.to_dict(), "query": {"surprise": 1}}): r"does not have the fields of format 1",
        json.dumps({**config.to_dict(), "query": None}): r"does not have the fields of format 1",
        json.dumps({"format": 1, "name": "m"}): r"does not have the fields of format 1",
    }.items():
        (tmp_path / CONFIG_FILE).write_text(text)
        with pytest.raises(InputError, match=message):
            SplareConfig.load(tmp_path)
    (tmp_path / CONFIG_FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(InputError):
        SplareConfig.load(tmp_path)
