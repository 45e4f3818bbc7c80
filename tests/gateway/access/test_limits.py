"""Limits, budgets and prices, through the running gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import __main__ as command_line
from gateway.access import counters, limits
from gateway.access.limits import period
from gateway.access.prices import Price, PriceTable, as_of, estimate_tokens, max_tokens, shipped
from gateway.errors import ConfigError
from providers import registry
from providers.types import ContentParts, Ranking, RerankRequest, Usage
from tests.gateway.access import servers
from tests.gateway.access.conftest import UPSTREAM, Upstream, body, config, key
from tests.ports import free_port

SEARCH = 0.002  # what cohere/rerank-v3.5 costs


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """A real server for this module, if there is one."""
    if servers.binary() is None:
        yield None
        return
    with servers.server(tmp_path_factory.mktemp("valkey")) as (address, _):
        yield address


@pytest.fixture(params=["memory", "valkey"])
def stored(request: pytest.FixtureRequest, url: str | None) -> dict[str, Any]:
    """The configuration's section for each store."""
    if request.param == "memory":
        return {}
    if url is None:
        pytest.skip("no valkey-server or redis-server on this machine")
    return {"store": {"url": url, "timeout": 5}}


@pytest.fixture(autouse=True)
def _empty(url: str | None) -> None:
    """No test sees another's counters."""
    if url:
        import redis

        with redis.Redis.from_url(url) as connection:
            connection.flushdb()


class Team:
    """A client with a key."""

    def __init__(self, client: Any, secret: str) -> None:
        self.client, self.headers = client, {"authorization": f"Bearer {secret}"}

    async def ask(self, **fields: Any) -> Any:
        return await self.client.post("/v1/rerank", json=body(**fields), headers=self.headers)

    async def usage(self, **query: Any) -> Any:
        return await self.client.get("/v1/usage", params=query, headers=self.headers)


async def team(serve: Any, sections: dict[str, Any] | None = None, **settings: Any) -> Team:
    secret, entry = key(**settings)
    return Team(await serve(auth={"keys": [entry]}, **(sections or {})), secret)


RATES: dict[str, tuple[dict[str, str], dict[str, Any], list[int]]] = {
    "requests": ({"requests": "2/hour"}, {}, [200, 200, 429]),
    "documents": ({"documents": "5/hour"}, {"documents": ["a", "b"]}, [200, 200, 429]),
    "more documents than ever fit": ({"documents": "2/hour"}, {"documents": ["a", "b", "c"]}, [413]),
    "tokens, as counted by the provider": ({"tokens": "300/hour"}, {}, [200, 200, 200, 429]),
}


@pytest.mark.parametrize(("rates", "fields", "expected"), RATES.values(), ids=RATES.keys())
async def test_a_key_gets_its_rate(
    rates: dict[str, str], fields: dict[str, Any], expected: list[int], serve: Any, upstream: Upstream, stored: Any
) -> None:
    upstream.usage = {"billed_units": {"input_tokens": 100, "search_units": 1}}
    caller = await team(serve, stored, limits=rates)
    assert [(await caller.ask(**fields)).status_code for _ in expected] == expected
    assert len(upstream.calls) == expected.count(200)


async def test_a_refusal_says_what_the_limit_is_and_when_to_come_back(
    serve: Any, upstream: Upstream, stored: Any
) -> None:
    caller = await team(serve, stored, limits={"requests": "1/minute"})
    allowed, refused = await caller.ask(), await caller.ask()
    assert allowed.headers["x-ratelimit-remaining-requests"] == "0"
    assert refused.json()["message"] == 'key "team" is limited to 1 request per minute'
    assert refused.json()["error_type"] == "limit_reached"
    assert 59 <= int(refused.headers["retry-after"]) <= 61
    assert refused.headers["x-ratelimit-limit-requests"] == "1"


WORDS: dict[str, tuple[dict[str, Any], str]] = {
    "one request": ({"requests": "1/second"}, "1 request per second"),
    "requests": ({"requests": "600/minute"}, "600 requests per minute"),
    "one document": ({"documents": "1 / hour"}, "1 document per hour"),
    "tokens": ({"tokens": "21/day"}, "21 tokens per day"),
    "one token": ({"tokens": "1/day"}, "1 token per day"),
    "one at once": ({"concurrency": 1}, "1 request at a time"),
    "several at once": ({"concurrency": 11}, "11 requests at a time"),
}


@pytest.mark.parametrize(("settings", "words"), WORDS.values(), ids=WORDS.keys())
def test_a_limit_is_said_in_plain_english_and_its_counter_keeps_its_name(settings: dict[str, Any], words: str) -> None:
    [limit] = limits.key_limits("team", limits.KeyLimitSettings(**settings), None)
    assert (limit.owner, limit.words) == ('key "team"', words)
    assert limit.key.endswith(":key team"), "counters in a store outlive an update of the gateway"


async def test_the_tightest_limit_of_each_unit_is_shown(serve: Any, upstream: Upstream) -> None:
    sections = {"rate_limits": {"requests": "3/hour", "documents": "100/hour"}}
    caller = await team(serve, sections, limits={"requests": "1000/minute", "documents": "10/minute"})
    shown = (await caller.ask()).headers
    assert (shown["x-ratelimit-limit-requests"], shown["x-ratelimit-remaining-requests"]) == ("3", "2")
    assert (shown["x-ratelimit-limit-documents"], shown["x-ratelimit-remaining-documents"]) == ("10", "8")
    assert shown["x-ratelimit-reset-documents"] == "60"


async def test_without_limits_no_header_tells_of_any(serve: Any, upstream: Upstream) -> None:
    shown = (await (await team(serve)).ask()).headers
    assert [name for name in shown if "limit" in name or "budget" in name] == []


async def test_one_key_does_not_use_up_anothers(serve: Any, upstream: Upstream) -> None:
    made = [key(name, limits={"requests": "1/hour"}) for name in ("one", "two")]
    client = await serve(auth={"keys": [entry for _, entry in made]})
    answers = [await Team(client, secret).ask() for secret, _ in made for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429, 200, 429]


@pytest.mark.parametrize("auth", ["none", "keys"])
async def test_the_gateways_own_limit_holds_for_all_together(auth: str, serve: Any, upstream: Upstream) -> None:
    made = [key(name) for name in ("one", "two")]
    sections = {"auth": {"keys": [entry for _, entry in made]} if auth == "keys" else "none"}
    client = await serve(rate_limits={"requests": "3/hour"}, **sections)
    answers = [await Team(client, secret).ask() for _ in range(2) for secret, _ in made]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]


MODELS = {
    "by its own name": "cohere/rerank-v3.5",
    "by an alias": "alone",
}


@pytest.mark.parametrize("name", MODELS.values(), ids=MODELS.keys())
async def test_a_models_limit_holds_by_whatever_name_it_is_asked_for(
    name: str, serve: Any, upstream: Upstream, stored: Any
) -> None:
    sections = {"models": {"alone": {"target": "cohere/rerank-v3.5"}}, **stored}
    client = await serve(rate_limits={"models": {"cohere/rerank-v3*": {"requests": "2/hour"}}}, **sections)
    answers = [await client.post("/v1/rerank", json=body(model=name)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert len(upstream.calls) == 2


async def test_beyond_a_models_limit_the_fallback_serves_and_its_own_limit_holds(
    serve: Any, upstream: Upstream
) -> None:
    models = {"cohere/rerank-v3.5": {"requests": "1/hour"}, "cohere/rerank-v3.0": {"requests": "1/hour"}}
    client = await serve(rate_limits={"models": models})
    answers = [await client.post("/v1/rerank", json=body(model="fast")) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.json().get("model") for answer in answers[:2]] == ["fast", "slow"]


async def test_a_key_has_so_many_requests_at_once_and_gets_them_back(
    serve: Any, upstream: Upstream, stored: Any
) -> None:
    caller = await team(serve, stored, limits={"concurrency": 2})
    inside, leave = asyncio.Semaphore(0), asyncio.Event()

    async def wait() -> None:
        inside.release()
        await leave.wait()

    upstream.wait = wait
    running = [asyncio.create_task(caller.ask()) for _ in range(2)]
    for _ in running:
        await inside.acquire()
    refused = await caller.ask()
    leave.set()
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert [(await task).status_code for task in running] == [200, 200]
    assert (await caller.ask()).status_code == 200


@pytest.mark.parametrize("outcome", ["upstream fails", "caller leaves"])
async def test_a_place_is_given_back_however_the_request_ends(
    outcome: str, serve: Any, upstream: Upstream, stored: Any
) -> None:
    caller = await team(serve, stored, limits={"concurrency": 1})
    if outcome == "upstream fails":
        upstream.status = 500
        assert (await caller.ask()).status_code == 502
        upstream.status = 200
    else:
        await _hang_up(caller, upstream)
    assert (await caller.ask()).status_code == 200


async def _hang_up(caller: Team, upstream: Upstream) -> None:
    inside = asyncio.Event()

    async def wait() -> None:
        inside.set()
        await asyncio.Event().wait()

    upstream.wait = wait
    task = asyncio.create_task(caller.ask())
    await inside.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    upstream.wait = None


async def test_a_budget_is_spent_to_the_last_search_and_no_further(serve: Any, upstream: Upstream, stored: Any) -> None:
    caller = await team(serve, stored, budget={"usd": 5 * SEARCH, "period": "month"})
    answers = [await caller.ask() for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [402]
    assert answers[-1].json()["error_type"] == "budget_spent"
    assert [bool(answer.headers.get("x-budget-warning")) for answer in answers[:5]] == [False] * 3 + [True] * 2
    assert answers[4].headers["x-budget-warning"] == "100.0% of $0.01 per month is spent"
    assert len(upstream.calls) == 5


async def test_what_one_request_costs_is_told(serve: Any, upstream: Upstream) -> None:
    upstream.usage = {"billed_units": {"search_units": 3}}
    assert (await (await team(serve)).ask()).json()["extra_fields"]["cost"] == 3 * SEARCH


async def test_an_unknown_price_is_not_told_and_never_zero(serve: Any, upstream: Upstream) -> None:
    caller = await team(serve)
    assert "cost" not in (await caller.ask(model="cohere/new-model")).json()["extra_fields"]
    [row] = (await caller.usage()).json()["data"]
    assert (row["unpriced_requests"], row.get("cost")) == (1, None)


@pytest.mark.parametrize("fields", [{"model": "cohere/new"}, {"fallbacks": ["cohere/new"]}], ids=["model", "fallback"])
async def test_a_key_with_a_budget_cannot_escape_it_by_a_model_without_a_price(
    fields: dict[str, Any], serve: Any, upstream: Upstream
) -> None:
    caller = await team(serve, budget={"usd": 1})
    answer = await caller.ask(**fields)
    assert (answer.status_code, answer.json()["error_type"]) == (403, "price_unknown")
    assert upstream.calls == []


async def test_what_the_upstream_refused_costs_nothing(serve: Any, upstream: Upstream, stored: Any) -> None:
    caller = await team(serve, stored, budget={"usd": SEARCH})
    upstream.status = 400
    assert (await caller.ask()).status_code == 400
    upstream.status = 200
    assert (await caller.ask()).status_code == 200


async def test_an_answer_of_the_last_resort_costs_nothing(serve: Any, upstream: Upstream, stored: Any) -> None:
    providers = {"cohere": {"base_url": UPSTREAM, "api_key": "k"}, "own": {"adapter": "passthrough"}}
    caller = await team(serve, {"providers": providers, **stored}, budget={"usd": SEARCH})
    upstream.status = 500
    assert [(await caller.ask(fallbacks=["own/order"])).status_code for _ in range(3)] == [200] * 3


async def test_who_hangs_up_pays(serve: Any, upstream: Upstream, stored: Any) -> None:
    caller = await team(serve, stored, budget={"usd": SEARCH})
    await _hang_up(caller, upstream)
    assert (await caller.ask()).status_code == 402


async def test_a_token_price_is_reserved_at_its_most_and_corrected(serve: Any, upstream: Upstream, stored: Any) -> None:
    upstream.usage = {"billed_units": {"input_tokens": 10}}
    sections = {"prices": {"cohere/*": {"per_million_tokens": 1}}, **stored}
    caller = await team(serve, sections, budget={"usd": 0.0001})
    answers = [(await caller.ask()).status_code for _ in range(12)]
    request = RerankRequest(model="", query="tube", documents=["tubes", "helmets"])
    fit = 1 + (100 - max_tokens(request)) // 10
    assert answers == [200] * fit + [402] * (12 - fit)


LARGE: dict[str, dict[str, Any]] = {
    "many documents": {"documents": ["a"] * 1001},
    "documents that count as several": {"documents": ["word " * 1000] * 90},
    "a query that makes them so": {"query": "word " * 1000, "documents": ["a"] * 90},
}


@pytest.mark.parametrize("fields", LARGE.values(), ids=LARGE.keys())
async def test_a_request_of_several_searches_does_not_fit_into_the_budget_of_one(
    fields: dict[str, Any], serve: Any, upstream: Upstream, stored: Any
) -> None:
    caller = await team(serve, stored, budget={"usd": SEARCH})
    assert (await caller.ask(**fields)).status_code == 402
    assert upstream.calls == []
    assert (await caller.ask()).status_code == 200


LIES: dict[str, dict[str, Any]] = {
    "searches below nothing": {"search_units": -1000},
    "more searches than there can be": {"search_units": 1e300},
    "both": {"search_units": -1, "input_tokens": -(10**30)},
}


@pytest.mark.parametrize("billed", LIES.values(), ids=LIES.keys())
async def test_an_upstream_that_lies_about_its_counts_changes_no_budget_and_no_rate(
    billed: dict[str, Any], serve: Any, upstream: Upstream, stored: Any
) -> None:
    upstream.usage = {"billed_units": billed}
    caller = await team(serve, stored, budget={"usd": 2 * SEARCH}, limits={"tokens": "100000/hour"})
    assert [(await caller.ask()).status_code for _ in range(3)] == [200, 200, 402]
    [row] = [row for row in (await caller.usage()).json()["data"] if "model" in row]
    assert (row["unpriced_requests"], "search_units" in row, "tokens" in row) == (2, False, False)


async def test_where_nobody_counted_the_searches_the_reserved_money_stays_spent(
    serve: Any, upstream: Upstream, stored: Any
) -> None:
    upstream.usage = {}
    caller = await team(serve, stored, budget={"usd": 2.5 * SEARCH})
    answers = [await caller.ask() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 402]
    assert "cost" not in answers[0].json()["extra_fields"]
    usage = (await caller.usage()).json()["data"]
    assert [(row["unpriced_requests"], "cost" in row) for row in usage if "model" in row] == [(2, False)]


async def test_at_once_no_more_is_spent_than_the_budget_has(serve: Any, upstream: Upstream, stored: Any) -> None:
    caller = await team(serve, stored, budget={"usd": 7 * SEARCH})
    answers = await asyncio.gather(*(caller.ask() for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [402] * 13


async def test_usage_is_counted_by_day_key_and_model(serve: Any, upstream: Upstream, stored: Any) -> None:
    caller = await team(serve, stored)
    await caller.ask()
    await caller.ask(documents=["a", "b", "c"])
    upstream.status = 500
    await caller.ask(model="cohere/other")
    rows = (await caller.usage()).json()["data"]
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert rows == [
        {"date": today, "key": "team", "requests": 1, "failed_requests": 1},
        {
            "date": today,
            "key": "team",
            "model": "cohere/rerank-v3.5",
            "requests": 2,
            "documents": 5,
            "search_units": 2.0,
            "cost": 2 * SEARCH,
        },
    ]


SEEN: dict[str, tuple[bool, dict[str, str], int, list[str]]] = {
    "its own": (False, {}, 200, ["one"]),
    "its own by name": (False, {"key": "one"}, 200, ["one"]),
    "another's": (False, {"key": "two"}, 403, []),
    "all": (False, {"key": "*"}, 403, []),
    "admin: its own": (True, {}, 200, ["one"]),
    "admin: another's": (True, {"key": "two"}, 200, ["two"]),
    "admin: all": (True, {"key": "*"}, 200, ["one", "two"]),
    "a past day": (False, {"last": "2020-01-01"}, 200, []),
    "backwards": (False, {"first": "2026-01-02", "last": "2026-01-01"}, 400, []),
    "too long": (False, {"first": "2000-01-01"}, 400, []),
    "no day": (False, {"first": "yesterday"}, 400, []),
    "after no cursor": (False, {"after": "bm8gY3Vyc29y"}, 400, []),
    "after no base64": (False, {"after": "é"}, 400, []),
    "after too much": (False, {"after": "W" * 5000}, 400, []),
    "after a row of another day": (False, {"after": "WyIyMDAwLTAxLTAxIiwib25lIiwiIl0="}, 200, ["one"]),
    "the end of the calendar": (False, {"first": "9999-12-31"}, 200, []),
}


@pytest.mark.parametrize(("admin", "query", "status", "seen"), SEEN.values(), ids=SEEN.keys())
async def test_who_sees_whose_usage(
    admin: bool, query: dict[str, str], status: int, seen: list[str], serve: Any, upstream: Upstream
) -> None:
    made = [key("one", admin=admin), key("two")]
    client = await serve(auth={"keys": [entry for _, entry in made]})
    callers = [Team(client, secret) for secret, _ in made]
    for caller in callers:
        await caller.ask()
    answer = await callers[0].usage(**query)
    assert answer.status_code == status
    assert [row["key"] for row in answer.json().get("data", [])] == seen


async def test_usage_is_answered_in_pages(
    serve: Any, upstream: Upstream, stored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.access.usage.MAX_PAGE_ROWS", 2)
    caller = await team(serve, stored)
    names = [f"cohere/m{number}" for number in range(5)]
    for name in names:
        await caller.ask(model=name)
    pages, query = [], dict[str, str]()
    while True:
        answer = (await caller.usage(**query)).json()
        pages.append([row["model"] for row in answer["data"]])
        if answer["next"] is None:
            break
        query = {"after": answer["next"]}
    assert pages == [names[:2], names[2:4], names[4:]]


async def test_usage_takes_a_key(serve: Any) -> None:
    assert (await (await serve(auth="none")).get("/v1/usage")).status_code == 401


async def test_usage_survives_a_restart_where_a_store_is_configured(serve: Any, upstream: Upstream, url: Any) -> None:
    if url is None:
        pytest.skip("no valkey-server or redis-server on this machine")
    secret, entry = key()
    sections = {"auth": {"keys": [entry]}, "store": {"url": url, "timeout": 5}}
    for _ in range(2):
        caller = Team(await serve(**sections), secret)
        await caller.ask()
        rows = (await caller.usage()).json()["data"]
    assert rows[0]["requests"] == 2


@pytest.mark.parametrize(("when_down", "expected"), [("fail_open", 200), ("fail_closed", 503)])
async def test_without_its_store_the_gateway_does_as_configured_and_counts_it(
    when_down: str, expected: int, serve: Any, upstream: Upstream
) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    sections = {"store": {"url": url, "when_down": when_down}}
    caller = await team(serve, sections, limits={"requests": "5/hour"})
    assert (await caller.ask()).status_code == expected
    assert (await caller.usage()).status_code == 503
    shown = (await caller.client.get("/metrics", headers=caller.headers)).text
    assert float(shown.rsplit("rerank_gateway_store_failures_total ", 1)[1].split()[0]) >= 2


PERIODS = {
    "day": ("day", "2026-11-20T23:59", "2026-11-20", "2026-11-21T00:00"),
    "week": ("week", "2026-11-20T12:00", "2026-11-16w", "2026-11-23T00:00"),
    "a week over two years": ("week", "2027-01-01T00:00", "2026-12-28w", "2027-01-04T00:00"),
    "month": ("month", "2026-11-20T12:00", "2026-11", "2026-12-01T00:00"),
    "december": ("month", "2026-12-31T23:59", "2026-12", "2027-01-01T00:00"),
}


@pytest.mark.parametrize(("name", "now", "label", "end"), PERIODS.values(), ids=PERIODS.keys())
def test_periods_of_the_calendar(name: str, now: str, label: str, end: str) -> None:
    moments = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (now, end)]
    assert period(name, moments[0]) == (label, moments[1])


def ranking(**usage: Any) -> Ranking:
    return Ranking(results=[], usage=Usage(**usage) if usage else None)


COSTS: dict[str, tuple[dict[str, Any], Ranking, int, int | None]] = {
    "searches as billed": ({"per_search": 0.002}, ranking(search_units=2), 3, 4_000_000),
    "searches that nobody counted": ({"per_search": 0.002}, ranking(), 500, None),
    "so many documents are a search": (
        {"per_search": 0.002, "documents_per_search": 100},
        ranking(),
        101,
        4_000_000,
    ),
    "tokens": ({"per_million_tokens": 0.05}, ranking(total_tokens=1000), 3, 50_000),
    "tokens as billed": ({"per_million_tokens": 0.05}, ranking(total_tokens=1000, billed_tokens=1200), 3, 60_000),
    "fewer tokens billed": ({"per_million_tokens": 0.05}, ranking(total_tokens=1000, billed_tokens=0), 3, 0),
    "billed by search": ({"per_search": 0.002}, ranking(search_units=1, billed_tokens=9), 3, 2_000_000),
    "prompt tokens": ({"per_million_tokens": 0.05}, ranking(prompt_tokens=1000), 3, 50_000),
    "tokens not counted": ({"per_million_tokens": 0.05}, ranking(search_units=1), 3, None),
    "no usage": ({"per_million_tokens": 0.05}, ranking(), 3, None),
    "nothing": ({"per_search": 0}, ranking(), 3, 0),
    "both": ({"per_search": 1, "per_million_tokens": 1}, ranking(total_tokens=1, search_units=1), 3, 1_000_001_000),
}


@pytest.mark.parametrize(("price", "answer", "documents", "nano"), COSTS.values(), ids=COSTS.keys())
def test_what_an_answer_costs(price: dict[str, Any], answer: Ranking, documents: int, nano: int | None) -> None:
    assert Price(**price).cost(answer, documents) == nano


FOUND = {
    "shipped": ({}, "cohere", "rerank-v3.5", 0.002),
    "shipped, for another name of the provider": ({}, "cohere-eu", "rerank-v3.5", 0.002),
    "own": ({"cohere-eu/rerank-v3.5": 0.001}, "cohere-eu", "rerank-v3.5", 0.001),
    "own does not reach further": ({"cohere-eu/rerank-v3.5": 0.001}, "cohere", "rerank-v3.5", 0.002),
    "pattern": ({"local/*": 0.0}, "local", "m", 0.0),
    "exact over pattern": ({"local/*": 0.0, "local/m": 0.1}, "local", "m", 0.1),
    "unknown": ({}, "local", "m", None),
}


@pytest.mark.parametrize(("own", "provider", "model", "expected"), FOUND.values(), ids=FOUND.keys())
def test_which_price_is_found(own: dict[str, float], provider: str, model: str, expected: float | None) -> None:
    table = PriceTable({name: Price(per_search=usd) for name, usd in own.items()}, lambda name: name.split("-")[0])
    price = table.find(provider, model)
    assert (price and price.per_search) == expected


def test_the_shipped_table_is_dated_and_every_entry_names_a_known_adapter() -> None:
    assert datetime.fromisoformat(as_of())
    assert {name.split("/")[0] for name in shipped()} <= set(registry.names())
    assert all(price.max_cost(1, 1) > 0 for price in shipped().values())


@pytest.mark.parametrize("text", ["plain words here", "日本語の文書", "é" * 50, "\U0001f600" * 9, "a\x00b"], ids=repr)
def test_no_tokenizer_makes_more_tokens_than_are_reserved(text: str) -> None:
    request = RerankRequest(model="", query=text, documents=[text, text])
    assert max_tokens(request) >= 4 * len(text.encode())
    assert estimate_tokens(request) <= max_tokens(request)


def test_of_pairs_the_longest_query_counts() -> None:
    pairs = RerankRequest(model="m", query="q", queries=["q", "long " * 100], documents=["a", "b"])
    assert max_tokens(pairs) > 1000


def test_content_parts_count_too() -> None:
    request = RerankRequest(model="", query="q", documents=[ContentParts([{"type": "text", "text": "x" * 100}])])
    assert max_tokens(request) > 100


PROBLEMS: dict[str, tuple[dict[str, Any], str]] = {
    "rate": ({"rate_limits": {"requests": "many"}}, "rate_limits.requests: must look like `600/minute`"),
    "rate of zero": ({"rate_limits": {"requests": "0/minute"}}, "rate_limits.requests"),
    "window": ({"rate_limits": {"tokens": "5/year"}}, "rate_limits.tokens"),
    "concurrency of a model": ({"rate_limits": {"models": {"m": {"concurrency": 3}}}}, "unknown key"),
    "price without a unit": ({"prices": {"a/b": {}}}, "prices.a/b: set per_search or per_million_tokens"),
    "negative price": ({"prices": {"a/b": {"per_search": -1}}}, "prices.a/b.per_search"),
    "store": ({"store": {"url": "http://x"}}, "store.url: must be a redis://"),
    "store's secret": ({"store": {"url": "mysql://u:hunter2@x"}}, "store.url"),
    "budget": ({"auth": {"keys": [key(budget={"usd": 0})[1]]}}, "auth.keys.0.budget.usd"),
}


@pytest.mark.parametrize(("sections", "expected"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_a_problem_of_these_sections_is_told(sections: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config(**sections)
    assert expected in str(refused.value)
    assert "hunter2" not in str(refused.value)


ALONE: dict[str, tuple[dict[str, Any], int, bool]] = {
    "limits": ({"rate_limits": {"requests": "9/minute"}}, 2, True),
    "limits of a model": ({"rate_limits": {"models": {"*": {"requests": "9/minute"}}}}, 2, True),
    "keys, whose usage is counted": ({"auth": {"keys": [key()[1]]}}, 2, True),
    "one worker": ({"rate_limits": {"requests": "9/minute"}}, 1, False),
    "a store": ({"rate_limits": {"requests": "9/minute"}, "store": {"url": "redis://127.0.0.1:9"}}, 2, False),
    "nothing to count": ({}, 2, False),
}


@pytest.mark.parametrize(("sections", "workers", "warned"), ALONE.values(), ids=ALONE.keys())
@pytest.mark.parametrize("command", ["check", "serve"])
def test_it_is_told_that_workers_without_a_store_count_apart(
    command: str,
    sections: dict[str, Any],
    workers: int,
    warned: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump({"server": {"workers": workers}, "providers": {"passthrough": {}}, **sections}))
    monkeypatch.setattr("gateway.server.run.serve", lambda config, path: 0)
    assert command_line.main([command, *(["--config"] if command == "serve" else []), str(path)]) == 0
    told = capsys.readouterr()
    assert ("each of the 2 workers counts separately" in told.out + told.err) is warned


@pytest.mark.parametrize("scheme", ["valkey", "valkeys", "redis", "rediss", "unix"])
def test_every_spelling_of_a_store_is_understood(scheme: str) -> None:
    store = config(store={"url": f"{scheme}://host/0"}).store
    assert store is not None
    assert store.url.get_secret_value().startswith(("redis", "unix"))
    assert "host" not in repr(store)


def test_a_window_is_named_by_its_length_so_that_a_changed_one_begins_anew() -> None:
    minute, hour = (
        limits.limits_of("key a", limits.RateSettings(requests=f"5/{window}"))[0] for window in ("minute", "hour")
    )
    charges: list[counters.Charge] = [limit.charge(1, datetime.now(UTC)) for limit in (minute, hour)]
    assert charges[0].key != charges[1].key
