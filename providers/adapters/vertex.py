"""Google's ranking API (Vertex AI Search, "Discovery Engine"), called with the application's default credentials.

The project is in the path and pays for the call. A record's id is the document's index; its text is not wanted back.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct
from msgspec.json import Decoder
from msgspec.structs import replace

from providers.capabilities import Capabilities, Limits
from providers.spec import JSON, GoogleToken, HttpProvider, Options
from providers.types import Ranked, Ranking, RerankRequest
from providers.wire.errors import error_message
from providers.wire.extras import needs
from providers.wire.fields import effective_top_n, without_nulls
from providers.wire.paths import UrlName
from providers.wire.results import decode_response


class Project(Struct, frozen=True):
    """The Google Cloud project, by its id or number."""

    project: UrlName


class _Record(Struct):
    id: Annotated[str, Meta(pattern="^[0-9]{1,6}$")]
    score: float


class _Answer(Struct):
    records: Annotated[list[_Record], Meta(min_length=1)]


_ANSWER = Decoder(_Answer)


def path(project: str) -> str:
    return f"/v1/projects/{project}/locations/global/rankingConfigs/default_ranking_config:rank"


def encode(request: RerankRequest) -> JSON:
    return without_nulls(
        model=request.model,
        query=request.query,
        records=[{"id": str(index), "content": document} for index, document in enumerate(request.documents)],
        topN=effective_top_n(request),
        ignoreRecordDetailsInResponse=True,
    )


def decode(body: bytes, request: RerankRequest) -> Ranking:
    records = decode_response(body, _ANSWER).records
    return Ranking(results=[Ranked(int(record.id), record.score) for record in records])


def apply(options: Project) -> HttpProvider:
    return replace(PROVIDER, path=path(options.project), headers={"x-goog-user-project": options.project})


PROVIDER = HttpProvider(
    name="vertex",
    source="https://cloud.google.com/generative-ai-app-builder/docs/ranking (2026-11)",
    base_url="https://discoveryengine.googleapis.com",
    path=path("PROJECT"),
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset({"top_n"}),
    capabilities={
        "*": Capabilities(limits=Limits(documents=200)),
        "semantic-ranker-512*": Capabilities(limits=Limits(tokens_per_document=512)),
    },
    missing=needs("vertex", "google.auth", "requests"),
    key_required=False,
    auth=GoogleToken(),
    options=Options(shape=Project, apply=apply),
)
