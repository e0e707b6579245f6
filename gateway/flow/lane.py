"""Lane: what comes from many senders at once, worked on in turn by a thread that commits for all of it together.

SQLite has one writer, so that several threads would only wait for each other, and each for its own wake-up after the
commit: a second one begins only when what is in hand takes long. With a database of many writers there are several from
the start, and each takes one thing at a time.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway.store.database import Database

log = logging.getLogger(__name__)

THREADS = 8
"""So many are there at the most."""

LONG_S = 0.05
"""What takes longer than this does not hold up what came after it."""

MOST = 32
"""So many share a commit at the most: the first must not wait for ever."""

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(slots=True)
class _Waiting(Generic[Task, Result]):
    """A task and whoever waits for what comes of it."""

    task: Task
    asker: "asyncio.Future[Result]"
    result: Result | None = None
    error: Exception | None = None


@dataclass(slots=True, eq=False)
class _Run:
    """A thread at work."""

    begun_at: float  # when it last took a task in hand, by the clock of the loop


class Lane(Generic[Task, Result]):
    """The way of the tasks of one door. For one event loop."""

    def __init__(self, name: str, database: Database, work: Callable[[Task], Result]) -> None:
        """`work` blocks, runs in a thread of the lane, and may run once more with a task whose commit failed."""
        self._database = database
        self._work = work
        self._usual, self._most = (1, MOST) if database.shares_commits else (THREADS, 1)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix=name)
        self._queue: deque[_Waiting[Task, Result]] = deque()
        self._runs: list[_Run] = []  # changed by the loop alone
        self._is_watched = False

    async def take(self, task: Task) -> Result:
        """What came of the task; what was written for it is durable. Raises what `work` raises."""
        loop = asyncio.get_running_loop()
        waiting: _Waiting[Task, Result] = _Waiting(task, loop.create_future())
        self._queue.append(waiting)
        if len(self._runs) < self._usual:
            self._start(loop)
        return await waiting.asker

    def close(self) -> None:
        """What was taken is done; nothing more may be."""
        self._pool.shutdown()

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        run = _Run(begun_at=loop.time())
        self._runs.append(run)
        self._pool.submit(self._work_off, run, loop)
        if not self._is_watched:
            self._is_watched = True
            loop.call_later(LONG_S, self._watch, loop)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Another thread begins when something waits and those that run take long. Runs in the loop."""
        self._is_watched = bool(self._runs)
        if self._is_watched:
            loop.call_later(LONG_S, self._watch, loop)
        if self._queue and len(self._runs) < THREADS and not self._quick(self._runs, loop):
            self._start(loop)

    @staticmethod
    def _quick(runs: Iterable[_Run], loop: asyncio.AbstractEventLoop) -> int:
        """How many of them take no long time over what they have in hand."""
        return sum(loop.time() - run.begun_at < LONG_S for run in runs)

    def _work_off(self, run: _Run, loop: asyncio.AbstractEventLoop) -> None:
        """A thread, until nothing waits or others are quick enough without it."""
        is_over = False
        while not is_over:
            batch = self._next()
            self._done_together(batch, run, loop)
            others = [other for other in tuple(self._runs) if other is not run]
            is_over = not self._queue or self._quick(others, loop) >= self._usual
            loop.call_soon_threadsafe(self._hand_out, loop, batch, run if is_over else None)

    def _next(self) -> list[_Waiting[Task, Result]]:
        batch: list[_Waiting[Task, Result]] = []
        while self._queue and len(batch) < self._most:
            try:
                batch.append(self._queue.popleft())
            except IndexError:  # another thread of the lane was quicker
                break
        return batch

    def _done_together(
        self, batch: list[_Waiting[Task, Result]], run: _Run, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Each is done and durable. When their common commit failed, each is tried by itself and has its own end."""
        try:
            with self._database.together():
                for waiting in batch:
                    run.begun_at = loop.time()
                    self._do(waiting)
        except Exception as error:  # a thread begins here, and none may be left without an answer
            log.warning("lane.commit_failed", extra={"reason": str(error), "tasks": len(batch)})
            for waiting in batch:
                self._do(waiting)

    def _do(self, waiting: _Waiting[Task, Result]) -> None:
        waiting.error = None
        try:
            waiting.result = self._work(waiting.task)
        except Exception as error:  # it is the asker's
            waiting.error = error

    def _hand_out(
        self, loop: asyncio.AbstractEventLoop, batch: list[_Waiting[Task, Result]], over: _Run | None
    ) -> None:
        """The askers have their results; the thread `over` has ended. Runs in the loop."""
        for waiting in batch:
            if waiting.asker.done():
                continue  # whoever asked has left
            if waiting.error is not None:
                waiting.asker.set_exception(waiting.error)
            else:
                waiting.asker.set_result(waiting.result)  # type: ignore[arg-type]  # there is no error
        if over is not None:
            self._runs.remove(over)
            if self._queue and len(self._runs) < self._usual:  # it came while the thread went
                self._start(loop)
