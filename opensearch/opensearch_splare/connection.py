"""Clients from URLs, and a server's refusals as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from opensearchpy import OpenSearch, exceptions

from opensearch_splare.location import DEFAULT_URL, default_url, without_password
from splare_plugins.errors import InputError

TIMEOUT = 60

Version = tuple[int, int]

FEATURES: dict[str, Version] = {
    "hybrid queries": (2, 10),
    "search pipelines in a search's body": (2, 14),
    "neural_sparse queries with query_tokens": (2, 14),
    "the two-phase processor": (2, 15),
    "batches in ingest pipelines": (2, 16),
    "sparse_vector fields": (3, 3),
}
"""The first version with a feature; both neural_sparse and the processors come with the neural-search plugin."""


def connect(url: str | None = None, **options: Any) -> OpenSearch:
    """A client for the cluster at ``url``.

    Args:
        url: ``https://user:password@host:9200``; ``OPENSEARCH_URL`` if not given, else a node on this machine.
        **options: of ``opensearchpy.OpenSearch``, for example ``ca_certs``.

    Raises:
        InputError: if it is not a URL.
    """
    url = url or default_url()
    parts = urlsplit(url)
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"{without_password(url)!r} is not an address of a cluster; give one like {DEFAULT_URL}")
    return OpenSearch([url], **{"timeout": TIMEOUT, **options})


def address(client: OpenSearch) -> str:
    """Where a client connects to, as it may be shown."""
    hosts = [connection.host for connection in client.transport.connection_pool.connections]
    return without_password(", ".join(hosts))


def server_version(client: OpenSearch) -> Version:
    """Major and minor version of the cluster.

    Raises:
        InputError: if the cluster cannot be asked, or is not OpenSearch.
    """
    with server_errors(client):
        about = client.info()
    version = about.get("version", {})
    if version.get("distribution") != "opensearch":
        raise InputError(f"{address(client)} is not OpenSearch; its version is {version.get('number', 'unknown')}")
    major, minor = version["number"].split(".")[:2]
    return int(major), int(minor)


def require(feature: str, version: Version) -> None:
    """Raise an ``InputError`` if the server is too old for one of :data:`FEATURES`, naming the version that has it."""
    needed = FEATURES[feature]
    if version < needed:
        raise InputError(
            f"OpenSearch {version[0]}.{version[1]} has no {feature.removeprefix('the ')}; "
            f"they come with {needed[0]}.{needed[1]}, so upgrade the cluster or do without"
        )


@contextmanager
def server_errors(client: OpenSearch, index: str | None = None) -> Iterator[None]:
    """What the server or the network refuses of ``index``, as :class:`InputError` with the way out."""
    try:
        yield
    except exceptions.TransportError as error:
        raise InputError(explain_error(error, address(client), index)) from error
    except exceptions.ImproperlyConfigured as error:
        raise InputError(f"the client for {address(client)} is not set up: {error}") from error


def explain_error(error: exceptions.TransportError, where: str, index: str | None = None) -> str:
    """One sentence for an exception of ``opensearchpy``."""
    what = f"the index {index!r} at {where}" if index else where
    if isinstance(error, exceptions.SSLError):
        return f"{where} has a certificate that is not trusted: {error.error}; pass ca_certs, or set SSL_CERT_FILE"
    if isinstance(error, exceptions.ConnectionTimeout):
        return f"{where} did not answer in time; it may be overloaded, so run again or allow more time"
    if isinstance(error, exceptions.ConnectionError):
        return f"{where} cannot be reached ({error.error}); start it (splare opensearch start) or correct the URL"
    kind, reason = str(error.error), error_reason(error.info)
    if isinstance(error, exceptions.AuthenticationException):
        return f"{where} asks for a user and a password; put them into the URL: https://user:password@host:9200"
    if "cluster_block_exception" in kind:
        return f"{what} cannot be written or read now: {reason}; remove the block in its settings and run again"
    if isinstance(error, exceptions.AuthorizationException):
        return f"the user at {where} may not do this ({reason}); ask for the permission, or use another user"
    if isinstance(error, exceptions.NotFoundError) and index and "index_not_found" in kind:
        return f"there is no index {index!r} at {where}; make one with splare index opensearch"
    return explain_reason(reason, what, error.status_code)


def explain_reason(reason: str, what: str, status: int | str) -> str:
    """One sentence for a refusal that the server gave as text."""
    if "maxClauseCount" in reason:
        return (
            f"a query has more tokens than {what} takes ({reason}); prune it (--top-k), or raise the cluster setting "
            "indices.query.bool.max_clause_count"
        )
    if "unknown query [neural_sparse]" in reason or "unknown query [hybrid]" in reason:
        return f"{what} lacks the neural-search plugin ({reason}); install it, or search with form='rank_feature'"
    return f"{what} refused with status {status}: {reason}"


def cluster_settings(client: OpenSearch) -> dict[str, Any]:
    """All settings that are in force, by their full names."""
    found = client.cluster.get_settings(params={"flat_settings": "true", "include_defaults": "true"})
    return {**found.get("defaults", {}), **found.get("persistent", {}), **found.get("transient", {})}


def error_reason(info: Any) -> str:
    """The innermost reason of an error's JSON."""
    if not isinstance(info, dict):
        return str(info or "no reason given")
    cause = info.get("error", info)
    if not isinstance(cause, dict):
        return str(cause)
    if cause.get("root_cause") and not cause.get("caused_by"):
        cause = cause["root_cause"][0]
    while isinstance(cause.get("caused_by"), dict):
        cause = cause["caused_by"]
    return str(cause.get("reason") or cause.get("type") or info)
