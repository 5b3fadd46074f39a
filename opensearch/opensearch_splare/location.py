"""Where an index is: ``http://host:9200/name``, or a name on the cluster that is meant if none is named."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from splare_plugins.errors import InputError
from splare_plugins.machine.places import without_password

DEFAULT_URL = "http://127.0.0.1:9200"
PASSWORD_HINT = "in a URL, the signs / @ : # ? % of a password are written %2F %40 %3A %23 %3F %25"

# What the server forbids in names; a suffix of seven characters is added to names of published indexes.
_BAD_IN_NAME = re.compile(r'[\s\\/*?"<>|,#:A-Z\x00-\x1f]')
_LONGEST_NAME = 240


def default_url() -> str:
    """``OPENSEARCH_URL``, else the local node's."""
    return os.environ.get("OPENSEARCH_URL") or DEFAULT_URL


def split_hosts(url: str) -> list[str]:
    """The addresses of a cluster's nodes: one, or several with commas between."""
    return [host.strip().rstrip("/") for host in re.split(r",(?=\s*\w+://)", url)]


def check_address(url: str) -> None:
    """Raise an ``InputError`` for what is not the address of a cluster's node."""
    parts = urlsplit(url)
    if "@" in url.removeprefix(f"{parts.scheme}://{parts.netloc}"):
        raise InputError(f"{without_password(url)!r} cannot be told from its password; {PASSWORD_HINT}")
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"{without_password(url)!r} is not an address of a cluster; give one like {DEFAULT_URL}")


def split_location(location: str) -> tuple[str, str]:
    """The cluster's URL and the name of the index in ``http://host:9200/name``; a name alone: the default cluster.

    Raises:
        InputError: if it is not of this form, or OpenSearch does not allow the name.
    """
    if "/" not in location:
        return default_url().rstrip("/"), check_name(location)
    url, _, name = location.rpartition("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or not name:
        raise InputError(
            f"{without_password(location)!r} does not name an index in OpenSearch; give URL and name, as in "
            f"{DEFAULT_URL}/docs"
        )
    for host in split_hosts(url):
        check_address(host)
    return url, check_name(name)


def cluster_options(url: str, *, ca_certs: object = None, aws_region: str | None = None) -> list[str]:
    """Options that name a cluster in a command; of a user in its URL, only where the name and password belong."""
    shown = ",".join(re.sub(r"//.*@", "//USER:PASSWORD@", each, flags=re.DOTALL) for each in split_hosts(url))
    known = url.rstrip("/") == default_url().rstrip("/")
    named = {"--url": None if known else shown, "--ca-certs": ca_certs, "--aws-region": aws_region}
    return [word for option, value in named.items() if value for word in (option, str(value))]


def check_name(name: str) -> str:
    """``name``, if an index may be called so; else an ``InputError`` that says what OpenSearch allows."""
    if not name or name[0] in "_-+." or _BAD_IN_NAME.search(name) or len(name.encode()) > _LONGEST_NAME:
        raise InputError(
            f"an index of OpenSearch cannot be called {name!r}; use lower-case letters, digits, - and _, at most "
            f"{_LONGEST_NAME} bytes"
        )
    return name
