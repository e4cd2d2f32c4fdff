"""Work that threads do ahead of the one that needs it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Step = TypeVar("Step")
Result = TypeVar("Result")


def read_ahead(work: Callable[[Step], Result], steps: Iterable[Step], threads: int) -> Iterator[Result]:
    """Results of `work` on each step in turn, worked out by threads, at most two more than `threads` ahead.

    The first error stops everything and is raised here.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="ahead") as pool:
        try:
            for step in steps:
                waiting.append(pool.submit(work, step))
                if len(waiting) > threads + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
