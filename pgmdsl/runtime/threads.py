"""Parts of a step on several threads. Kernels and matrix products let go of Python's lock, so that these gain time.

Nothing depends on the number of threads: the parts are the same, each has its own random numbers and its own place for
its results, and none reads what another writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

Task = Callable[[], object]
Started = list[tuple[Task, Future[object] | None]]


class Threads:
    """So many threads, the caller's among them."""

    def __init__(self, count: int = 1) -> None:
        """One thread has no other beside it, and does all when it finishes what was started."""
        self._pool = ThreadPoolExecutor(count - 1, "pgmdsl") if count > 1 else None

    def start(self, tasks: Sequence[Task]) -> Started:
        """Begin what other threads have room for."""
        pool = self._pool
        return [(task, pool.submit(task) if pool else None) for task in tasks]

    def finish(self, started: Started) -> None:
        """Do what no other thread has begun, the last first, and wait for the rest. Raises what a part raises."""
        waiting = []
        for task, future in reversed(started):
            if future is None or future.cancel():
                task()
            else:
                waiting.append(future)
        for future in waiting:
            future.result()

    def run(self, tasks: Sequence[Task]) -> None:
        """Do all of these."""
        self.finish(self.start(tasks))

    def close(self) -> None:
        """Let the threads end, after the parts they are at."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
