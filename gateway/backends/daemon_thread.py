"""Work in a thread that no shutdown has to wait for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


async def in_daemon(function: Callable[..., Result], *arguments: object) -> Result:
    """What the function gives or raises, from a daemon thread of its own.

    `asyncio.to_thread` is for work that ends soon: the event loop waits for it when it closes. Loading a model takes
    seconds to minutes, and a gateway that is told to stop meanwhile must stop.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]  # no error: this is the function's result
        else:
            future.set_exception(error)

    def run() -> None:
        try:
            outcome: tuple[Result | None, BaseException | None] = (function(*arguments), None)
        except BaseException as error:
            outcome = (None, error)
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, daemon=True).start()
    return await future
