"""The startup message: the address, the models, and a request to paste into a terminal."""

from __future__ import annotations

import json
import shlex
from urllib.parse import urlsplit

from gateway.config.exposure import is_loopback
from gateway.config.loader import missing_for_local
from gateway.config.root import Config

KEY_VARIABLE = "RERANK_GATEWAY_KEY"
"""The environment variable that the example, as `rerank-gateway rerank`, takes a caller's key from."""


def ready_message(url: str, config: Config, admin_url: str | None = None) -> str:
    """The lines to print once requests can be served.

    Args:
        url: where the gateway listens.
        config: it decides which models are listed, and which model, key and certificate the example uses.
        admin_url: the operators' address, if there is one.
    """
    configured = [
        *config.models,
        *(f"{name}/{model}" for name, provider in config.providers.items() for model in provider.models or {}),
    ]
    upstreams = [name for name, provider in config.providers.items() if not provider.models]
    models = configured + [f"{name}/<any of its models>" for name in upstreams]
    lines = [
        f"rerank-gateway is ready on {url}",
        f"  models:  {', '.join(models) or 'none'}",
        *([f"  browser: {url}/"] if config.server.ui else []),
        f"  API:     {url}/docs",
    ]
    if admin_url:
        lines.append(f"  admin:   {admin_url}/v1/status, {admin_url}/metrics")
    if configured:
        lines += ["", _invitation(config), _curl(url, configured[0], config)]
    elif upstreams:
        invitation = _invitation(config, f"MODEL by one of {upstreams[0]}'s models")
        lines += ["", invitation, _curl(url, f"{upstreams[0]}/MODEL", config)]
    else:
        lines += ["", _next_step()]
    return "\n".join(lines)


def _invitation(config: Config, *replacements: str) -> str:
    """The line before the example: what to fill in first."""
    mutual = config.server.tls and config.server.tls.client_ca
    replace = [*replacements, *(["client.pem by your certificate and its key"] if mutual else [])]
    return "Try it{}{}:".format(
        f" with one of your keys in {KEY_VARIABLE}" if _needs_key(config) else "",
        f"; replace {', and '.join(replace)}" if replace else "",
    )


def _curl(url: str, model: str, config: Config) -> str:
    body = {
        "model": model,
        "query": "What is the capital of France?",
        "documents": ["Berlin is the capital of Germany.", "Paris is the capital of France.", "Horses eat grass."],
    }
    words = ["curl -s", *_tls_options(url, config), f"{url}/v1/rerank", "-H 'content-type: application/json'"]
    words += _host(url, config)
    if _needs_key(config):
        # Double quotes: the shell puts the key there, and it stands neither here nor in the shell's history.
        words.append(f'-H "authorization: Bearer ${KEY_VARIABLE}"')
    return " ".join([*words, f"-d {shlex.quote(json.dumps(body))}"])


def _host(url: str, config: Config) -> list[str]:
    """A Host header that is answered, where this machine's address is none of `server.allowed_hosts`."""
    allowed = config.server.allowed_hosts
    if not allowed or urlsplit(url).hostname in [host.strip("[]") for host in allowed]:
        return []
    return [f"-H 'host: {allowed[0].replace('*', 'rerank')}'"]


def _needs_key(config: Config) -> bool:
    return config.auth is not None and config.auth.mode == "keys"


def _tls_options(url: str, config: Config) -> list[str]:
    tls = config.server.tls
    if tls is None:
        return []
    # A certificate names the host that callers use, hardly ever 127.0.0.1; nobody stands in between here.
    unnamed = ["--insecure"] if is_loopback(urlsplit(url).hostname or "") else []
    return [*unnamed, *(["--cert client.pem"] if tls.client_ca else [])]


def _next_step() -> str:
    install = missing_for_local()
    local = f"for a local model run: {install}" if install else "for a local model add one under providers.local"
    return f"No models are configured yet: {local}; for a vendor's model set its API key, for example COHERE_API_KEY."
