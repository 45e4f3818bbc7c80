"""The startup message: the address, the models, and a request to paste into a terminal."""

from __future__ import annotations

import json
import shlex

from gateway.config.loader import missing_for_local
from gateway.config.root import Config


def ready_message(url: str, config: Config) -> str:
    """The lines to print once requests can be served.

    Args:
        url: where the gateway listens.
        config: it decides which models are listed, and which one the example uses.
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
        f"  API:     {url}/docs",
    ]
    if configured:
        lines += ["", "Try it:", _curl(url, configured[0])]
    elif upstreams:
        lines += ["", f"Try it; replace MODEL by one of {upstreams[0]}'s models:", _curl(url, f"{upstreams[0]}/MODEL")]
    else:
        lines += ["", _next_step()]
    return "\n".join(lines)


def _curl(url: str, model: str) -> str:
    body = {
        "model": model,
        "query": "What is the capital of France?",
        "documents": ["Berlin is the capital of Germany.", "Paris is the capital of France.", "Horses eat grass."],
    }
    return f"curl -s {url}/v1/rerank -H 'content-type: application/json' -d {shlex.quote(json.dumps(body))}"


def _next_step() -> str:
    install = missing_for_local()
    local = f"for a local model run: {install}" if install else "for a local model add one under providers.local"
    return f"No models are configured yet: {local}; for a vendor's model set its API key, for example COHERE_API_KEY."
