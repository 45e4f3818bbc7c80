"""What an adapter is: pure functions and one frozen value. Everything live is in the gateway."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct

from providers.types import ClosableBackend, Ranking, RerankRequest

JSON = dict[str, Any]

Field = Literal["top_n", "max_tokens_per_doc", "priority", "return_documents"]


class ScoreApi(Struct, frozen=True, kw_only=True):
    """A provider's own way to score pairs of texts, one query to many documents or one to each.

    Attributes:
        path: beside the rerank endpoint, for example `/v1/score`.
        encode, decode: as in HttpProvider, of requests that carry `queries`.
    """

    path: str
    encode: Callable[[RerankRequest], JSON]
    decode: Callable[[bytes, RerankRequest], Ranking]


class HttpProvider(Struct, frozen=True, kw_only=True):
    """A reranker behind HTTP, said as data.

    Attributes:
        name: the adapter's name, and the default name of the provider.
        base_url: where the vendor serves it; None when the operator must say.
        path: the endpoint below the base, for example `/v2/rerank`.
        encode: request to JSON body. Pure: a retry may call it again.
        decode: body of a 200 to ranking. Pure; neither sorts, cuts nor checks indices: the gateway does, once. Raises
            ValueError (msgspec's errors are) or BadAnswer for a body that is not the documented shape.
        error_message: body of an error answer to the vendor's own sentence; "" when there is none.
        fields: the optional request fields that change the body, the vendor's own extras among them. A promise that
            the conformance test checks: a field changes the body if and only if it is named here.
        max_documents: how many documents one call may carry; None is no documented limit.
        multimodal: whether content parts may be sent.
        score: its score API, if it has one; without it only one query for all documents can be scored.
        api_key_env: the environment variable that vendor's users set; None if there is no usual one.
        key_required: whether the target refuses calls without a key.
        headers: constant headers that the vendor demands.
    """

    name: str
    base_url: str | None
    path: str
    encode: Callable[[RerankRequest], JSON]
    decode: Callable[[bytes, RerankRequest], Ranking]
    error_message: Callable[[bytes], str]
    fields: frozenset[str]
    max_documents: int | None = None
    multimodal: bool = False
    score: ScoreApi | None = None
    api_key_env: str | None = None
    key_required: bool = True
    headers: Mapping[str, str] = {}


class LocalModel(Struct, frozen=True, kw_only=True):
    """How the operator wants one in-process model served. See `docs/configuration.md` for each setting.

    Attributes:
        name: what callers write after the provider's name.
        path: a folder, a Hub name, or `package:import_name/folder` for a model that an installed package carries.
        sha256: the expected hash of the folder's `model.safetensors`; checked before serving.
    """

    name: str
    path: str
    sha256: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    activation: Literal["default", "sigmoid", "none"] = "default"
    label: str | None = None
    max_length: int | None = None
    long_documents: Literal["truncate", "chunk_max"] = "truncate"
    threads: int | None = None
    batch_tokens: int | None = None
    queue_tokens: int | None = None


class LocalProvider(Struct, frozen=True, kw_only=True):
    """Rerankers inside the gateway's own process.

    Attributes:
        name: the adapter's name, and the default name of the provider.
        fields: as in HttpProvider.
        missing: what must be installed first, as a command to run; "" when all is there. Imports nothing heavy.
        problems: what is wrong with one model's settings before anything is loaded (path not found, …), as sentences.
        open: load the model and give a backend, which the caller closes. Raises RerankError. Blocks for seconds: the
            gateway calls it in a thread.
    """

    name: str
    fields: frozenset[str]
    missing: Callable[[], str]
    problems: Callable[[LocalModel], list[str]]
    open: Callable[[LocalModel], ClosableBackend]


class PureProvider(Struct, frozen=True, kw_only=True):
    """What ranks by a pure function, without network or model.

    Attributes:
        name: the adapter's name, and the default name of the provider.
        fields: as in HttpProvider.
        rank: request to ranking, in no time worth counting.
    """

    name: str
    fields: frozenset[str]
    rank: Callable[[RerankRequest], Ranking]


Provider = HttpProvider | LocalProvider | PureProvider
