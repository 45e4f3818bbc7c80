"""Programs that run inside a network namespace: `python -m tests.faults.host_programs caller | upstream`.

Tests may reach nothing but their own loopback, and a namespace has one of its own.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

UPSTREAM_PORT = 9000
SLOW_SECONDS = 5.0
"""How long the upstream thinks about a query that begins with `slow`."""


class Upstream(BaseHTTPRequestHandler):
    """Ranks documents in their order, and tells at GET / how often it was asked."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # so that an answer leaves in one piece
    asked = 0
    lock = threading.Lock()

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.lock:
            Upstream.asked += 1
        if request["query"].startswith("slow"):
            time.sleep(SLOW_SECONDS)
        rows = [
            {"index": index, "relevance_score": 1.0 / (index + 1)}
            for index in range(request.get("top_n") or len(request["documents"]))
        ]
        self._answer({"model": request["model"], "results": rows, "usage": {"total_tokens": 10}})

    def do_GET(self) -> None:
        self._answer({"asked": Upstream.asked})

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def serve() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", UPSTREAM_PORT), Upstream)
    server.daemon_threads = True
    print("up", flush=True)
    server.serve_forever()


def call() -> None:
    """For each line of JSON with `port`, `path`, `headers` and `body`: the answer, as a line of JSON."""
    print("up", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        connection = HTTPConnection("127.0.0.1", asked["port"], timeout=60)
        method = "GET" if asked["body"] is None else "POST"
        body = None if asked["body"] is None else json.dumps(asked["body"])
        started = time.monotonic()
        connection.request(method, asked["path"], body, {"content-type": "application/json", **asked["headers"]})
        answer = connection.getresponse()
        told = {
            "status": answer.status,
            "headers": {name.lower(): value for name, value in answer.getheaders()},
            "body": json.loads(answer.read()),
            "seconds": time.monotonic() - started,
        }
        connection.close()
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    {"caller": call, "upstream": serve}[sys.argv[1]]()
