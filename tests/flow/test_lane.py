"""A lane: every task is answered once, after its commit; a failed commit makes each try by itself."""

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from gateway.flow.lane import MOST, Lane
from gateway.model.errors import Unavailable
from gateway.store import changes
from gateway.store.database import Database

AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


@pytest.fixture
def database(each_database: Database) -> Database:
    return each_database


def _results(database: Database, work: Callable[[int], str], tasks: range) -> list[str | BaseException]:
    """What came of the tasks, all brought at once, in their order."""

    async def ask() -> list[str | BaseException]:
        lane = Lane("test", database, work)
        try:
            return await asyncio.wait_for(
                asyncio.gather(*(lane.take(task) for task in tasks), return_exceptions=True), 60
            )
        finally:
            lane.close()

    return asyncio.run(ask())


def _refs(database: Database) -> list[int]:
    with database.read() as tx:
        return sorted(change.ref for change in changes.since(tx, 0))


def test_each_task_has_its_own_result_and_all_are_stored(database: Database) -> None:
    def work(task: int) -> str:
        with database.write() as tx:
            changes.note(tx, "order", task, AT)
        return f"task {task}"

    tasks = range(3 * MOST)
    assert _results(database, work, tasks) == [f"task {task}" for task in tasks]
    assert _refs(database) == list(tasks)


def test_a_task_that_fails_leaves_the_others_alone(database: Database) -> None:
    def work(task: int) -> str:
        with database.write() as tx:
            changes.note(tx, "order", task, AT)
            if task % 2:
                raise LookupError(f"task {task}")
        return "done"

    found = _results(database, work, range(6))
    assert [str(one) for one in found] == ["done", "task 1", "done", "task 3", "done", "task 5"]
    assert _refs(database) == [0, 2, 4]


def test_nothing_is_answered_before_it_is_durable(database: Database) -> None:
    """Another connection sees what was answered, the very moment that it is."""
    seen: list[bool] = []

    def work(task: int) -> str:
        with database.write() as tx:
            changes.note(tx, "order", task, AT)
        return "done"

    async def ask() -> None:
        lane = Lane("test", database, work)

        async def one(task: int) -> None:
            await lane.take(task)
            seen.append(task in _refs(database))

        await asyncio.gather(*(one(task) for task in range(40)))
        lane.close()

    asyncio.run(ask())
    assert seen == [True] * 40


def test_a_commit_that_fails_takes_none_along_but_the_one_that_made_it_fail(database: Database) -> None:
    """An order that its database refuses at the commit alone is told so; those beside it are taken."""
    if not database.shares_commits:
        pytest.skip("PostgreSQL: every task has a commit of its own")

    def work(task: int) -> str:
        with database.write() as tx:
            changes.note(tx, "order", task, AT)
            if task == 3:
                tx.connection.execute(text("PRAGMA defer_foreign_keys = ON"))
                columns = "token_sha256, user_id, created_at, seen_at"
                values = "'x', 77, '2026-11-23 09:30:00', '2026-11-23 09:30:00'"
                tx.connection.execute(text(f"INSERT INTO sessions ({columns}) VALUES ({values})"))
        return "done"

    found = _results(database, work, range(8))
    assert [one for number, one in enumerate(found) if number != 3] == ["done"] * 7
    assert "FOREIGN KEY" in str(found[3])
    assert _refs(database) == [0, 1, 2, 4, 5, 6, 7]


def test_a_database_that_does_not_answer_is_told_to_each(database: Database) -> None:
    def work(task: int) -> str:
        with database.write() as tx:
            tx.connection.execute(text("SELECT 1 FROM nowhere_at_all" if task else "SELECT 1"))
        return "done"

    found = _results(database, work, range(3))
    assert found[0] == "done"
    assert all(isinstance(one, Exception) for one in found[1:])
    if database.shares_commits:
        assert all(isinstance(one, Unavailable) for one in found[1:])


def test_what_comes_while_a_thread_goes_is_not_forgotten(database: Database) -> None:
    def work(task: int) -> str:
        time.sleep(0.0005 * (task % 3))
        return f"task {task}"

    async def ask() -> list[str]:
        lane = Lane("test", database, work)
        found = [await asyncio.wait_for(lane.take(task), 10) for task in range(200)]
        lane.close()
        return found

    assert asyncio.run(ask()) == [f"task {task}" for task in range(200)]


def test_whoever_has_left_disturbs_nobody(database: Database) -> None:
    gate = threading.Event()

    def work(task: int) -> str:
        gate.wait(10)
        with database.write() as tx:
            changes.note(tx, "order", task, AT)
        return "done"

    async def ask() -> str:
        lane = Lane("test", database, work)
        leaver = asyncio.ensure_future(lane.take(1))
        stayer = asyncio.ensure_future(lane.take(2))
        await asyncio.sleep(0.05)
        leaver.cancel()
        gate.set()
        found = await asyncio.wait_for(stayer, 10)
        lane.close()
        return found

    assert asyncio.run(ask()) == "done"
    assert _refs(database) == [1, 2]  # what was brought counts all the same


def test_what_takes_long_does_not_hold_up_what_comes_after_it(database: Database) -> None:
    gate = threading.Event()

    def work(task: int) -> str:
        if task == 0:
            gate.wait(20)
        with database.write() as tx:
            changes.note(tx, "order", task, AT)
        return f"task {task}"

    async def ask() -> list[str]:
        lane = Lane("test", database, work)
        slow = asyncio.ensure_future(lane.take(0))
        await asyncio.sleep(0.01)
        others = [await asyncio.wait_for(lane.take(task), 10) for task in (1, 2, 3)]
        seen = _refs(database)
        gate.set()
        others.append(await asyncio.wait_for(slow, 10))
        lane.close()
        return [*others, str(seen)]

    assert asyncio.run(ask()) == ["task 1", "task 2", "task 3", "task 0", "[1, 2, 3]"]
    assert _refs(database) == [0, 1, 2, 3]


def test_a_thread_more_ends_when_it_is_no_longer_needed(database: Database) -> None:
    if not database.shares_commits:
        pytest.skip("PostgreSQL: there are several threads from the start")
    gate = threading.Event()
    seen: list[int] = []

    def work(task: int) -> int:
        if task == 0:
            gate.wait(20)
        time.sleep(0.001)
        seen.append(threading.get_ident())
        return task

    async def ask() -> int:
        lane = Lane("test", database, work)
        tasks = [asyncio.ensure_future(lane.take(task)) for task in range(400)]
        await asyncio.wait_for(tasks[-100], 10)  # a second thread has begun, as the first one is stuck
        gate.set()
        tasks += [asyncio.ensure_future(lane.take(task)) for task in range(400, 1000)]
        found = await asyncio.wait_for(asyncio.gather(*tasks), 30)
        lane.close()
        return len(found)

    assert asyncio.run(ask()) == 1000
    assert len(set(seen)) == 2
    assert len(set(seen[-300:])) == 1
