"""Java's HttpClient, and Spring on top of it, to the byte: an offer of HTTP/2 with every request, the body by itself.

`java.net.http` writes so on every new connection without TLS (JDK 11 to 25). No Java is needed here: what counts is
what it writes.
"""

from __future__ import annotations

import json
import socket
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from cases import *  # noqa: F403  # the shared cases
from cases import DOCUMENTS, Client, Gateway, Row

OFFER = (
    "Connection: Upgrade, HTTP2-Settings\r\n"
    "{}: {}\r\n"
    "Host: {}\r\n"
    "HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA\r\n"
    "Upgrade: h2c\r\n"
    "User-Agent: Java-http-client/17.0.15\r\n"
    "Content-Type: application/json\r\n"
    "Authorization: Bearer {}\r\n"
    "\r\n"
)


class RefusedError(Exception):
    """An answer other than 200, with its body."""


class JavaClient:
    """One connection, kept for all requests.

    Args:
        gateway: where to connect, and with what key.
        chunked: whether the length of the body is not known before.
    """

    def __init__(self, gateway: Gateway, chunked: bool) -> None:
        url = urlsplit(gateway.url)
        self._key, self._netloc, self._chunked = gateway.key, url.netloc, chunked
        self._connection = socket.create_connection((url.hostname or "", url.port or 80), timeout=30)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, path: str, fields: dict[str, Any]) -> Any:
        body = json.dumps(fields).encode()
        framing = ("Transfer-encoding", "chunked") if self._chunked else ("Content-Length", len(body))
        head = f"POST {path} HTTP/1.1\r\n" + OFFER.format(*framing, self._netloc, self._key)
        self._connection.sendall(head.encode())
        self._connection.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if self._chunked else body)
        response = HTTPResponse(self._connection)
        response.begin()
        told = json.loads(response.read())
        if response.status != 200:
            raise RefusedError(told)
        return told

    def close(self) -> None:
        self._connection.close()


def ranked(chunked: bool) -> Any:
    def rank(gateway: Gateway, query: str, top_n: int | None, documents: bool) -> list[Row]:
        client = JavaClient(gateway, chunked)
        fields = {"model": gateway.model, "query": query, "documents": DOCUMENTS, "return_documents": documents}
        try:
            # Twice: a body that was taken for a second request would be seen here.
            for _ in range(2):
                told = client.post("/v1/rerank", fields if top_n is None else {**fields, "top_n": top_n})
        finally:
            client.close()
        return [
            Row(row["index"], row["relevance_score"], row["document"]["text"] if documents else None)
            for row in told["results"]
        ]

    return rank


CLIENTS = {
    "HttpClient": Client(ranked(False), RefusedError, RefusedError, RefusedError),
    "HttpClient, a body of unknown length": Client(ranked(True), RefusedError, RefusedError, RefusedError),
}
