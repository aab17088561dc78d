"""The distance by a network of the case's own: what it must call near, and what far."""

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from obfnet.attacks.perceptual import PerceptualDistance
from obfnet.core.errors import AttackError, ShapeError
from obfnet.core.progress import Silent
from obfnet.data.cases import load_case
from obfnet.data.rows import Rows

Samples = np.ndarray[Any, Any]
EFFORT = 0.4


class Digits:
    """The bundled digits: the attacker's, and those that are scored."""

    def __init__(self) -> None:
        digits = load_case("digits")
        self.raw, self.labels = digits.train.samples[:], digits.train.labels
        self.scored, self.answers = digits.test.samples[:], digits.test.labels


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits()


@pytest.fixture(scope="module")
def distance(digits: Digits) -> PerceptualDistance:
    return PerceptualDistance.fit(digits.raw, digits.labels, seed=0, progress=Silent(), effort=EFFORT)


def noisy(samples: Samples, spread: float) -> Samples:
    noise = np.random.default_rng(0).normal(size=samples.shape)
    return np.clip(samples + spread * noise, 0, 1).astype(np.float32)


def blurred(samples: Samples, spread: float) -> Samples:
    return gaussian_filter(samples, (0, 0, spread, spread))


def test_the_network_knows_the_case(distance: PerceptualDistance) -> None:
    assert distance.accuracy > 0.9


def test_a_copy_is_at_no_distance(digits: Digits, distance: PerceptualDistance) -> None:
    values = distance(digits.scored, digits.scored)
    assert values.shape == (len(digits.scored),)
    assert values.dtype == np.float64
    assert (values == 0).all()


def test_it_is_a_distance_of_each_sample_by_itself(digits: Digits, distance: PerceptualDistance) -> None:
    guess = noisy(digits.scored, 0.2)
    values = distance(digits.scored, guess)
    assert ((values > 0) & (values <= 2)).all()
    np.testing.assert_allclose(distance(guess, digits.scored), values, rtol=1e-4)
    np.testing.assert_allclose(distance(digits.scored[7:9], guess[7:9]), values[7:9], rtol=1e-4)
    assert distance(digits.scored[:0], guess[:0]).shape == (0,)


@pytest.mark.parametrize("damage", [noisy, blurred])
def test_it_grows_with_the_damage(digits: Digits, distance: PerceptualDistance, damage: Any) -> None:
    amounts = (0.02, 0.1, 0.3, 1.0) if damage is noisy else (0.3, 0.5, 0.8, 2.0)
    means = [distance(digits.scored, damage(digits.scored, amount)).mean() for amount in amounts]
    assert means == sorted(means)
    assert means[-1] > 3 * means[0]


def test_another_digit_is_farther_than_another_of_the_same(
    digits: Digits, distance: PerceptualDistance
) -> None:
    random = np.random.default_rng(0)
    first, second = random.integers(0, len(digits.scored), (2, 2000))
    values = distance(digits.scored[first], digits.scored[second])
    same = digits.answers[first] == digits.answers[second]
    assert values[same & (first != second)].mean() < 0.8 * values[~same].mean()


def test_it_is_the_same_by_seed_and_another_by_another(digits: Digits) -> None:
    def fitted(seed: int) -> Samples:
        made = PerceptualDistance.fit(
            digits.raw[:200], digits.labels[:200], seed=seed, progress=Silent(), effort=0.04
        )
        return made(digits.scored, noisy(digits.scored, 0.2))

    np.testing.assert_array_equal(fitted(1), fitted(1))
    assert (fitted(1) != fitted(2)).any()


def test_lazy_rows_and_bytes_are_as_good_as_arrays(digits: Digits) -> None:
    stored = np.round(digits.raw[:200] * 255).astype(np.uint8)
    lazy = Rows(lambda index: stored[index], stored.shape, stored.dtype)
    plain = (stored / np.float32(255)).astype(np.float32)
    first, second = (
        PerceptualDistance.fit(raw, digits.labels[:200], seed=0, progress=Silent(), effort=0.04)
        for raw in (lazy, plain)
    )
    guess = np.round(noisy(digits.scored, 0.2) * 255).astype(np.uint8)
    scored = np.round(digits.scored * 255).astype(np.uint8)
    np.testing.assert_array_equal(
        first(scored, guess), second(scored / np.float32(255), guess / np.float32(255))
    )


@pytest.mark.parametrize("shape", [(64,), (4, 16), (1, 2, 32), (3, 40, 36), (1, 20, 45)])
def test_samples_of_any_shape_have_a_distance(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    labels = np.arange(40) % 2 + 3
    raw = (0.4 * random.random((40, *shape)) + 0.6 * (labels % 2).reshape(-1, *[1] * len(shape))).astype(
        np.float32
    )
    distance = PerceptualDistance.fit(raw, labels, seed=0, progress=Silent(), effort=0.02)
    assert (distance(raw, raw) == 0).all()
    means = [distance(raw, noisy(raw, spread)).mean() for spread in (0.05, 0.5)]
    assert 0 < means[0] < means[1]


def test_what_it_cannot_learn_or_compare_is_refused(digits: Digits, distance: PerceptualDistance) -> None:
    raw, labels = digits.raw[:30], digits.labels[:30]
    for bad in [(raw[:19], labels[:19], 1.0), (raw, labels[1:], 1.0), (raw, labels, 0.0)]:
        with pytest.raises(AttackError, match="at least 20 samples"):
            PerceptualDistance.fit(*bad[:2], seed=0, progress=Silent(), effort=bad[2])
    with pytest.raises(AttackError, match="two labels"):
        PerceptualDistance.fit(raw, np.zeros(30, np.int64), seed=0, progress=Silent())
    for pair in [(raw, raw[1:]), (raw[:, :, :7], raw[:, :, :7]), (raw[:, 0], raw[:, 0])]:
        with pytest.raises(ShapeError, match=r"of shape \(N, 1, 8, 8\)"):
            distance(*pair)
