"""Which refusals are about size: sentences of real servers, and others that speak of tokens or limits and are not."""

from __future__ import annotations

import time

import pytest

from providers import registry
from providers.spec import TOO_LONG, HttpProvider
from providers.wire.too_long import is_of_call, is_too_long, max_documents, max_tokens

SAID = {
    "vLLM": "This model's maximum context length is 8192 tokens. However, you requested 20673 tokens in the input for "
    "embedding generation. Please reduce the length of the input.",
    "vLLM, a prompt": "The decoder prompt (length 600) is longer than the maximum model length of 512.",
    "TEI": "Input validation error: `inputs` must have less than 512 tokens. Given: 534",
    "TEI, too many": "batch size 40 > maximum allowed batch size 32",
    "llama.cpp": "input (2793 tokens) is too large to process (current batch size: 2048)",
    "llama.cpp, older": "input is too large to process. increase the physical batch size",
    "llama.cpp, a slot": "input is larger than the max context size. skipping",
    "llama.cpp, a request": "request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it",
    "llama.cpp, while it runs": "Context size has been exceeded.",
    "llama-cpp-python": "Requested tokens (2285) exceed context window of 2048",
    "Voyage": "Request to model 'rerank-1' failed. The max allowed tokens per submitted batch is 100000. Your batch "
    "has 145736 tokens after truncation.",
    "Together": "the input is longer than the context",
    "Together's page": "Input token count + `max_tokens` parameter must be less than the context length of the model",
    "Pinecone": "Request contains a query+document pair with 10423 tokens, which exceeds the maximum token limit",
    "watsonx": "the number of input tokens 600 cannot exceed the total tokens limit 512 for this model",
    "DashScope": "Range of input length should be [1, 4000]",
    "Bedrock": "Malformed input request: expected maxLength: 32000, actual: 46735, please reformat your input",
    "Bedrock, another": "Input is too long for requested model.",
    "pydantic, a text": "body.query: String should have at most 32000 characters",
    "pydantic, a list": "body.input: List should have at most 1000 items after validation, not 1200",
    "OpenAI": "Too many questions: at most 400 can be asked.",
    "a vendor": "Too many tokens.",
}
NOT_ABOUT_SIZE = {
    "no documents": "invalid request: list of documents must not be empty",
    "a limit below one": "top_n must be at least 1",
    "a limit above the list": "Cannot provide numberOfResults value that exceeds the number of sources.",
    "a parameter": "body.max_tokens_per_doc: Input should be less than or equal to 4096",
    "a rate": "Token rate limit exceeded.",
    "a quota": "You exceeded your quota of 1000000 tokens per month.",
    "tokens of a minute": "Limit of 100000 tokens per minute exceeded",
    "a key": "The access token has expired; at most 10 API tokens may be active",
    "a model": "The model `x` does not exist. Valid aliases: bge",
    "the engine": "EngineCore encountered an issue.",
    "nothing": "",
}


@pytest.mark.parametrize("sentence", SAID.values(), ids=SAID)
def test_size_is_recognised(sentence: str) -> None:
    assert is_too_long(400, sentence, TOO_LONG)


@pytest.mark.parametrize("sentence", NOT_ABOUT_SIZE.values(), ids=NOT_ABOUT_SIZE)
def test_what_is_not_about_size_is_not(sentence: str) -> None:
    assert not is_too_long(400, sentence, TOO_LONG)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 503])
def test_a_status_that_the_vendor_uses_for_other_things_is_not_read(status: int) -> None:
    assert not is_too_long(status, SAID["llama.cpp"], TOO_LONG)


def test_a_413_needs_no_words() -> None:
    assert is_too_long(413, "", frozenset())


STATUSES = {
    "together": {403},
    "llamacpp": {500},
    "compatible": {500},
    "litellm": {500},
    "xinference": {500},
}


@pytest.mark.parametrize("name", [name for name in registry.names() if isinstance(registry.find(name), HttpProvider)])
def test_which_statuses_an_adapter_names_besides_the_usual(name: str) -> None:
    provider = registry.find(name)
    assert isinstance(provider, HttpProvider)
    assert provider.too_long == TOO_LONG | STATUSES.get(name, set())


def test_a_hostile_sentence_takes_no_time() -> None:
    started = time.process_time()
    for word in ("input ", "tokens ", "exceeds ", "too many "):
        is_too_long(400, word * 1_000_000, TOO_LONG)
    assert time.process_time() - started < 1


OF_CALL = {"TEI, too many": 32, "Voyage": None, "pydantic, a list": 1000, "OpenAI": None}


@pytest.mark.parametrize("case", SAID)
def test_a_call_is_told_from_a_text(case: str) -> None:
    assert is_of_call(400, SAID[case]) == (case in OF_CALL)
    assert max_documents(SAID[case]) == OF_CALL.get(case)


VAGUE = {"": True, "Payload Too Large": True, "Request Entity Too Large": True, "the input is too long": False}


@pytest.mark.parametrize("sentence", VAGUE)
def test_a_413_that_names_no_text_is_of_the_call(sentence: str) -> None:
    assert is_of_call(413, sentence) == VAGUE[sentence]


TOKENS = {
    "vLLM": 8192,
    "vLLM, a prompt": 512,
    "TEI": 511,
    "llama.cpp": 2048,
    "llama.cpp, a request": 4096,
    "llama-cpp-python": 2048,
    "watsonx": 512,
}


@pytest.mark.parametrize("case", SAID)
def test_the_limit_of_a_text_is_read_where_it_is_told(case: str) -> None:
    assert max_tokens(SAID[case]) == TOKENS.get(case)
