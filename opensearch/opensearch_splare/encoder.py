"""What an encoder service says of itself."""

from __future__ import annotations

import json
import re

import urllib3

from opensearch_splare.bodies import check_encoder_url
from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError

_TIMEOUT = 10.0
_LONGEST_ANSWER = 1 << 20


def ask_encoder(url: str, token: str | None = None) -> SplareConfig:
    """The config of the model that a ``splare serve`` runs.

    Args:
        url: its address, as this machine reaches it.
        token: its bearer token.

    Raises:
        InputError: if it cannot be reached, wants another token, has no model yet, or is something else.
    """
    url = check_encoder_url(url)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with urllib3.PoolManager(timeout=_TIMEOUT, retries=False) as pool:
            answer = pool.request("GET", f"{url}/model", headers=headers, preload_content=False)
            status, body = answer.status, answer.read(_LONGEST_ANSWER)
    except urllib3.exceptions.HTTPError as error:
        raise InputError(
            f"the encoder at {url} cannot be reached ({_reason(error)}); start it with splare serve, or correct "
            "--encoder-url"
        ) from error
    if status == 401:
        given = "wants a token" if token is None else "wants another token"
        raise InputError(f"the encoder at {url} {given}; give the file that it was started with: --token-file")
    if status == 503:
        raise InputError(f"the encoder at {url} is not ready yet; run again when {url}/readyz answers 200")
    try:
        return SplareConfig.from_dict(json.loads(body)["config"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{url} is no encoder of this version: {url}/model answered {status} and names no model; give the address "
            "that splare serve prints"
        ) from error


def _reason(error: Exception) -> str:
    """The last part of urllib3's message, without its objects and numbers."""
    return re.sub(r"^\[Errno -?\d+\] ", "", str(error).rsplit(": ", maxsplit=1)[-1])
