"""What an adapter is: pure functions and one frozen value. Everything live is in the gateway."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct

from providers.capabilities import CapabilitiesByModel, Limits
from providers.types import ClosableBackend, Ranking, RerankRequest

JSON = dict[str, Any]

Field = Literal["top_n", "max_tokens_per_doc", "priority", "return_documents", "return_spans", "instruction"]


TOO_LONG = frozenset({400, 413, 422})
"""The statuses with which most servers refuse what is too long."""

Path = str | Callable[[str], str]
"""Where an endpoint is below the base URL; a function of the model where the path names it (see wire/paths.py)."""


class Bearer(Struct, frozen=True):
    """The key is sent as `authorization: Bearer …`."""


class Header(Struct, frozen=True):
    """The key is sent in a header of the vendor's own, such as `api-key`: as it is, or after a scheme (`ApiKey …`)."""

    name: str
    scheme: str = ""


class NoAuth(Struct, frozen=True):
    """No key is sent."""


class AwsSignature(Struct, frozen=True):
    """Requests are signed (AWS Signature Version 4), with the credentials that the AWS SDK's chain finds.

    Attributes:
        service: its name in signatures.
        region: that the endpoint is in.
        profile: of the AWS configuration files; None is the usual one.
    """

    service: str
    region: str
    profile: str | None = None


class GoogleToken(Struct, frozen=True):
    """An access token of Google Cloud is sent as a bearer token, by Application Default Credentials."""

    scope: str = "https://www.googleapis.com/auth/cloud-platform"


Auth = Bearer | Header | NoAuth | AwsSignature | GoogleToken


class ScoreApi(Struct, frozen=True, kw_only=True):
    """A provider's own way to score pairs of texts, one query to many documents or one to each.

    Attributes:
        path: beside the rerank endpoint, for example `/v1/score`.
        encode, decode: as in HttpProvider, of requests that carry `queries`.
    """

    path: str
    encode: Callable[[RerankRequest], JSON | bytes]
    decode: Callable[[bytes, RerankRequest], Ranking]


class LimitsApi(Struct, frozen=True, kw_only=True):
    """Where a server tells what one call of it may carry.

    Attributes:
        path: beside the rerank endpoint, for example `/info`; asked by GET.
        decode: body of a 200 to limits. Pure. Raises ValueError for a body that is not the documented shape.
    """

    path: str
    decode: Callable[[bytes], Limits]


def _nothing_missing() -> str:
    return ""


class Adapter(Struct, frozen=True, kw_only=True):
    """What an adapter of any kind declares.

    Attributes:
        name: the adapter's name, and the default name of the provider.
        fields: the optional request fields that it honours, the vendor's own extras among them. A promise that the
            conformance test checks: over HTTP a field changes the body if and only if it is named here.
        capabilities: what is known of the models, by name or pattern; every adapter has an entry for `*`, all of them.
        api_key_env: the environment variable that the vendor's users set; None if there is no usual one.
        cuts_documents: the models, by name or pattern, for which it honours a declared `max_tokens_per_doc`; for others
            the gateway cuts documents itself, as for every model of an adapter that does not declare the field.
        logits_by: declared fields that make a model give logits in place of probabilities, with the value that does.
        missing: the install command, or "" if nothing is missing. Imports nothing heavy.
        source: where and when the facts were read, `https://… (YYYY-MM)`; "" where the adapter's module says it.
    """

    name: str
    fields: frozenset[str]
    capabilities: CapabilitiesByModel = {}
    api_key_env: str | None = None
    cuts_documents: tuple[str, ...] = ("*",)
    logits_by: Mapping[str, bool] = {}
    missing: Callable[[], str] = _nothing_missing
    source: str = ""


class Options(Struct, frozen=True, kw_only=True):
    """Settings of an adapter's own, which operators write under `options` of a provider.

    Attributes:
        shape: the Struct whose fields they are. What does not fit is told when the configuration is checked.
        apply: gives the adapter as it is with these options (an instance of `shape`): its path, body and the rest may
            depend on them. Pure. Raises ValueError, saying what is wrong, for options that fit and still cannot be.
    """

    shape: type[Struct]
    apply: Callable[[Any], HttpProvider]


class HttpProvider(Adapter, frozen=True, kw_only=True):
    """A reranker behind HTTP, said as data.

    Attributes:
        base_url: where the vendor serves it; None when the operator must say.
        path: the endpoint below the base, for example `/v2/rerank`, with a query where the vendor demands a constant
            one; a pure function of the model where it names it.
        encode: request to the body: JSON, or its bytes where the adapter encodes it itself. Pure: a retry may call it
            again.
        decode: body of a 200 to ranking. Pure; neither sorts, cuts nor checks indices: the gateway does, once. Raises
            ValueError (msgspec's errors are) or BadAnswer for a body that is not the documented shape.
        error_message: body of an error answer to the vendor's own sentence; "" when there is none.
        too_long: the statuses with which it refuses what is longer, or more, than it takes, with a sentence that says
            so (see wire/too_long.py); a 413 always means that.
        tokens_header: the header of an answer that says how many tokens were processed, in lower case, where the body
            does not; "" if none does.
        score: its score API, if it has one; without it only one query for all documents can be scored.
        limits: where it tells its limits; None if it does not.
        key_required: whether the target refuses calls without a key.
        auth: how the key is sent.
        headers: constant headers that the vendor demands.
        options: settings of its own; None if it has none.
    """

    base_url: str | None
    path: Path
    encode: Callable[[RerankRequest], JSON | bytes]
    decode: Callable[[bytes, RerankRequest], Ranking]
    error_message: Callable[[bytes], str]
    too_long: frozenset[int] = TOO_LONG
    tokens_header: str = ""
    score: ScoreApi | None = None
    limits: LimitsApi | None = None
    key_required: bool = True
    auth: Auth = Bearer()
    headers: Mapping[str, str] = {}
    options: Options | None = None


class LocalModel(Struct, frozen=True, kw_only=True):
    """How the operator wants one in-process model served. See `docs/configuration.md` for each setting.

    Attributes:
        name: what callers write after the provider's name.
        path: a folder, a Hub name, `package:import_name/folder` for a model that an installed package carries, or
            `installed:NAME` for one that was fetched by `rerank-gateway models install`.
        sha256: the expected hash of the folder's `model.safetensors`; checked before serving.
        pad_token: the token that fills short rows of a batch; None is the tokenizer's own, or its end of text.
        lexical: weight of the lexical term; 0 is off.
        vector_cache_bytes: of an embedding model; None is the engine's default, 0 keeps no vectors.
    """

    name: str
    path: str
    sha256: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8"] = "auto"
    activation: Literal["default", "sigmoid", "none"] = "default"
    label: str | None = None
    pad_token: str | None = None
    max_length: int | None = None
    long_documents: Literal["truncate", "chunk_max"] = "truncate"
    threads: int | None = None
    batch_tokens: int | None = None
    queue_tokens: int | None = None
    lexical: float = 0.0
    vector_cache_bytes: int | None = None


class LocalProvider(Adapter, frozen=True, kw_only=True):
    """Rerankers inside the gateway's own process.

    Attributes:
        remote: the adapter behind HTTP by which the same models are asked where other processes hold them; None where
            there is none.
        problems: what is wrong with one model's settings before anything is loaded (path not found, …), as sentences.
        open: load the model and give a backend, which the caller closes. Raises RerankError. Blocks for seconds: the
            gateway calls it in a thread.
    """

    problems: Callable[[LocalModel], list[str]]
    open: Callable[[LocalModel], ClosableBackend]
    remote: str | None = None


class PureProvider(Adapter, frozen=True, kw_only=True):
    """What ranks by a pure function, without network or model.

    Attributes:
        rank: request to ranking, in no time worth counting.
    """

    rank: Callable[[RerankRequest], Ranking]


Provider = HttpProvider | LocalProvider | PureProvider
"""The kinds of adapter there are. How each is opened is in the gateway, one file per kind."""
