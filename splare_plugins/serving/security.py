"""Who may ask: the bearer token, the TLS files, and what to warn about."""

from __future__ import annotations

import hmac
import ipaddress
import os
import ssl
from pathlib import Path

from splare_plugins.errors import InputError

TOKEN_VARIABLE = "SPLARE_SERVE_TOKEN"


def read_token(file: Path | None) -> str | None:
    """The bearer token from ``file``, else from the environment variable ``SPLARE_SERVE_TOKEN``, else none.

    Raises:
        InputError: if it is empty, or cannot be sent in a header.
    """
    if file is not None:
        source = str(file)
        try:
            token = file.read_text(encoding="utf-8").strip()
        except UnicodeDecodeError as error:
            raise InputError(f"{file} is not a text file; put the token alone into it") from error
    elif TOKEN_VARIABLE in os.environ:
        source, token = TOKEN_VARIABLE, os.environ[TOKEN_VARIABLE].strip()
    else:
        return None
    if not token:
        raise InputError(f"{source} holds no token; put one there, or leave it out to serve without")
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise InputError(f"the token of {source} must be one line of visible ASCII characters without spaces")
    return token


def token_matches(given: str, token: str) -> bool:
    """Compare in a time that does not tell how much of a guess was right."""
    return hmac.compare_digest(given.encode(errors="surrogateescape"), token.encode())


def require_tls_files(cert: Path | None, key: Path | None) -> None:
    """Check that certificate and key are there and belong together.

    Raises:
        InputError: if one is missing, unreadable or wrong.
    """
    if cert is None and key is None:
        return
    if cert is None or key is None:
        raise InputError("TLS needs both --tls-cert and --tls-key")
    for file in (cert, key):
        if not file.is_file():
            raise InputError(f"{file} is not a file; --tls-cert and --tls-key take PEM files")
    try:
        # A password would be asked for on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise InputError(f"{cert} and {key} are not a PEM certificate with its unencrypted key: {error}") from error


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _no_password() -> str:
    raise ValueError("the key is encrypted")
