"""The versions of OpenSearch that a node can be assembled of, from what Maven Central has of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from splare_plugins.errors import InputError

_HERE = Path(__file__).parent

# Jars of modules come without the descriptor that plugin bundles have: where each stands, and its class.
_MODULES = {
    "aggs-matrix-stats": "search.aggregations.matrix.MatrixAggregation",
    "analysis-common": "analysis.common.CommonAnalysis",
    "ingest-common": "ingest.common.IngestCommon",
    "lang-painless": "painless.Painless",
    "mapper-extras": "index.mapper.MapperExtras",
    "parent-join": "join.ParentJoin",
    "reindex": "index.reindex.Reindex",
    "transport-netty4": "transport.Netty4",
}


@dataclass(frozen=True, kw_only=True)
class Release:
    """One version of OpenSearch.

    Attributes:
        version: in full.
        artifacts: list of its pieces, made by ``opensearch/server/list_artifacts.py``.
        settings: of every node, its ``config/opensearch.yml``.
        modules: class of each module, by its folder.
        java: that the launcher is compiled for.
    """

    version: str
    artifacts: Path
    settings: Path
    modules: Mapping[str, str]
    java: str


RELEASES = {
    "2": Release(
        version="2.19.1",
        artifacts=_HERE / "artifacts.tsv",
        settings=_HERE / "opensearch.yml",
        modules={name: f"org.opensearch.{each}Plugin" for name, each in _MODULES.items()},
        java="17",
    ),
    # The core alone: k-NN is on Maven Central, and neural-search and ml-commons are not. Reindexing from another
    # cluster wants an HTTP client that clashes with nothing else here, but nobody needs it.
    "3": Release(
        version="3.5.0",
        artifacts=_HERE / "artifacts-3.tsv",
        settings=_HERE / "opensearch-3.yml",
        modules={name: f"org.opensearch.{each}ModulePlugin" for name, each in _MODULES.items() if name != "reindex"},
        java="21",
    ),
}
DEFAULT = "2"


def get_release(version: str = DEFAULT) -> Release:
    """The release of a major version, ``"2"`` or ``"3"``.

    Raises:
        InputError: if there is none.
    """
    if version not in RELEASES:
        raise InputError(f"no node of OpenSearch {version} can be assembled; there are {' and '.join(RELEASES)}")
    return RELEASES[version]
