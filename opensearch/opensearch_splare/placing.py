"""Which index a writer fills: one that its run began before, or a new generation."""

from __future__ import annotations

import dataclasses
import logging
import re
from typing import NamedTuple

from opensearchpy import OpenSearch

from opensearch_splare.connection import address
from opensearch_splare.generations import About, generations, loading_alias
from opensearch_splare.mapping import LOADING, META_KEY, IndexCard
from splare_plugins.errors import InputError

log = logging.getLogger(__name__)


class Building(NamedTuple):
    """An unfinished index.

    Attributes:
        name: of the index.
        alias: that it is written through.
        begun: whether it is there already.
        stale: unfinished indexes of other runs, to be deleted once this one is there.
    """

    name: str
    alias: str
    begun: bool
    stale: list[str]


def find_building(client: OpenSearch, name: str, card: IndexCard, *, overwrite: bool) -> Building:
    """The index that a run fills for ``name``.

    Several processes of one run come to the same answer, whichever of them makes the index: its number is above all
    that are there, those of stale ones too, so that nobody deletes as stale what another has just made.

    Raises:
        InputError: if another run began an index and nothing may be overwritten.
    """
    found = generations(client, name)
    cards = {
        each: IndexCard.from_mapping(about["mappings"], each)
        for each, about in found.items()
        if META_KEY in about["mappings"].get("_meta", {})
    }
    mine = next((each for each in cards if _is_of_run(each, found[each], cards[each], card)), None)
    stale = [each for each, about in cards.items() if about.state == LOADING and each != mine]
    if mine is None and stale and not overwrite:
        raise InputError(
            f"{stale[0]!r} at {address(client)} is an unfinished index that another run began; let that one "
            "end or run it again, or replace it with --overwrite (in Python: overwrite=True)"
        )
    stale = stale if overwrite else []
    if mine is None:
        new = f"{name}-{max((int(each[-6:]) for each in found), default=0) + 1:06d}"
        return Building(new, loading_alias(new), begun=False, stale=stale)
    log.info("going on with the unfinished index %s", mine)
    alias = _alias(mine, found[mine])
    if alias is None:
        alias = loading_alias(mine)
        client.indices.put_alias(index=mine, name=alias)
        # Begun by an earlier version, which turned refreshing off.
        client.indices.put_settings(index=mine, body={"index.refresh_interval": None})
    return Building(mine, alias, begun=True, stale=stale)


def _is_of_run(name: str, about: About, found: IndexCard, card: IndexCard) -> bool:
    """Whether a run began this index and did not publish it; one killed just before has called it complete."""
    same = card.run is not None and dataclasses.replace(found, state=LOADING) == card
    return same and (found.state == LOADING or _alias(name, about) is not None)


def _alias(name: str, about: About) -> str | None:
    pattern = re.compile(re.escape(name) + r"-loading-[0-9a-f]{6}")
    return next((each for each in about["aliases"] if pattern.fullmatch(each)), None)
