"""How long work looks in a terminal, and in a log.

On a terminal the current task is one line with a bar and the time left, and where it is made of several
things a row for each under it; elsewhere a task is a line at its start and every so often after. All of it
goes to standard error: results are for standard output.
"""

import sys
import time
from collections.abc import Callable
from typing import Any, Final, final

from obfnet.cli.interrupts import check
from obfnet.core.progress import Progress

_EVERY_S: Final = 15.0


def terminal_progress() -> Progress:
    """The progress for this process's standard error."""
    if sys.stderr.isatty():
        try:
            return _Bar()
        except ModuleNotFoundError:
            pass
    return _Lines()


@final
class _Lines:
    def __init__(self) -> None:
        self._task, self._total, self._started, self._said = "", 1, 0.0, 0.0

    def start(self, task: str, total: int) -> None:
        check()
        self._task, self._total = task, max(1, total)
        self._started = self._said = time.monotonic()
        self.say(f"{task} ...")

    def advance(self, done: int, note: str = "") -> None:
        check()
        now = time.monotonic()
        if now - self._said >= _EVERY_S and done > 0:
            self._said = now
            left = (now - self._started) * (self._total - done) / done
            self.say(f"{self._task}: {100 * done // self._total} %, {left:.0f} s left {note}".rstrip())

    def part(self, name: str, done: int, total: int, note: str = "") -> None:
        """Nothing: a log would be all rows."""

    def finish(self, note: str = "") -> None:
        self.say(f"{self._task}: done in {time.monotonic() - self._started:.1f} s {note}".rstrip())

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


@final
class _Bar:
    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._console = Console(stderr=True, highlight=False)
        self._make: Callable[[], Any] = lambda: Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(elapsed_when_finished=True),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            console=self._console,
        )
        self._live: Any = None
        self._rows: dict[str, Any] = {}

    def start(self, task: str, total: int) -> None:
        check()
        self._close()
        self._live = self._make()
        self._live.start()
        self._live.add_task(task, total=max(1, total), note="")

    def advance(self, done: int, note: str = "") -> None:
        check()
        if self._live is not None:
            self._live.update(self._live.task_ids[0], completed=done, note=note)

    def part(self, name: str, done: int, total: int, note: str = "") -> None:
        if self._live is None:
            return
        if name not in self._rows:
            self._rows[name] = self._live.add_task(f"  {name}", total=max(1, total), note="")
        self._live.update(self._rows[name], completed=done, note=f"{done} of {total} {note}".rstrip())

    def finish(self, note: str = "") -> None:
        if self._live is not None:
            task = self._live.tasks[0]
            self._live.update(task.id, completed=task.total, note=note)
        self._close()

    def say(self, line: str) -> None:
        self._console.print(line, markup=False)

    def _close(self) -> None:
        live, self._live, self._rows = self._live, None, {}
        if live is not None:
            live.stop()
