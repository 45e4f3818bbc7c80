"""What is wrong with PEM files of certificates and keys, told file by file before a port opens."""

from __future__ import annotations

import ssl
from pathlib import Path

_CERTIFICATE, _KEY, _ENCRYPTED = b"BEGIN CERTIFICATE", b"PRIVATE KEY-----", b"ENCRYPTED"


def check_authorities(file: str) -> str | None:
    """Why a file of CA certificates cannot be used; None if it can."""
    content, problem = _content(file)
    if content is None:
        return problem
    if _CERTIFICATE not in content:
        return f'"{file}" holds no certificate in PEM form'
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except OSError as error:
        return f'a certificate in "{file}" cannot be read: {_reason(error)}'
    return None


def check_chain(cert: str, key: str | None) -> tuple[str, str] | None:
    """Why a certificate and its key cannot be used: `cert` or `key`, and a sentence; None if they can.

    `key` is None where the certificate's file holds the key as well.
    """
    content, problem = _content(cert)
    if content is None:
        return "cert", problem
    if _CERTIFICATE not in content:
        return "cert", f'"{cert}" holds no certificate in PEM form'
    if key is not None:
        content, problem = _content(key)
        if content is None:
            return "key", problem
    if _KEY not in content:
        if key is None:
            return "key", f'is required: "{cert}" holds no private key beside the certificate'
        return "key", f'"{key}" holds no private key in PEM form'
    if _ENCRYPTED in content:
        return "key", f'the key in "{key or cert}" is encrypted; write it without a password (`openssl pkey -in …`)'
    return _check_pair(cert, key)


def _check_pair(cert: str, key: str | None) -> tuple[str, str] | None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return "key", f'the key in "{key or cert}" does not belong to the certificate in "{cert}"'
        return "cert", f'"{cert}" and its key cannot be used: {_reason(error)}'
    except OSError as error:
        return "cert", f'"{cert}" and its key cannot be used: {_reason(error)}'
    return None


def _content(file: str) -> tuple[bytes | None, str]:
    """What the file holds, or None and why it cannot be read."""
    try:
        return Path(file).read_bytes(), ""
    except (OSError, ValueError) as error:
        return None, f'"{file}" cannot be read: {_reason(error)}'


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not valid").lower().replace("_", " ")
    return getattr(error, "strerror", None) or str(error)
