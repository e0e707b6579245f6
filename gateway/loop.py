"""The event loop that listeners and pages run on, in a thread of its own."""

import asyncio


def run_until_stopped(loop: asyncio.AbstractEventLoop) -> None:
    """Runs until `loop.stop`; whoever still waits then is told, and may tidy up."""
    asyncio.set_event_loop(loop)
    loop.run_forever()
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=1.0))
