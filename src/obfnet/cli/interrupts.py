"""Ctrl-C that cannot get lost.

Python raises `KeyboardInterrupt` wherever the program happens to be; where that is a finaliser or another
callback, it is printed or dropped and the command goes on. What was asked for is noted too, and progress
looks at the note, so that a long command stops at its next step at the latest.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final


class _Note:
    asked = False


_NOTE: Final = _Note()


@contextmanager
def noted() -> Iterator[None]:
    """Notes every SIGINT for as long as the block runs; elsewhere than in the main thread it does nothing."""
    _NOTE.asked = False
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        _NOTE.asked = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def check() -> None:
    """Raises `KeyboardInterrupt` where one was asked for, again if it was swallowed before."""
    if _NOTE.asked:
        raise KeyboardInterrupt
