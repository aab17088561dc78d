"""Nearest neighbours: what they find, what they cannot, and what they fall back on."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsRegressor

from obfnet.attacks.class_mean import ClassMean
from obfnet.attacks.pca_neighbour import PCANeighbour
from obfnet.core.progress import Silent
from tests.unit.attacks.small_pairs import (
    ANSWERED,
    RAW,
    SCORED,
    Samples,
    code,
    constant,
    guesses,
    known,
    mean_mse,
    mean_ssim,
    unchanged,
)

ORDER = np.random.default_rng(0).permutation(256)


def shuffled_squares(samples: Samples) -> Samples:
    return samples.reshape(len(samples), -1)[:, ORDER] ** 2


def test_on_raw_samples_it_clearly_beats_the_class_mean() -> None:
    guess, floor = guesses(PCANeighbour(), unchanged), guesses(ClassMean(), unchanged)
    assert mean_ssim(guess) > mean_ssim(floor) + 0.15
    assert mean_mse(guess) < 0.4 * mean_mse(floor)


def test_it_is_no_worse_than_the_plain_neighbours_of_scikit_learn() -> None:
    flat = RAW.reshape(len(RAW), -1)
    oracle = KNeighborsRegressor(n_neighbors=3).fit(flat, flat).predict(SCORED.reshape(len(SCORED), -1))
    assert mean_ssim(guesses(PCANeighbour(), unchanged)) > mean_ssim(oracle.reshape(SCORED.shape)) - 0.01


def test_a_permutation_of_the_pixels_hides_nothing_and_the_shape_need_not_be_the_raw_one() -> None:
    assert mean_ssim(guesses(PCANeighbour(), shuffled_squares)) > 0.88


def test_of_a_code_it_makes_no_less_than_the_class_mean() -> None:
    assert mean_ssim(guesses(PCANeighbour(), code)) > mean_ssim(guesses(ClassMean(), code)) - 0.005


def test_on_a_constant_it_is_the_class_mean() -> None:
    np.testing.assert_allclose(guesses(PCANeighbour(), constant), guesses(ClassMean(), constant), atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_noise_that_has_nothing_to_do_with_the_sample_is_not_beaten(seed: int) -> None:
    random = np.random.default_rng(seed)
    guess = guesses(
        PCANeighbour(), lambda some: random.uniform(size=some.shape).astype(np.float32), seed=seed
    )
    assert mean_ssim(guess) < mean_ssim(guesses(ClassMean(), constant)) + 0.01


@pytest.mark.parametrize("count", [1, 9, 10, 40])
def test_few_pairs_are_enough_to_try(count: int) -> None:
    fitted = PCANeighbour(effort=0.01).fit(known(RAW, count=count), seed=0, progress=Silent())
    guess = fitted(SCORED[:3], ANSWERED[:3])
    assert (guess.shape, guess.dtype) == ((3, 1, 16, 16), np.float32)
    assert 0 <= guess.min() <= guess.max() <= 1


def test_a_guess_does_not_depend_on_what_else_is_asked() -> None:
    fitted = PCANeighbour().fit(known(RAW), seed=0, progress=Silent())
    together = fitted(SCORED[:200], ANSWERED[:200])
    np.testing.assert_allclose(fitted(SCORED[150:151], ANSWERED[150:151]), together[150:151], atol=1e-5)
