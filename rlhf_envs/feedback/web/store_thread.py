"""All that the page writes goes through one thread, and what arrives meanwhile shares the next transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from rlhf_envs.feedback.store import PreferenceStore
from rlhf_envs.feedback.store.errors import StoreError
from rlhf_envs.queries import Submission

_Result = TypeVar("_Result")

_LARGEST_BATCH = 100


@dataclass
class _Waiting:
    work: Callable[[], Any] | Submission
    done: asyncio.Future[Any]


class StoreThread:
    """Runs work on a store in one thread, from one event loop.

    A transaction has to reach the disk before anything in it is acknowledged, which takes longer than most work. So
    everything that arrives during one transaction is done in the next, together. Nobody waits for another thread's
    lock, and where the store fails, all that share the transaction fail at once.

    Args:
        store: what is written to.
    """

    def __init__(self, store: PreferenceStore) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._waiting: list[_Waiting] = []
        self._working: asyncio.Task[None] | None = None

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Do some work, and give back its result when what it wrote is on the disk.

        Raises:
            StoreError: if the store cannot do it; else what the work itself raises, and then it has left no trace.
        """
        result: _Result = await self._wait_for(work)
        return result

    async def answer(self, submission: Submission) -> int:
        """Store an answer, and return its id when it is on the disk. Those that arrive together are stored as one.

        Raises:
            StoreError: if the store cannot do it.
            ValueError: if this one makes no sense; the others are stored all the same.
        """
        return int(await self._wait_for(submission))

    def close(self) -> None:
        """Finish what is being written."""
        self._thread.shutdown(wait=True)

    async def _wait_for(self, work: Callable[[], Any] | Submission) -> Any:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(work, done))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await done

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting[:_LARGEST_BATCH], self._waiting[_LARGEST_BATCH:]
            try:
                results = await loop.run_in_executor(self._thread, self._do, [each.work for each in batch])
            except Exception as failure:
                results = [failure] * len(batch)
            for each, result in zip(batch, results, strict=True):
                if each.done.done():  # whoever asked has hung up
                    continue
                if isinstance(result, Exception):
                    each.done.set_exception(result)
                else:
                    each.done.set_result(result)

    def _do(self, batch: list[Callable[[], Any] | Submission]) -> list[Any]:
        """The result of each, or what it raised."""
        with self._store.database.together():
            ids = self._answer_all([work for work in batch if isinstance(work, Submission)])
            # Answers come first: what is given out next then is what they have left open.
            return [next(ids) if isinstance(work, Submission) else _outcome(work) for work in batch]

    def _answer_all(self, submissions: list[Submission]) -> Iterator[Any]:
        try:
            return iter(self._store.answer_many(submissions))
        except ValueError:  # one of them makes no sense, or repeats another's token
            return iter([_outcome(partial(self._answer_one, submission)) for submission in submissions])

    def _answer_one(self, submission: Submission) -> int:
        return self._store.answer_many([submission])[0]


def _outcome(work: Callable[[], Any]) -> Any:
    """What a piece of work gives, or what it raises, unless the store itself failed."""
    try:
        return work()
    except StoreError:
        raise
    except Exception as failure:
        return failure
