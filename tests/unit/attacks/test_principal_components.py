"""Principal components against scikit-learn's, from either side of the matrix."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from obfnet.attacks.principal_components import principal_components
from obfnet.data.rows import Rows


@pytest.mark.parametrize("shape", [(400, 30), (60, 3, 10, 8)])
def test_the_components_are_those_of_scikit_learn(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    factors = random.normal(size=(shape[0], 6)) * [1, 0.8, 0.6, 0.4, 0.3, 0.2]
    samples = 0.5 + 0.05 * (factors @ random.normal(size=(6, int(np.prod(shape[1:])))))
    samples = samples.astype(np.float32).reshape(shape)
    found = principal_components(samples, 5)
    oracle = PCA(5, svd_solver="full").fit(samples.reshape(len(samples), -1))
    np.testing.assert_allclose(
        found.variances, oracle.explained_variance_ * (len(samples) - 1) / len(samples), rtol=1e-4
    )
    ours, theirs = found.project(samples), oracle.transform(samples.reshape(len(samples), -1))
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-4)
    lazy = Rows(lambda index: samples[index], samples.shape, samples.dtype)
    np.testing.assert_allclose(found.project_all(lazy), ours, atol=1e-5)


def test_whitened_samples_have_one_spread_where_there_is_any() -> None:
    samples = np.random.default_rng(1).normal(0.5, [0.1, 0.05, 0.001], (2_000, 3)).astype(np.float32)
    spread = principal_components(samples, 3).project(samples, whiten=True).std(axis=0)
    np.testing.assert_allclose(spread[:2], 1, atol=0.02)
    assert spread[2] < 0.2


def test_samples_that_do_not_vary_have_no_components() -> None:
    found = principal_components(np.full((50, 2, 4), 0.3, np.float32), 3)
    assert found.axes.shape == (8, 0)
    assert found.project(np.zeros((7, 2, 4), np.float32), whiten=True).shape == (7, 0)
    assert principal_components(np.zeros((1, 5), np.uint8), 3).axes.shape == (5, 0)
