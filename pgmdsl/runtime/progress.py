"""How training shows that it moves: a bar on a terminal, a line now and then elsewhere, nothing in the first 2 s."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from pgmdsl.runtime.steps import Steps

QUIET = 2.0  # seconds that may pass without a word
LINES = 10.0  # seconds between lines where there is no terminal
FRAMES = 0.1  # seconds between updates of the bar
SHOWN = ("reconstruction", "error", "loss")  # the figure beside the bar: the first that there is


class Display:
    """Progress on stderr; safe to make and close when nothing is ever shown."""

    def __init__(self, shown: bool = True) -> None:
        """Start the clock. With `shown` false it stays silent, but for warnings asked of it by `note`."""
        self._shown = shown
        self._start = self._last = time.monotonic()
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._begun = self._start
        self._announced = False

    def begin(self) -> None:
        """A job begins."""
        self._begun, self._announced, self._task = time.monotonic(), False, None

    def update(self, job: Steps, metrics: dict[str, Any] | None = None) -> None:
        """Show where a job is, now and then."""
        now = time.monotonic()
        if not self._shown or now - self._start < QUIET or now - self._last < FRAMES:
            return
        if sys.stderr.isatty():
            self._last = now
            self._show_bar(job, metrics)
        elif job.step < job.steps and (not self._announced or now - self._last >= LINES):
            self._last, self._announced = now, True
            self._print(f"{job.name}: epoch {max(1, job.epochs_begun)} of {job.epochs}, {self._seconds()}")

    def end(self, job: Steps) -> None:
        """A job has ended: say so where there is no bar, and everywhere if `stop` has ended it."""
        done = f"{job.epochs_begun} of {job.epochs} epochs, {self._seconds()}"
        best = f"; the parameters are those of epoch {job.best_epoch}, the best" if job.patience is not None else ""
        if job.out_of_patience:
            self.note(f"{job.name}: stopped after {done}: {job.since_best} without a better value{best}")
        elif self._shown and not sys.stderr.isatty() and time.monotonic() - self._start >= QUIET:
            self._print(f"{job.name}: {done}{best}")

    def note(self, text: str) -> None:
        """Say something."""
        if self._progress is not None:
            self._progress.console.print(text, style="yellow", markup=False, highlight=False)
        elif self._shown:
            self._print(text)

    def _seconds(self) -> str:
        return f"{time.monotonic() - self._begun:.0f} s"

    @staticmethod
    def _print(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bar down."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _show_bar(self, job: Steps, metrics: dict[str, Any] | None) -> None:
        if self._progress is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[detail]}"),
                TimeRemainingColumn(),
            )
            self._progress = Progress(*columns, console=Console(stderr=True))
            self._progress.start()
        if self._task is None:
            self._task = self._progress.add_task(job.name, total=job.steps, detail="")
        detail = f"epoch {max(1, job.epochs_begun)}/{job.epochs}"
        if metrics is not None:
            name = next(n for n in SHOWN if n in metrics)
            detail += f", {name} {metrics[name]:.4g}"
            self._progress.update(self._task, completed=job.step, detail=detail)
        else:
            self._progress.update(self._task, completed=job.step)


@contextmanager
def progress_bar(what: str, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A function to be called with (done, total): a bar on a terminal after 2 s, a line now and then elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    start = last = time.monotonic()
    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task(what)

    def tick(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if not shown or now - start < QUIET:
            return
        if sys.stderr.isatty():
            bar.start()
            bar.update(task, completed=done, total=total)
        elif now - last >= LINES:
            last = now
            print(f"{what}: {done} of {total}, {now - start:.0f} s", file=sys.stderr, flush=True)

    try:
        yield tick
    finally:
        if bar.live.is_started:  # stopping it prints an empty line where there is no terminal
            bar.stop()
