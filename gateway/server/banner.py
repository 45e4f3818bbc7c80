"""The word on the terminal when the gateway can be used: the address, the models, and a line to paste."""

from __future__ import annotations

import json
import shlex

from gateway.config.loader import missing_for_local
from gateway.config.root import Config


def ready_message(url: str, config: Config) -> str:
    """What a newcomer needs to go on."""
    named = [*config.models, *(f"{name}/{model}" for name, p in config.providers.items() for model in p.models or {})]
    upstreams = [name for name, provider in config.providers.items() if not provider.models]
    models = named + [f"{name}/<any of its models>" for name in upstreams]
    lines = [
        f"rerank-gateway is ready on {url}",
        f"  models:  {', '.join(models) or 'none'}",
        f"  API:     {url}/docs",
    ]
    if named:
        lines += ["", "Try it:", _curl(url, named[0])]
    elif upstreams:
        lines += ["", f"Try it, with one of {upstreams[0]}'s models for MODEL:", _curl(url, f"{upstreams[0]}/MODEL")]
    else:
        lines += ["", _how_to_begin()]
    return "\n".join(lines)


def _curl(url: str, model: str) -> str:
    body = {
        "model": model,
        "query": "What is the capital of France?",
        "documents": ["Berlin is the capital of Germany.", "Paris is the capital of France.", "Horses eat grass."],
    }
    return f"curl -s {url}/v1/rerank -H 'content-type: application/json' -d {shlex.quote(json.dumps(body))}"


def _how_to_begin() -> str:
    install = missing_for_local()
    local = f"for a model inside the gateway run: {install}" if install else "configure a model under providers.local"
    return f"Nothing can be ranked yet: {local}; for a vendor's set its key, for example COHERE_API_KEY."
