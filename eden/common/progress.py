"""Progress of a long job: a bar on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    import rich.progress

SECONDS_BETWEEN_LINES = 5.0
"""Least time between two plain lines of one task, its first and last apart."""


class Task:
    """A job under way; this one shows nothing."""

    def advance(self, steps: int = 1) -> None:
        """Tell that steps were done."""

    def note(self, text: str) -> None:
        """Tell what is being done now."""

    def expect(self, total: int) -> None:
        """Tell how many steps there are in all; may change on the way, and is no less than were done."""


class _BarTask(Task):
    def __init__(self, bar: rich.progress.Progress, name: str, total: int | None) -> None:
        self._bar = bar
        self._id = bar.add_task(name, total=total, text="")

    def advance(self, steps: int = 1) -> None:
        self._bar.advance(self._id, steps)
        self._keep_up()

    def note(self, text: str) -> None:
        self._bar.update(self._id, text=text)

    def expect(self, total: int) -> None:
        self._bar.update(self._id, total=total)
        self._keep_up()

    def _keep_up(self) -> None:
        task = self._bar.tasks[self._bar.task_ids.index(self._id)]
        if task.total is not None and task.completed > task.total:
            self._bar.update(self._id, total=task.completed)


class _LineTask(Task):
    def __init__(self, stream: TextIO, name: str, total: int | None) -> None:
        self._stream, self._name, self._total = stream, name, total
        self._done, self._text = 0, ""
        self._start = time.monotonic()
        self._last = float("-inf")
        self._written: str | None = None

    def advance(self, steps: int = 1) -> None:
        self._done += steps
        self._write_now_and_then()

    def note(self, text: str) -> None:
        self._text = text
        self._write_now_and_then()

    def expect(self, total: int) -> None:
        self._total = total

    def _write_now_and_then(self) -> None:
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self.write()

    def write(self) -> None:
        steps = f"{self._done}" if self._total is None else f"{self._done}/{max(self._total, self._done)}"
        state = f"{self._name}: {steps}" + (f", {self._text}" if self._text else "")
        if state == self._written:
            return
        self._written, self._last = state, time.monotonic()
        print(f"{state} ({self._last - self._start:.0f} s)", file=self._stream, flush=True)


@contextlib.contextmanager
def task(name: str, total: int | None = None, *, show: bool = True, stream: TextIO | None = None) -> Iterator[Task]:
    """Show the progress of a job while the block runs.

    On a terminal it is a bar that is drawn anew in place; elsewhere plain lines, one at the beginning, one at the end
    and between them one every ``SECONDS_BETWEEN_LINES`` at most, so that a log stays readable.

    Args:
        name: what the job is called.
        total: its number of steps, None if it is not known.
        show: False shows nothing.
        stream: where it is shown; standard error if None.
    """
    target = sys.stderr if stream is None else stream
    if not show:
        yield Task()
    elif target.isatty():
        # Here and not above: rich draws from Python's global generator when it is imported.
        import rich.console
        import rich.progress

        columns = (
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TextColumn("{task.fields[text]}"),
        )
        with rich.progress.Progress(*columns, console=rich.console.Console(file=target)) as bar:
            yield _BarTask(bar, name, total)
    else:
        lines = _LineTask(target, name, total)
        try:
            yield lines
        finally:
            lines.write()
