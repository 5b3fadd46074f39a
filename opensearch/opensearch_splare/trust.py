"""The two settings of a cluster that decide which encoders it may call."""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from opensearchpy import OpenSearch

_ENDPOINTS = "plugins.ml_commons.trusted_connector_endpoints_regex"
_PRIVATE = "plugins.ml_commons.connector.private_ip_enabled"


def trust_encoder(client: OpenSearch, encoder_url: str) -> list[str]:
    """Let a cluster call an encoder; other endpoints that it trusts stay trusted.

    Args:
        client: of the cluster; its user must be allowed to change settings.
        encoder_url: of the encoder.

    Returns:
        The settings that were changed.
    """
    settings = client.cluster.get_settings(params={"flat_settings": "true", "include_defaults": "true"})
    now = {**settings["defaults"], **settings["persistent"], **settings["transient"]}
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
