"""An attack that raises, hangs or answers nonsense ends alone; what is not its fault goes through."""

import time

import numpy as np
import pytest

from obfnet.auditing.guard import AttackFaultError, checked_guesses, guarded
from obfnet.core.errors import AttackError, MissingExtraError, OutputError


def raising(exc: BaseException) -> None:
    raise exc


def test_what_an_attack_returns_comes_back() -> None:
    assert guarded("a", lambda: 7, time_limit_s=5) == 7


def test_an_attack_that_hangs_is_ended() -> None:
    begun = time.monotonic()
    with pytest.raises(AttackFaultError, match=r"attack sleeper to end within 0.2 s, got no end"):
        guarded("sleeper", lambda: time.sleep(30), time_limit_s=0.2)
    assert time.monotonic() - begun < 5


def test_an_attack_that_catches_everything_is_ended_too() -> None:
    def stubborn() -> None:
        for _ in range(3):
            try:
                time.sleep(10)
            except Exception:
                continue

    with pytest.raises(AttackFaultError, match="no end"):
        guarded("stubborn", stubborn, time_limit_s=0.2)


def test_no_alarm_is_left_behind() -> None:
    guarded("a", lambda: None, time_limit_s=0.2)
    time.sleep(0.3)


@pytest.mark.parametrize("fault", [ValueError("x"), ZeroDivisionError(), RuntimeError("y")])
def test_an_attack_that_raises_is_named_without_its_text(fault: Exception) -> None:
    with pytest.raises(AttackFaultError, match=f"attack broken to run, got {type(fault).__name__}"):
        guarded("broken", lambda: raising(fault), time_limit_s=5)


def test_an_attack_that_lacks_knowledge_says_so() -> None:
    with pytest.raises(AttackFaultError, match="expected a network, got none"):
        guarded("a", lambda: raising(AttackError("a network", "none", "give one")), time_limit_s=5)


@pytest.mark.parametrize(
    "other",
    [
        KeyboardInterrupt(),
        OutputError("space", "none", "free some"),
        MissingExtraError("torch", "train"),
        OSError(28, "No space left on device"),
        MemoryError(),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_what_is_not_the_attacks_fault_goes_through(other: BaseException) -> None:
    with pytest.raises(type(other)):
        guarded("a", lambda: raising(other), time_limit_s=5)


def test_guesses_become_samples() -> None:
    guesses = checked_guesses("a", [[2.0, -1.0], [0.5, 1.0]], (2, 2))
    assert guesses.dtype == np.float32
    assert guesses.tolist() == [[1, 0], [0.5, 1]]


@pytest.mark.parametrize(
    ("guesses", "message"),
    [
        (np.zeros((2, 3)), r"guesses of shape \(2, 2\) from attack a, got \(2, 3\)"),
        (np.array([[0, np.nan], [0, 0]]), "finite guesses from attack a"),
        (np.array([[0, np.inf], [0, 0]]), "finite guesses from attack a"),
        ("nothing", "numbers from attack a, got str"),
        (None, r"got \(\)"),
    ],
    ids=["shape", "nan", "inf", "text", "none"],
)
def test_nonsense_is_refused(guesses: object, message: str) -> None:
    with pytest.raises(AttackFaultError, match=message):
        checked_guesses("a", guesses, (2, 2))
