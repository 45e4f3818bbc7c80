"""A vendor on loopback that answers as a test says: a real HTTP server, so that the whole way to it is under test."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple

from msgspec import Struct

HOLD_TIMEOUT = 30.0
"""Seconds after which a held reply is sent all the same, so that a forgotten `release` cannot hang a test run."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up is no fault of the test's: not a traceback on standard error for it."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class ReceivedRequest(Struct):
    """One request as the upstream saw it.

    Attributes:
        headers: by name in lower case.
        body: decoded JSON; bytes that are none, as they came; None if there was no body.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class Reply(NamedTuple):
    """What is sent back.

    Attributes:
        status: of HTTP.
        body: sent as it is if it is bytes, as JSON otherwise.
        headers: beside content-type and content-length, which they may replace.
        cut_after: close the connection after so many bytes of the body, with the full length announced; a negative
            number closes it before the status line. None sends everything.
    """

    status: int
    body: Any
    headers: Mapping[str, str] = {}
    cut_after: int | None = None


Behaviour = Callable[[ReceivedRequest], Reply | tuple[int, Any, Mapping[str, str]]]


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw


def rank_by_words(request: ReceivedRequest) -> Reply:
    """Rank for real, in Cohere's, Jina's, vLLM's and Voyage's shape at once: who shares more words with the query comes
    first. For other shapes, script the vendor's own answer with `reply_with`."""
    words = set(str(request.body["query"]).lower().split())
    documents = [str(document).lower().split() for document in request.body["documents"]]
    scores = [len(words & set(document)) / (1 + len(document)) for document in documents]
    rows = [{"index": index, "relevance_score": score} for index, score in enumerate(scores)]
    rows.sort(key=lambda row: (-row["relevance_score"], row["index"]))
    limit = request.body.get("top_n") or request.body.get("top_k") or len(rows)
    return Reply(200, {"id": "upstream-id", "results": rows[:limit], "data": rows[:limit]})


def _always(reply: Reply) -> Behaviour:
    return lambda request: reply


BEHAVIOURS: dict[str, Behaviour] = {
    "ranks": rank_by_words,
    "refuses the request": _always(Reply(400, {"message": "the request is not acceptable"})),
    "refuses the key": _always(Reply(401, {"message": "the key is not valid"})),
    "does not know the model": _always(Reply(404, {"message": "no such model"})),
    "limits the rate": _always(Reply(429, {"message": "too many requests"}, {"retry-after": "7"})),
    "fails": _always(Reply(500, {"message": "internal error"})),
    "is overloaded": _always(Reply(503, {"message": "overloaded"})),
    "answers with a web page": _always(Reply(200, b"<html>It works!</html>", {"content-type": "text/html"})),
    "answers something else": _always(Reply(200, {"rubbish": 1})),
    "breaks off": _always(Reply(200, b" " * 100, cut_after=50)),
    "hangs up": _always(Reply(200, b"", cut_after=-1)),
}
"""What upstreams are seen to do, by name."""


class ScriptedUpstream:
    """A vendor on loopback. Close it when done, or use it in a `with` block.

    Attributes:
        url: where it listens, without a path: the provider's `base_url`.
        requests: every request so far, in the order of their arrival.
        behaviour: decides on each request; may be replaced at any time.
    """

    def __init__(self, behaviour: Behaviour = rank_by_words) -> None:
        self.requests: list[ReceivedRequest] = []
        self.behaviour = behaviour
        self._may_reply = threading.Event()
        self._may_reply.set()
        self._server = _Server(("127.0.0.1", 0), _reply_handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def behave(self, name: str) -> None:
        """From now on, behave as BEHAVIOURS says under that name."""
        self.behaviour = BEHAVIOURS[name]

    def reply_with(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """From now on, give this reply."""
        self.behaviour = _always(Reply(status, body, headers or {}))

    def hold(self) -> None:
        """Keep requests waiting for their reply until `release`."""
        self._may_reply.clear()

    def release(self) -> None:
        """Send the replies that wait, and do not hold later ones."""
        self._may_reply.set()

    def close(self) -> None:
        """Stop listening."""
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def receive(self, request: ReceivedRequest) -> Reply:
        """Note the request, and give the reply when it may be sent."""
        self.requests.append(request)
        reply = Reply(*self.behaviour(request))
        self._may_reply.wait(HOLD_TIMEOUT)
        return reply

    def __enter__(self) -> ScriptedUpstream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _reply_handler(upstream: ScriptedUpstream) -> type[BaseHTTPRequestHandler]:
    class ReplyHandler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = _decoded(raw) if raw else None
            self._send(upstream.receive(ReceivedRequest(self.command, self.path, headers, body)))

        def _send(self, reply: Reply) -> None:
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.close_connection = reply.cut_after is not None
            if reply.cut_after is not None and reply.cut_after < 0:
                return
            self.send_response(reply.status)
            length = {"content-length": str(len(body))}
            for name, value in ({"content-type": "application/json"} | dict(reply.headers) | length).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: reply.cut_after])

        def log_message(self, format: str, *arguments: Any) -> None:
            """Nothing: the test's own report is the log."""

    return ReplyHandler
