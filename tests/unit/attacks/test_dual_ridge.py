"""Kernel ridge regression against scikit-learn's, its errors against fitting again without each sample."""

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import rbf_kernel

from obfnet.attacks.dual_ridge import _STRENGTHS, DualRidges, Kernel

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(size=(30, 6)).astype(np.float32)
TARGETS = INPUTS[:, :3].astype(np.float64) @ RANDOM.normal(size=(3, 2)) + 0.3 * RANDOM.normal(size=(30, 2))
FRESH = RANDOM.normal(size=(9, 6)).astype(np.float32)


@pytest.mark.parametrize("width", [None, 2.0])
def test_it_is_scikit_learns_with_the_strength_that_leaving_one_out_favours(width: float | None) -> None:
    kernel = Kernel(width=width)
    fitted = DualRidges(kernel, INPUTS).fit(TARGETS)
    held = (INPUTS @ INPUTS.T / 6) if width is None else rbf_kernel(INPUTS, gamma=1 / (2 * width**2))
    np.testing.assert_allclose(kernel(INPUTS, INPUTS), held, rtol=0, atol=1e-5)
    held = kernel(INPUTS, INPUTS)
    results = {}
    for strength in _STRENGTHS * np.linalg.eigvalsh(held).mean():
        slow = np.empty_like(TARGETS)
        for sample in range(30):
            rest = np.delete(np.arange(30), sample)
            model = KernelRidge(alpha=strength, kernel="precomputed")
            model.fit(held[np.ix_(rest, rest)], TARGETS[rest])
            slow[sample] = model.predict(held[[sample]][:, rest])[0]
        results[float(((slow - TARGETS) ** 2).sum())] = (strength, slow)
    strength, slow = results[min(results)]
    np.testing.assert_allclose(fitted.left_out, slow, rtol=0, atol=1e-6)
    model = KernelRidge(alpha=strength, kernel="precomputed").fit(held, TARGETS)
    np.testing.assert_allclose(fitted(FRESH), model.predict(kernel(FRESH, INPUTS)), rtol=0, atol=1e-6)


def test_many_samples_let_each_target_have_its_own_strength() -> None:
    inputs = RANDOM.normal(size=(200, 6)).astype(np.float32)
    targets = np.stack([inputs[:, 0], RANDOM.normal(size=200)], axis=1).astype(np.float64)
    fitted = DualRidges(Kernel(), inputs).fit(targets)
    answers = fitted(FRESH)
    np.testing.assert_allclose(answers[:, 0], FRESH[:, 0], rtol=0, atol=0.01)
    assert np.abs(answers[:, 1]).max() < 0.5


@pytest.mark.parametrize("width", [None, 1.0])
def test_inputs_that_say_nothing_are_answered_with_nothing(width: float | None) -> None:
    inputs, noise = np.zeros((20, 6), np.float32), RANDOM.normal(size=(20, 2))
    answers = DualRidges(Kernel(width=width), inputs).fit(noise - noise.mean(axis=0))(FRESH * 0)
    np.testing.assert_allclose(answers, 0, atol=1e-6)
