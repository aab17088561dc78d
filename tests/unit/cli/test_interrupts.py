"""An interrupt that a callback swallows is raised again at the next step of progress."""

import os
import signal

import pytest

from obfnet.cli.console import terminal_progress
from obfnet.cli.interrupts import check, noted


def swallowed() -> None:
    try:
        os.kill(os.getpid(), signal.SIGINT)
        # The handler runs at one of the next instructions.
        for _ in range(1_000):
            pass
    except KeyboardInterrupt:
        return
    raise AssertionError("there was no interrupt")


@pytest.mark.parametrize("step", ["start", "advance"])
def test_a_swallowed_interrupt_comes_back_at_the_next_step(step: str) -> None:
    with noted():
        progress = terminal_progress()
        progress.start("work", 2)
        progress.advance(1)
        swallowed()
        with pytest.raises(KeyboardInterrupt):
            progress.start("more", 1) if step == "start" else progress.advance(2)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_an_interrupt_nothing_is_raised_and_the_next_command_begins_anew() -> None:
    with noted():
        check()
        swallowed()
    with noted():
        check()
