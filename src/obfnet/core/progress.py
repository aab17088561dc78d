"""How long work tells what it is doing, without knowing who listens.

Training, fetching and attacking call a `Progress`; the command line shows it, a library user gets
the silent one.
"""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Receives the state of the work under way."""

    def start(self, task: str, total: int) -> None:
        """A task of `total` units begins; it replaces the former one."""

    def advance(self, done: int, note: str = "") -> None:
        """`done` units of the current task are finished; `note` is a short figure to show."""

    def part(self, name: str, done: int, total: int, note: str = "") -> None:
        """How far one of the things is of which the current task is made, in a row of its own."""

    def finish(self, note: str = "") -> None:
        """The current task is over."""

    def say(self, line: str) -> None:
        """A line that the user must see, whatever the verbosity."""


class Silent:
    """Shows nothing: the default for library users."""

    def start(self, task: str, total: int) -> None:
        """Shows nothing."""

    def advance(self, done: int, note: str = "") -> None:
        """Shows nothing."""

    def part(self, name: str, done: int, total: int, note: str = "") -> None:
        """Shows nothing."""

    def finish(self, note: str = "") -> None:
        """Shows nothing."""

    def say(self, line: str) -> None:
        """Shows nothing."""
