"""The section `server`: the listener, TLS, the address for operators, hosts and browsers."""

from __future__ import annotations

import re
import ssl

from pydantic import Field, field_validator

from gateway.errors import ConfigError, Problem
from gateway.settings import Settings


class TlsSettings(Settings):
    """TLS 1.2 or newer at the listener."""

    cert: str = Field(description="PEM file of the certificate and its chain.")
    key: str | None = Field(default=None, description="PEM file of its key, if the certificate's file lacks it.")
    client_ca: str | None = Field(
        default=None, description="PEM file of authorities; callers must then show a certificate that one has signed."
    )

    def check(self) -> None:
        """Raises ConfigError if these files cannot serve."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.cert, self.key)
            if self.client_ca:
                context.load_verify_locations(self.client_ca)
        except OSError as error:  # ssl.SSLError is one
            reason = error.strerror or type(error).__name__
            raise ConfigError([Problem("server.tls", f"these files cannot be used: {reason}")]) from None


class AdminSettings(Settings):
    """A second address, for operators."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(ge=1, le=65535, description="Port to listen on.")


class ListenerSettings(Settings):
    """What the listener lets in."""

    tls: TlsSettings | None = Field(default=None, description="Serve HTTPS.")
    admin: AdminSettings | None = Field(
        default=None, description="Serve /metrics, /v1/status and others' usage at this address only."
    )
    allowed_hosts: list[str] = Field(
        default=[],
        description="Host headers to answer to, such as `rerank.example.com` or `*.example.com`; all if empty.",
    )
    cors: list[str] = Field(default=[], description="Origins whose pages may call from a browser; none if empty.")

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, value: list[str]) -> list[str]:
        if not all(re.fullmatch(r"(\*\.)?[^/*:\s]+|\[[0-9a-fA-F:.]+\]", host) for host in value):
            raise ValueError("are names without port or path; a star may only stand for a name's first part")
        return [host.lower() for host in value]

    @field_validator("cors")
    @classmethod
    def _are_origins(cls, value: list[str]) -> list[str]:
        if any("://" not in origin or "*" in origin or origin.count("/") != 2 for origin in value):
            raise ValueError("are origins such as `https://app.example.com`, without path and without a star")
        return value


class ServerConfig(ListenerSettings):
    """Where the gateway listens."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 lets the system choose.")
    workers: int = Field(default=1, ge=1, le=256, description="Processes that serve requests, one per core at most.")
    drain: float = Field(
        default=1.0, ge=0, le=300, description="Seconds after SIGTERM in which callers are still served, and sent away."
    )
    shutdown_timeout: float = Field(
        default=30.0, ge=0, le=3600, description="Seconds that requests under way may still take after that."
    )
