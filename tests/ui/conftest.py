"""A real browser, driven by the Chrome DevTools Protocol (https://chromedevtools.github.io/devtools-protocol/)."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

PREFIX = "/search/reranker"
"""A path below which a reverse proxy has a gateway."""

CHROMIUM = shutil.which("chromium")
AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text("utf-8")
IMAGES = Path(__file__).parents[2] / "docs" / "images"

SCREENS = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]
on_each_screen = pytest.mark.parametrize(
    ("width", "scheme"), SCREENS, ids=[f"{width} {scheme}" for width, scheme in SCREENS]
)
SECONDS = 60.0
"""For anything that the page is waited for; never waited for in full unless something is broken."""

FLAGS = [
    "--headless", "--window-size=1280,900", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-port=0",
]  # fmt: skip

_UNTIL = """new Promise((resolve) => {
  const look = () => { const found = (%s); found ? resolve(found) : setTimeout(look, 50); };
  look();
})"""


class Tab:
    """One page of the browser.

    Attributes:
        problems: what the page wrote to the console as an error, its exceptions, and what its policy blocked.
        requested: the address of each request that it made.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.problems: list[str] = []
        self.requested: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._session: dict[str, str] = {}
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def open(self) -> None:
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Network", "Log", "Runtime", "Page"):
            await self.call(f"{domain}.enable")

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._waiting[number] = future = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters, **self._session})
        answer = await asyncio.wait_for(future, SECONDS)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def go(self, url: str) -> None:
        """Open that address."""
        assert "errorText" not in await self.call("Page.navigate", url=url)

    async def until(self, script: str) -> Any:
        """The value of a script, as soon as it is something."""
        answer = await self.call(
            "Runtime.evaluate", expression=_UNTIL % script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def click(self, selector: str) -> None:
        """Click that element, as soon as it is there."""
        await self.until(f"(e => e && (e.click(), true))(document.querySelector({selector!r}))")

    async def type(self, selector: str, text: str) -> None:
        """Type into that field, as soon as it is there."""
        await self.until(f"(e => e && (e.focus(), true))(document.querySelector({selector!r}))")
        await self.call("Input.insertText", text=text)

    async def resize(self, width: int, height: int, scheme: str = "light") -> None:
        """Be a screen of that size, a phone's below 500 pixels, that prefers `light` or `dark`."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def take_picture(self, name: str, folder: Path) -> bytes:
        """A picture of the page, as PNG: in the documentation if that is asked for, else in that folder."""
        content = base64.b64decode((await self.call("Page.captureScreenshot", format="png"))["data"])
        folder = IMAGES if os.environ.get("RERANK_GATEWAY_SCREENSHOTS") else folder
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.png").write_bytes(content)
        return content

    async def violations(self) -> list[str]:
        """What axe finds that is serious or critical, with the first elements that it is about."""
        await self.call("Runtime.evaluate", expression=AXE)
        found = await self.until(
            "axe.run().then(found => found.violations.filter(each => ['serious', 'critical'].includes(each.impact))"
            ".map(each => each.id + ': ' + each.nodes.map(node => node.html).slice(0, 3).join(' | ')))"
        )
        return list(found)

    async def read(self) -> None:
        """Take in what the browser says, until it is closed."""
        async for message in self._socket:
            self._take(message.json())

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._waiting.pop(message["id"]).set_result(message)
            return
        method, event = message["method"], message["params"]
        if method == "Network.requestWillBeSent":
            self.requested.append(event["request"]["url"])
        elif (
            method == "Runtime.exceptionThrown"
            or (method == "Runtime.consoleAPICalled" and event["type"] in ("error", "assert"))
            or (method == "Log.entryAdded" and event["entry"]["level"] == "error")
        ):
            self.problems.append(str(event))


def size_of(picture: bytes) -> tuple[int, int]:
    """Width and height of a PNG (https://www.w3.org/TR/png-3/#11IHDR)."""
    width, height = struct.unpack(">II", picture[16:24])
    return width, height


@pytest.fixture
async def tab(tmp_path: Path) -> AsyncIterator[Tab]:
    """A page of a browser that knows nothing yet."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    address, said = "", b""
    while not address and (line := await asyncio.wait_for(process.stderr.readline(), SECONDS)):
        said += line
        address = line.decode().partition("DevTools listening on ")[2].strip()
    assert address, said
    drain = asyncio.create_task(process.stderr.read())
    try:
        async with aiohttp.ClientSession() as client, client.ws_connect(address, max_msg_size=0) as socket:
            tab = Tab(socket)
            reader = asyncio.create_task(tab.read())
            await tab.open()
            yield tab
            reader.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await drain


@pytest.fixture
async def proxied(embedded: str) -> AsyncIterator[str]:
    """The same gateway below a path: nginx's `location /search/reranker/ { proxy_pass http://gateway/; }`."""
    async with aiohttp.ClientSession(auto_decompress=False) as client:

        async def forward(request: web.Request) -> web.StreamResponse:
            url = embedded + request.raw_path.removeprefix(PREFIX)
            body = await request.read()
            kept = {name: value for name, value in request.headers.items() if name.lower() != "connection"}
            async with client.request(request.method, url, headers=kept, data=body, allow_redirects=False) as answer:
                reply = web.StreamResponse(status=answer.status, headers=_own(answer.headers))
                await reply.prepare(request)
                async for chunk in answer.content.iter_any():
                    await reply.write(chunk)
                return reply

        application = web.Application()
        application.router.add_route("*", PREFIX + "/{path:.*}", forward)
        runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}{PREFIX}"
        await runner.cleanup()


def _own(headers: Any) -> dict[str, str]:
    hop_by_hop = {"content-length", "transfer-encoding", "connection", "keep-alive", "date", "server"}
    return {name: value for name, value in headers.items() if name.lower() not in hop_by_hop}
