"""What an attacker keeps aside, and how it judges guesses, against plain NumPy and the public metrics."""

import numpy as np
import pytest

from obfnet.attacks.held_out import class_index, class_means, likeness, own_parts
from obfnet.metrics.similarity import mse, ssim


@pytest.mark.parametrize(
    ("count", "values", "held"),
    [(10, 784, 1), (3_000, 784, 300), (9_000, 784, 500), (9_000, 12_288, 163), (9_000, 10**7, 50)],
)
def test_a_tenth_is_held_out_and_less_of_many_or_large_samples(count: int, values: int, held: int) -> None:
    kept, aside = own_parts(np.arange(count) % 5, values=values, seed=0)
    assert abs(len(aside) - held) <= 1
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, aside])), np.arange(count))


def test_likeness_is_ssim_where_it_can_be_and_the_error_elsewhere() -> None:
    raw, guess = np.random.default_rng(0).uniform(size=(2, 5, 1, 8, 9)).astype(np.float32)
    np.testing.assert_array_equal(likeness(raw, guess), ssim(raw, guess))
    np.testing.assert_array_equal(likeness(raw[..., :6], guess[..., :6]), -mse(raw[..., :6], guess[..., :6]))
    np.testing.assert_array_equal(likeness(raw[:, 0, 0], guess[:, 0, 0]), -mse(raw[:, 0, 0], guess[:, 0, 0]))


def test_class_means_are_those_of_numpy() -> None:
    random = np.random.default_rng(0)
    raw, labels = random.uniform(size=(700, 2, 3)).astype(np.float32), random.choice([1, 4, 9], 700)
    classes, means = class_means(raw, labels)
    np.testing.assert_array_equal(classes, [1, 4, 9])
    for label, row in zip(
        [4, 9, 1, 5, 0, 77], class_index(classes, np.array([4, 9, 1, 5, 0, 77])), strict=True
    ):
        slow = raw[labels == label] if label in classes else raw
        np.testing.assert_allclose(means[row], slow.mean(axis=0), atol=1e-6)
