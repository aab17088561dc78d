"""Tables for each place undo any rule that works value by value, and only those."""

import numpy as np
import pytest

from obfnet.attacks import WhiteBox
from obfnet.attacks.value_table import ValueTable
from obfnet.core.errors import AttackError
from obfnet.core.progress import Silent


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    raw = (random.integers(16, size=(count, 1, 5, 4)) / 15).astype(np.float32)
    return raw, random.integers(3, size=count)


def hashed(raw: np.ndarray) -> np.ndarray:
    """A secret table of 16 levels for each place."""
    tables = np.random.default_rng(7).permuted(np.tile(np.arange(16), (20, 1)), axis=1)
    levels = (raw.reshape(len(raw), -1) * 15).round().astype(int)
    return (tables[np.arange(20), levels] / 15).astype(np.float32).reshape(raw.shape)


def fitted(raw: np.ndarray, received: np.ndarray, labels: np.ndarray):
    return ValueTable().fit(WhiteBox(received=received, raw=raw, labels=labels), seed=0, progress=Silent())


def test_a_secret_table_for_each_place_is_undone() -> None:
    raw, labels = drawn(2_000, 0)
    test, answered = drawn(200, 1)
    guesses = fitted(raw, hashed(raw), labels)(hashed(test), answered)
    assert guesses.dtype == np.float32
    assert np.abs(guesses - test).max() < 0.02
    # The slow and obvious version, for one place.
    seen = hashed(raw)[:, 0, 2, 1]
    wanted = [raw[seen == value, 0, 2, 1].mean() for value in hashed(test)[:, 0, 2, 1]]
    assert np.abs(guesses[:, 0, 2, 1] - wanted).max() < 0.02


def test_a_level_never_seen_gives_the_mean_of_the_label() -> None:
    raw, labels = drawn(500, 0)
    guesses = fitted(raw * 0.5, raw * 0.5, labels)(np.ones((1, 1, 5, 4), np.float32), np.array([2]))
    assert np.abs(guesses[0] - 0.5 * raw[labels == 2].mean(axis=0)).max() < 1e-5


def test_mixing_places_is_beyond_it_and_another_shape_is_refused() -> None:
    raw, labels = drawn(2_000, 0)
    test, answered = drawn(200, 1)
    received, asked = (
        np.roll(part.reshape(len(part), -1), 1, axis=1).reshape(part.shape) for part in (raw, test)
    )
    guesses = fitted(raw, received, labels)(asked, answered)
    assert ((guesses - test) ** 2).mean() > 0.9 * test.var()
    with pytest.raises(AttackError, match="the raw shape"):
        fitted(raw, raw.reshape(len(raw), -1), labels)
