"""The section `server`: where the gateway listens, TLS, the operators' address, hosts and browsers."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from gateway.config.certificates import check_authorities, check_chain
from gateway.errors import Problem
from gateway.settings import FileName, Seconds, Settings


class TlsSettings(Settings):
    """HTTPS, with TLS 1.2 or newer."""

    cert: FileName = Field(description="PEM file with the certificate and its chain.")
    key: FileName | None = Field(
        default=None, description="PEM file with the certificate's key; not needed if `cert` also holds the key."
    )
    client_ca: FileName | None = Field(
        default=None, description="PEM file with CA certificates. If set, callers need a certificate from one of them."
    )

    def problems(self) -> list[Problem]:
        """What is wrong with these files."""
        found = []
        if problem := check_chain(self.cert, self.key):
            found.append(Problem(f"server.tls.{problem[0]}", problem[1]))
        if self.client_ca and (message := check_authorities(self.client_ca)):
            found.append(Problem("server.tls.client_ca", message))
        return found


class AdminSettings(Settings):
    """A second address, for operators."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(ge=1, le=65535, description="Port to listen on.")


class ServerSettings(Settings):
    """Where the gateway listens, and whom it answers."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 lets the system choose one.")
    workers: int = Field(
        default=1, ge=1, le=256, description="Processes that serve requests; more than one per core does not help."
    )
    tls: TlsSettings | None = Field(default=None, description="Serve HTTPS.")
    admin: AdminSettings | None = Field(
        default=None,
        description="Serve /metrics, /v1/status and the usage of other keys at this address only.",
    )
    allowed_hosts: list[str] = Field(
        default=[],
        description="Host headers to accept, such as `rerank.example.com` or `*.example.com`; all if empty.",
    )
    cors: list[str] = Field(
        default=[], description="Origins whose pages may call the gateway from a browser; none if empty."
    )
    ui: bool = Field(default=True, description="Serve the playground at / and the dashboard at /admin.")
    mcp: bool = Field(
        default=False,
        description="Offer the tools `rerank` and `list_rerankers` to agents, at /mcp; needs the extra `mcp`.",
    )
    drain: Seconds = Field(
        default=0.3,
        ge=0,
        le=300,
        description="Seconds after SIGTERM during which requests are still accepted, and connections told to close.",
    )
    shutdown_timeout: Seconds = Field(
        default=30.0, ge=0, le=3600, description="Seconds after that for requests in flight to finish."
    )

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, value: list[str]) -> list[str]:
        if not all(re.fullmatch(r"(\*\.)?[^/*:\s]+|\[[0-9a-fA-F:.]+\]", host) for host in value):
            raise ValueError("must be host names without port or path; `*` may only replace the first label")
        return [host.lower() for host in value]

    @field_validator("cors")
    @classmethod
    def _are_origins(cls, value: list[str]) -> list[str]:
        if any("://" not in origin or "*" in origin or origin.count("/") != 2 for origin in value):
            raise ValueError("must be origins such as `https://app.example.com`, without a path and without `*`")
        return value
