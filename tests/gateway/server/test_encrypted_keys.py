"""A key that is renewed by one with a password: nobody is there to type it, though there may be a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

ROOT = Path(__file__).parents[3]

LISTENER = """
import os, ssl, sys
from gateway.config.server import TlsSettings
from gateway.server.tls import RenewedContext
cert, key, renewed = sys.argv[1:]
context = RenewedContext(TlsSettings(cert=cert, key=key))
os.replace(renewed, key)
context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
print("the previous one serves")
"""
UPSTREAM = """
import os, ssl, sys
from gateway.transport.tls import tls_context
cert, key, renewed = sys.argv[1:]
os.replace(renewed, key)
try:
    tls_context(None, cert, key)
except OSError:  # What TlsFiles takes for a reason to keep the previous one.
    print("the previous one serves")
"""


@pytest.mark.parametrize("program", [LISTENER, UPSTREAM], ids=["of the listener", "for upstreams"])
def test_nobody_is_asked_for_a_password(program: str, tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    issued.private_key_pem.write_to_path(tmp_path / "tls.key")
    (tmp_path / "renewed.key").write_bytes(encrypted(issued.private_key_pem.bytes()))
    ours, terminal = pty.openpty()

    def take_the_terminal() -> None:
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    try:
        run = subprocess.run(
            [sys.executable, "-c", program, *(str(tmp_path / name) for name in ("tls.crt", "tls.key", "renewed.key"))],
            stdin=terminal,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
            preexec_fn=take_the_terminal,
            timeout=60,
            check=True,
        )
    finally:
        os.close(ours)
        os.close(terminal)
    assert run.stdout == "the previous one serves\n"


def encrypted(key: bytes) -> bytes:
    password = serialization.BestAvailableEncryption(b"a password")
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return serialization.load_pem_private_key(key, None).private_bytes(pem, form, password)
