"""When the gateway stops, nothing is left behind on its loop."""

import asyncio
import threading

from gateway.loop import run_until_stopped


def test_whoever_still_waits_at_the_end_is_told() -> None:
    loop, seen = asyncio.new_event_loop(), []

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("told")
            raise

    async def begin() -> asyncio.Task[None]:
        task = loop.create_task(wait_for_ever())
        await asyncio.sleep(0)
        return task

    thread = threading.Thread(target=run_until_stopped, args=(loop,))
    thread.start()
    waiting = asyncio.run_coroutine_threadsafe(begin(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()
    assert seen == ["told"]
    assert waiting.cancelled()
