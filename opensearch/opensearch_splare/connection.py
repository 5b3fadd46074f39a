"""Clients from URLs, and a server's refusals as sentences."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from opensearchpy import OpenSearch, Urllib3AWSV4SignerAuth, exceptions

from opensearch_splare.location import (
    PASSWORD_HINT,
    check_address,
    cluster_options,
    default_url,
    split_hosts,
)
from splare_plugins.errors import InputError, MissingPartError, splare_command
from splare_plugins.machine.places import without_password

TIMEOUT = 60

Version = tuple[int, int]

COMPATIBILITY_VERSION = "7.10.2"
# What the parser of a server without the plugin says of its queries and processors.
_OF_NEURAL_SEARCH = re.compile(
    r"(?:unknown (?:query|field)|processor type) \[(neural_sparse|hybrid|normalization-processor|neural_\w+)\]"
)

FEATURES: dict[str, Version] = {
    "hybrid queries": (2, 10),
    "search pipelines in a search's body": (2, 14),
    "neural_sparse queries with query_tokens": (2, 14),
    "the two-phase processor": (2, 15),
    "batches in ingest pipelines": (2, 16),
    "sparse_vector fields": (3, 3),
}
"""The first version with a feature; both neural_sparse and the processors come with the neural-search plugin."""


def connect(
    url: str | None = None, *, ca_certs: str | Path | None = None, aws_region: str | None = None, **options: Any
) -> OpenSearch:
    """A client for the cluster at ``url``.

    Args:
        url: ``https://user:password@host:9200``, or several such with commas; ``OPENSEARCH_URL`` if not given, else a
            node on this machine.
        ca_certs: PEM file with the certificates to trust; ``OPENSEARCH_CA_CERTS`` if not given.
        aws_region: sign requests for a domain in this region of AWS, with the credentials that AWS' own
            tools would use; ``OPENSEARCH_AWS_REGION`` if not given.
        **options: of ``opensearchpy.OpenSearch``.

    Raises:
        InputError: if it is not a URL, or the certificates or credentials are not there.
        MissingPartError: if requests are to be signed and botocore is not installed.
    """
    hosts = split_hosts(url or default_url())
    for host in hosts:
        check_address(host)
    if certificates := ca_certs or os.environ.get("OPENSEARCH_CA_CERTS"):
        options["ca_certs"] = str(certificates)
        try:
            ssl.create_default_context(cafile=certificates)
        except OSError as error:
            raise InputError(
                f"{certificates} is not a PEM file of certificates to trust ({error}); correct --ca-certs"
            ) from error
    if region := aws_region or os.environ.get("OPENSEARCH_AWS_REGION"):
        options["http_auth"] = _signer(hosts, region)
    return OpenSearch(hosts, **{"timeout": TIMEOUT, **options})


def _signer(hosts: list[str], region: str) -> Urllib3AWSV4SignerAuth:
    try:
        from botocore.session import Session
    except ImportError as error:
        raise MissingPartError("botocore signs requests for AWS; install it with: pip install botocore") from error
    credentials = Session().get_credentials()
    if credentials is None:
        raise InputError(
            "there are no AWS credentials to sign requests with; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "run aws configure"
        )
    serverless = any((urlsplit(host).hostname or "").endswith(".aoss.amazonaws.com") for host in hosts)
    return Urllib3AWSV4SignerAuth(credentials, region, "aoss" if serverless else "es")


def address(client: OpenSearch) -> str:
    """Where a client connects to, as it may be shown."""
    hosts = [connection.host + connection.url_prefix for connection in client.transport.connection_pool.connections]
    return without_password(", ".join(hosts))


def server_version(client: OpenSearch) -> Version:
    """Major and minor version of the cluster.

    Raises:
        InputError: if the cluster cannot be asked, or is not OpenSearch.
    """
    with server_errors(client):
        about = client.info().get("version", {})
        number = about.get("number", "unknown")
        if about.get("distribution") != "opensearch":
            number = _uncovered_version(client, number)
    major, minor = number.split(".")[:2]
    return int(major), int(minor)


def _uncovered_version(client: OpenSearch, number: str) -> str:
    """The version of a cluster that calls itself 7.10.2 for the sake of old clients of another product."""
    versions: set[str] = set()
    if number == COMPATIBILITY_VERSION:
        try:
            found = client.transport.perform_request("GET", "/_nodes", params={"filter_path": "nodes.*.version"})
        except (exceptions.AuthorizationException, exceptions.NotFoundError) as error:
            raise InputError(
                f"{address(client)} calls itself {number} and does not tell the versions of its nodes; set the "
                "cluster's compatibility.override_main_response_version to false, or let this user read /_nodes"
            ) from error
        versions = {node["version"] for node in found.get("nodes", {}).values()} - {number}
    if not versions:
        raise InputError(f"{address(client)} is not OpenSearch; its version is {number}")
    return min(versions, key=lambda version: [int(part) for part in version.split(".")[:2]])


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
        raise InputError(explain_error(error, client, index)) from error
    except exceptions.ImproperlyConfigured as error:
        raise InputError(f"the client for {address(client)} is not set up: {error}") from error


def explain_error(error: exceptions.TransportError, client: OpenSearch, index: str | None = None) -> str:
    """One sentence for an exception of ``opensearchpy``."""
    where = address(client)
    what = f"the index {index!r} at {where}" if index else where
    if isinstance(error, exceptions.SSLError):
        return f"{where} has a certificate that is not trusted: {error.error}; name its issuer's with --ca-certs"
    if isinstance(error, exceptions.ConnectionTimeout):
        return f"{where} did not answer in time; it may be overloaded, so run again or allow more time"
    if isinstance(error, exceptions.ConnectionError):
        return f"{where} cannot be reached ({error.error}); {_start(where)}, or correct the URL"
    kind, reason = str(error.error), error_reason(error.info)
    if isinstance(error, exceptions.AuthenticationException):
        if _has_credentials(client):
            return f"{where} does not take this user or password ({reason}); correct them; {PASSWORD_HINT}"
        return f"{where} asks for a user and a password; put them into the URL: https://user:password@host:9200"
    if "cluster_block_exception" in kind:
        return f"{what} cannot be written or read now: {reason}; remove the block in its settings and run again"
    if isinstance(error, exceptions.AuthorizationException):
        return f"the user at {where} may not do this ({reason}); ask for the permission, or use another user"
    if isinstance(error, exceptions.NotFoundError) and index and "index_not_found" in kind:
        command = splare_command("index", "opensearch", "CORPUS", "--index", index, *cluster_options(where))
        return f"there is no index {index!r} at {where}; make one: {command}"
    return explain_reason(reason, what, error.status_code)


def _start(where: str) -> str:
    """How to start the cluster at an address, where that is a node of this machine."""
    parts = urlsplit(where)
    if parts.scheme != "http" or parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        return "start it"
    port = parts.port or 80
    return f"start it with `{splare_command('opensearch', 'start', *([] if port == 9200 else ['--port', port]))}`"


def explain_reason(reason: str, what: str, status: int | str) -> str:
    """One sentence for a refusal that the server gave as text."""
    if "maxClauseCount" in reason:
        return (
            f"a query has more tokens than {what} takes ({reason}); prune it (--top-k), or raise the cluster setting "
            "indices.query.bool.max_clause_count"
        )
    if lacking := _OF_NEURAL_SEARCH.search(reason):
        way = (
            "search with form='rank_feature' (--form rank_feature)" if lacking[1] == "neural_sparse" else "do without"
        )
        return f"{what} lacks the neural-search plugin ({reason}); install it, or {way}"
    return f"{what} refused with status {status}: {reason}"


def _has_credentials(client: OpenSearch) -> bool:
    connections = client.transport.connection_pool.connections
    return any("authorization" in each.headers or getattr(each, "http_auth", None) for each in connections)


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
