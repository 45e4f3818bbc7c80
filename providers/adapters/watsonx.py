"""IBM watsonx.ai text rerank.

Source: https://cloud.ibm.com/apidocs/watsonx-ai#text-rerank (2026-11)

The key is an IAM access token, which ends after an hour: an API key is not exchanged for one here. The model runs in a
project or a space. `truncate_input_tokens` cuts what is longer; without it a call with a longer pair is refused.
"""

from __future__ import annotations

from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from providers.capabilities import Capabilities
from providers.spec import JSON, HttpProvider, Options
from providers.types import RerankRequest
from providers.wire.errors import error_message
from providers.wire.fields import effective_top_n, vendor_fields, without_nulls
from providers.wire.paths import UrlName
from providers.wire.shape import Shape, decoder

_EXTRAS = ("truncate_input_tokens",)


class Place(Struct, frozen=True):
    """Where the model runs: a project or a space, by its id, in a region of IBM Cloud."""

    project_id: str | None = None
    space_id: str | None = None
    region: UrlName = "us-south"


def encode(place: Place, request: RerankRequest) -> JSON:
    wishes = without_nulls(inputs=False, top_n=effective_top_n(request))
    return without_nulls(
        model_id=request.model,
        project_id=place.project_id,
        space_id=place.space_id,
        query=request.query,
        inputs=[{"text": document} for document in request.documents],
        parameters={"return_options": wishes, **vendor_fields(request, _EXTRAS)},
    )


def apply(place: Place) -> HttpProvider:
    if (place.project_id is None) == (place.space_id is None):
        raise ValueError("set either project_id or space_id")
    base_url = f"https://{place.region}.ml.cloud.ibm.com"
    return replace(PROVIDER, base_url=base_url, encode=partial(encode, place))


PROVIDER = HttpProvider(
    name="watsonx",
    base_url="https://us-south.ml.cloud.ibm.com",
    path="/ml/v1/text/rerank?version=2024-03-13",
    encode=partial(encode, Place()),
    decode=decoder(Shape(score="score", tokens="input_token_count")),
    error_message=error_message,
    fields=frozenset({"top_n", *_EXTRAS}),
    capabilities={
        "*": Capabilities(),
        # https://ibm.github.io/watsonx-ai-java-sdk/services/rerank-service (2026-11): 2.9258, -0.9204
        "cross-encoder/ms-marco-*": Capabilities(scoring="pointwise", score_space="logit"),
    },
    api_key_env="WATSONX_TOKEN",
    options=Options(shape=Place, apply=apply),
)
