"""Run a blocking call in a daemon thread, so that shutdown never waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


async def in_daemon(function: Callable[..., Result], *arguments: object) -> Result:
    """Run `function(*arguments)` in a daemon thread of its own. Returns its result or raises its exception.

    `asyncio.to_thread` will not do for loading a model, which takes seconds to minutes: when the event loop closes, it
    waits for those threads, and so would a gateway that is to stop. Cancelling this leaves the thread running.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]  # without an error it is the result
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
