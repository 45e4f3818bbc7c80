"""Amazon Bedrock's rerank API, signed with the credentials of AWS that its SDK's chain finds.

A model is a foundation model's id, such as `cohere.rerank-v3-5:0`, or a whole ARN. Not every region has these models.
How many results are wanted is always said, so that they come on one page.
"""

from __future__ import annotations

from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from providers.capabilities import Capabilities, Limits
from providers.spec import JSON, AwsSignature, HttpProvider, Options
from providers.types import RerankRequest, TextOrParts
from providers.wire.errors import error_message
from providers.wire.extras import needs
from providers.wire.fields import effective_top_n
from providers.wire.paths import UrlName
from providers.wire.shape import Shape, decoder


class Place(Struct, frozen=True):
    """Where the models are, and with which profile of the AWS configuration files they are called."""

    region: UrlName
    profile: str | None = None


def encode(region: str, request: RerankRequest) -> JSON:
    wanted = effective_top_n(request) or len(request.documents)
    model = {"modelArn": _arn(region, request.model)}
    return {
        "queries": [{"type": "TEXT", "textQuery": {"text": request.query}}],
        "sources": list(map(_source, request.documents)),
        "rerankingConfiguration": {
            "type": "BEDROCK_RERANKING_MODEL",
            "bedrockRerankingConfiguration": {"numberOfResults": wanted, "modelConfiguration": model},
        },
    }


def _source(document: TextOrParts) -> JSON:
    return {"type": "INLINE", "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": document}}}


def _arn(region: str, model: str) -> str:
    partition = "aws-us-gov" if region.startswith("us-gov-") else "aws"
    return model if model.startswith("arn:") else f"arn:{partition}:bedrock:{region}::foundation-model/{model}"


def apply(place: Place) -> HttpProvider:
    return replace(
        PROVIDER,
        base_url=f"https://bedrock-agent-runtime.{place.region}.amazonaws.com",
        encode=partial(encode, place.region),
        auth=AwsSignature("bedrock", place.region, place.profile),
    )


PROVIDER = HttpProvider(
    name="bedrock",
    source="https://docs.aws.amazon.com/bedrock/latest/APIReference/API_agent-runtime_Rerank.html (2026-11)",
    base_url="https://bedrock-agent-runtime.REGION.amazonaws.com",
    path="/rerank",
    encode=partial(encode, "REGION"),
    decode=decoder(Shape(score="relevanceScore")),
    error_message=error_message,
    fields=frozenset({"top_n"}),
    capabilities={
        "*": Capabilities(limits=Limits(documents=1_000)),
        # https://docs.litellm.ai/docs/providers/bedrock (2026-11)
        "*cohere.rerank-v3-5:0": Capabilities(limits=Limits(tokens_per_pair=4_096), score_space="probability"),
        "*amazon.rerank-v1:0": Capabilities(limits=Limits(tokens_per_pair=32_000)),
    },
    missing=needs("bedrock", "botocore"),
    key_required=False,
    auth=AwsSignature("bedrock", "REGION"),
    options=Options(shape=Place, apply=apply),
)
