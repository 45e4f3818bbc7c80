"""Local models in other processes: replicas of what the gateway itself would load, such as those on Ray Serve.

The dialect is the gateway's own. Unlike the adapter `gateway`, which may have anything behind it, this one knows what
is there: models of the adapter `local`, which read text and score each document by itself.

Source: docs/ray.md (2026-11)
"""

from __future__ import annotations

from providers.capabilities import Capabilities
from providers.spec import HttpProvider, ScoreApi
from providers.wire.errors import error_message
from providers.wire.gateway import CANONICAL, PATH, SCORE_PATH, decode, decode_score, encode_with, score_with

_EXTRAS = ("use_activation",)

PROVIDER = HttpProvider(
    name="engine",
    source="docs/ray.md (2026-11)",
    base_url=None,
    path=PATH,
    encode=encode_with(*_EXTRAS),
    decode=decode,
    error_message=error_message,
    fields=frozenset({"return_spans", *CANONICAL, *_EXTRAS}),
    capabilities={"*": Capabilities(scoring="pointwise")},
    logits_by={"use_activation": False},
    score=ScoreApi(path=SCORE_PATH, encode=score_with(*_EXTRAS), decode=decode_score),
    key_required=False,
)
