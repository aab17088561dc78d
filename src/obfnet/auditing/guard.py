"""Keeps an audit going when an attack does not: an attack that raises, hangs, or answers nonsense.

Attacks may come from third parties. What one does wrong is caught here, named, and ends that attack alone;
Ctrl-C and a full disk are not an attack's fault and go through.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

import numpy as np

from obfnet.core.errors import AttackError, MissingExtraError, ObfNetError, OutputError

T = TypeVar("T")


class AttackFaultError(AttackError):
    """An attack did not come to an end as it should; it is not counted."""


class _Overtime(BaseException):
    # Not an Exception: an attack that catches those must not swallow its own time limit.
    pass


def guarded(attack: str, work: Callable[[], T], *, time_limit_s: float) -> T:
    """What `work` returns, if it comes to an end in time.

    Args:
        attack: Its name, for the message.
        work: Fits an attack and asks it.
        time_limit_s: Longest time; kept in the main thread of a process that has alarms, elsewhere not.

    Raises:
        AttackFaultError: it took too long, or raised.
        OutputError, MissingExtraError: not the attack's fault.
    """
    try:
        with _time_limit(time_limit_s):
            return work()
    except _Overtime as exc:
        raise AttackFaultError(
            f"attack {attack} to end within {time_limit_s:g} s", "no end", "give a larger --budget"
        ) from exc
    except (OutputError, MissingExtraError):
        raise
    except ObfNetError as exc:
        raise AttackFaultError(exc.expected, exc.got, exc.remedy) from exc
    except Exception as exc:
        if isinstance(exc, (OSError, MemoryError)):
            raise
        raise AttackFaultError(
            f"attack {attack} to run", type(exc).__name__, "see the attack's own code"
        ) from exc


def checked_guesses(attack: str, guesses: Any, shape: tuple[int, ...]) -> Any:
    """Guesses as float32 in [0, 1], if they are guesses at all.

    Args:
        attack: Its name, for the message.
        guesses: What it answered.
        shape: `(N, *raw_shape)` that it should have.

    Raises:
        AttackFaultError: another shape, not numbers, or not finite.
    """
    try:
        found = np.asarray(guesses, np.float32)
    except (TypeError, ValueError) as exc:
        raise AttackFaultError(f"numbers from attack {attack}", type(guesses).__name__, "repair it") from exc
    if found.shape != shape:
        raise AttackFaultError(
            f"guesses of shape {shape} from attack {attack}", str(found.shape), "repair it"
        )
    if not np.isfinite(found).all():
        raise AttackFaultError(f"finite guesses from attack {attack}", "NaN or infinite ones", "repair it")
    return found.clip(0, 1)


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def on_alarm(number: int, frame: FrameType | None) -> None:
        raise _Overtime

    former = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
