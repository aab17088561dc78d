"""The Wiener filter against the one that knows the noise, and where its assumption does not hold."""

import numpy as np
import pytest

from obfnet.attacks import WhiteBox
from obfnet.attacks.wiener import WienerFilter
from obfnet.core.errors import AttackError
from obfnet.core.progress import Silent


def drawn(count: int, seed: int, values: int = 36) -> tuple[np.ndarray, np.ndarray]:
    """Samples of four smooth patterns around a label's mean, and their labels."""
    random = np.random.default_rng(seed)
    fixed = np.random.default_rng(99)
    patterns, means = fixed.normal(size=(4, values)) * 0.1, 0.5 + 0.05 * fixed.normal(size=(3, values))
    labels = random.integers(3, size=count)
    raw = means[labels] + random.normal(size=(count, 4)) @ patterns
    return raw.clip(0, 1).astype(np.float32).reshape(count, 1, 6, -1), labels


def noisy(raw: np.ndarray, seed: int, strength: float = 0.3) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=raw.shape)
    return (0.4 + 0.1 * (raw + strength * noise)).astype(np.float32)


def fitted(raw: np.ndarray, received: np.ndarray, labels: np.ndarray):
    return WienerFilter().fit(WhiteBox(received=received, raw=raw, labels=labels), seed=0, progress=Silent())


def test_it_comes_near_the_filter_that_knows_the_noise() -> None:
    raw, labels = drawn(3_000, 0)
    test, answered = drawn(1_000, 1)
    received = noisy(test, 3)
    guesses = fitted(raw, noisy(raw, 2), labels)(received, answered)
    # The same by the textbook, with the noise and the class means known.
    flat, undone = raw.reshape(len(raw), -1), (received.reshape(len(test), -1) - 0.4) / 0.1
    means = np.stack([flat[labels == kind].mean(axis=0) for kind in range(3)])
    covariance = np.cov((flat - means[labels]).T)
    gain = np.linalg.solve(covariance + 0.09 * np.eye(36), covariance)
    wanted = (means[answered] + (undone - means[answered]) @ gain).clip(0, 1).reshape(test.shape)
    error, least = ((guesses - test) ** 2).mean(), ((wanted - test) ** 2).mean()
    assert error < 1.02 * least
    assert error < 0.2 * ((np.clip(undone, 0, 1).reshape(test.shape) - test) ** 2).mean()


def test_without_noise_it_gives_the_sample_back() -> None:
    raw, labels = drawn(500, 0)
    test, answered = drawn(100, 1)
    guesses = fitted(raw, 1 - raw, labels)(1 - test, answered)
    assert np.abs(guesses - test).max() < 1e-2


def test_a_constant_leaves_the_label() -> None:
    raw, labels = drawn(500, 0)
    test, answered = drawn(50, 1)
    guesses = fitted(raw, np.full_like(raw, 0.5), labels)(np.full_like(test, 0.5), answered)
    mean = np.stack([raw[labels == kind].mean(axis=0) for kind in answered])
    assert np.abs(guesses - mean).max() < 0.1


def test_samples_of_many_values_are_filtered_by_their_components() -> None:
    raw, labels = drawn(600, 0, values=1_200)
    test, answered = drawn(100, 1, values=1_200)
    received = noisy(test, 3)
    guesses = fitted(raw, noisy(raw, 2), labels)(received, answered)
    assert guesses.shape == test.shape
    assert ((guesses - test) ** 2).mean() < 0.1 * (((received - 0.4) / 0.1 - test) ** 2).mean()


def test_another_shape_is_refused() -> None:
    raw, labels = drawn(50, 0)
    with pytest.raises(AttackError, match="the raw shape"):
        fitted(raw, raw.reshape(50, -1), labels)
