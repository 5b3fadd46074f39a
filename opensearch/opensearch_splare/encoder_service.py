"""The encoder service of a cluster: what it says of itself, and whether the cluster may call it."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
from urllib.parse import urlsplit

import urllib3
from opensearchpy import OpenSearch

from opensearch_splare.connection import cluster_settings
from opensearch_splare.plan import check_encoder_url
from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError

_TIMEOUT = 10.0
_LONGEST_ANSWER = 1 << 20
# The two settings that decide which encoders a cluster may call.
_ENDPOINTS = "plugins.ml_commons.trusted_connector_endpoints_regex"
_PRIVATE = "plugins.ml_commons.connector.private_ip_enabled"


def ask_encoder(url: str, token: str | None = None, *, option: str = "--encoder-url") -> SplareConfig:
    """The config of the model that a ``splare serve`` runs.

    Args:
        url: its address, as this machine reaches it.
        token: its bearer token.
        option: what named the address, for messages.

    Raises:
        InputError: if it cannot be reached, asks for another token, has no model yet, or is something else.
    """
    url = check_encoder_url(url)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with urllib3.PoolManager(timeout=_TIMEOUT, retries=False) as pool:
            answer = pool.request("GET", f"{url}/model", headers=headers, preload_content=False)
            status, body = answer.status, answer.read(_LONGEST_ANSWER)
    except urllib3.exceptions.HTTPError as error:
        # The last part of urllib3's message, without its objects and numbers.
        reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error).rsplit(": ", maxsplit=1)[-1])
        own = ", or give the address as this machine reaches it with --ask-url" if option == "--encoder-url" else ""
        raise InputError(
            f"the encoder at {url} cannot be reached ({reason}); start it (splare serve), or correct {option}{own}"
        ) from error
    if status == 401:
        given = "asks for a token" if token is None else "asks for another token"
        raise InputError(f"the encoder at {url} {given}; give the file that it was started with: --token-file")
    if status == 503:
        raise InputError(f"the encoder at {url} is not ready yet; run again when {url}/readyz answers 200")
    try:
        return SplareConfig.from_dict(json.loads(body)["config"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{url} is not an encoder of this version: {url}/model answered {status} without a model; give the "
            "address that splare serve prints"
        ) from error


def trust_encoder(client: OpenSearch, encoder_url: str) -> list[str]:
    """Let a cluster call an encoder; other endpoints that it trusts stay trusted. Gives the settings that changed."""
    now = cluster_settings(client)
    trusted = list(now.get(_ENDPOINTS, []))
    changes: dict[str, object] = {}
    if not any(re.search(pattern, f"{encoder_url}/encode") for pattern in trusted):
        changes[_ENDPOINTS] = [*trusted, f"^{re.escape(encoder_url)}/.*$"]
    if _is_private(urlsplit(encoder_url).hostname or "") and str(now.get(_PRIVATE)).lower() != "true":
        changes[_PRIVATE] = True
    if changes:
        client.cluster.put_settings(body={"persistent": changes})
    return sorted(changes)


def _is_private(host: str) -> bool:
    """Whether the cluster may take the host for one of its own network; a name that means nothing here counts too."""
    try:
        return any(ipaddress.ip_address(each[4][0]).is_private for each in socket.getaddrinfo(host, None))
    except (OSError, ValueError):
        return True
