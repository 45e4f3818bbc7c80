"""The scripted upstream, asked over real sockets; and what the gateway makes of each of its behaviours."""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any

import pytest

from providers.testing import BEHAVIOURS, Reply, ScriptedUpstream

BODY = {"model": "m", "query": "two words", "documents": ["nothing", "two words"]}
SEEN = {
    "ranks": (200, ""),
    "refuses the request": (400, "upstream_rejected"),
    "refuses the key": (502, "upstream_credentials"),
    "does not know the model": (404, "upstream_rejected"),
    "limits the rate": (429, "rate_limited"),
    "fails": (502, "upstream_error"),
    "is overloaded": (503, "upstream_error"),
    "answers with a web page": (502, "upstream_bad_answer"),
    "answers something else": (502, "upstream_bad_answer"),
    "breaks off": (502, "upstream_unreachable"),
    "hangs up": (502, "upstream_unreachable"),
}
"""What a caller of the gateway gets: status and error type."""


def ask(upstream: ScriptedUpstream, body: Any = BODY) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", int(upstream.url.rsplit(":", 1)[1]), timeout=30)
    try:
        connection.request("POST", "/v1/rerank", json.dumps(body), {"X-Given": "by us"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_every_behaviour_is_in_the_table() -> None:
    assert SEEN.keys() == BEHAVIOURS.keys()


@pytest.mark.parametrize(("name", "seen"), SEEN.items(), ids=SEEN)
async def test_a_behaviour_comes_out_of_the_gateway(name: str, seen: Any, opened: Any, upstream: Any) -> None:
    upstream.behave(name)
    provider = {"adapter": "jina", "base_url": upstream.url, "api_key": "a-key-of-ours", "retry": {"retries": 0}}
    client = await opened({"providers": {"vendor": provider}})
    answer = await client.post("/v1/rerank", json={**BODY, "model": "vendor/m"})
    assert (answer.status_code, answer.json().get("error_type", "")) == seen


def test_it_ranks_for_real_and_remembers_the_request(upstream: ScriptedUpstream) -> None:
    status, body = ask(upstream)
    assert status == 200
    assert [row["index"] for row in json.loads(body)["results"]] == [1, 0]
    (request,) = upstream.requests
    assert (request.method, request.path, request.headers["x-given"]) == ("POST", "/v1/rerank", "by us")
    assert request.body == BODY


def test_a_reply_is_sent_as_scripted(upstream: ScriptedUpstream) -> None:
    upstream.reply_with(418, b"short and stout")
    assert ask(upstream) == (418, b"short and stout")


@pytest.mark.parametrize(
    ("cut_after", "failure"), [(5, http.client.IncompleteRead), (0, http.client.IncompleteRead), (-1, OSError)]
)
def test_a_reply_is_cut(upstream: ScriptedUpstream, cut_after: int, failure: type[Exception]) -> None:
    upstream.behaviour = lambda request: Reply(200, b"a long answer", cut_after=cut_after)
    with pytest.raises(failure):
        ask(upstream)


def test_a_held_reply_waits_for_its_release(upstream: ScriptedUpstream) -> None:
    came, answers = threading.Event(), []
    upstream.behaviour = lambda request: (came.set(), Reply(200, {}))[1]
    upstream.hold()
    caller = threading.Thread(target=lambda: answers.append(ask(upstream)))
    caller.start()
    assert came.wait(30)
    assert answers == []
    upstream.release()
    caller.join(30)
    assert answers == [(200, b"{}")]


def test_a_closed_one_refuses_connections() -> None:
    with ScriptedUpstream() as upstream:
        pass
    with pytest.raises(ConnectionRefusedError):
        ask(upstream)
