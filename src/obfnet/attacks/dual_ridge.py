"""Kernel ridge regression for few samples, with its strength chosen by leaving each of them out in turn.

Everything goes through the kernel between the samples, so that they may have any number of values; with the
linear kernel it is ordinary ridge regression. There is no intercept: of an input that says nothing it
answers 0.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from obfnet.attacks.knowledge import Samples

Matrix = npt.NDArray[np.float64]

# Strengths beside the mean variance that the kernel holds.
_STRENGTHS: Final = np.logspace(-6, 3, 13)
# With fewer samples one strength serves all targets: more choices would fit their noise.
_FEWEST_FOR_EACH: Final = 50
_NOTHING: Final = 1e-12
_AT_ONCE: Final = 4_096


@final
@dataclass(frozen=True, kw_only=True)
class Kernel:
    """How alike two inputs are.

    Args:
        width: None for the inner product; else the Gaussian kernel's width, > 0.

    Source: Saunders, Gammerman and Vovk 1998, *Ridge regression learning algorithm in dual variables* (ICML).
    """

    width: float | None = None

    def __call__(self, a: Samples, b: Samples) -> Matrix:
        """`(N, D)` and `(M, D)` to `(N, M)` float64."""
        inner: Matrix = np.zeros((len(a), len(b)))
        squares: Matrix = np.zeros((len(a), len(b)))
        # In float64, or weak strengths would fit its rounding; a part of the values at a time, for memory.
        for start in range(0, a.shape[1], _AT_ONCE):
            some, others = (side[:, start : start + _AT_ONCE].astype(np.float64) for side in (a, b))
            inner += some @ others.T
            squares += (some**2).sum(1)[:, None] + (others**2).sum(1)
        if self.width is None:
            inner /= a.shape[1]
            return inner
        distances = (squares - 2 * inner).clip(min=0)
        likeness: Matrix = np.exp(-distances / (2 * self.width**2))
        return likeness


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class DualRidge:
    """A fitted regression.

    Args:
        kernel: Between inputs.
        inputs: `(N, D)` float32, those that it was fitted on.
        weights: `(N, T)` float64, zero columns where nothing could be told.
        left_out: `(N, T)` float64, what it answers for each of its own samples when fitted on the others.
    """

    kernel: Kernel
    inputs: Samples
    weights: Matrix
    left_out: Matrix

    def __call__(self, inputs: Samples) -> Matrix:
        """The targets of some inputs, `(M, D)` to `(M, T)` float64."""
        return self.kernel(inputs, self.inputs) @ self.weights


@final
class DualRidges:
    """Regressions of several sets of targets on one set of inputs.

    Args:
        kernel: Between inputs.
        inputs: `(N, D)` float32, N ≥ 2, about 0.
    """

    def __init__(self, kernel: Kernel, inputs: Samples) -> None:
        self._kernel, self._inputs = kernel, inputs
        variances, self._axes = eigh(kernel(inputs, inputs))
        self._variances: Matrix = variances.clip(min=0)

    def fit(self, targets: Matrix) -> DualRidge:
        """The best strength for these targets, or none at all where every strength does worse than 0.

        Args:
            targets: `(N, T)` float64, about 0.

        Source: Allen 1974, *The relationship between variable selection and data augmentation and a method
            for prediction* (Technometrics): the error of leaving one out, without fitting again.
        """
        count = len(self._inputs)
        scale = self._variances.mean()
        weights, left_out = np.zeros_like(targets), np.zeros_like(targets)
        fitted = DualRidge(kernel=self._kernel, inputs=self._inputs, weights=weights, left_out=left_out)
        if scale <= _NOTHING:
            return fitted
        along = self._axes.T @ targets
        together = count < _FEWEST_FOR_EACH
        least, best = self._errors(targets, together), np.full(targets.shape[1], np.inf)
        for strength in _STRENGTHS * scale:
            share = self._variances / (self._variances + strength)
            own = (self._axes**2 @ share)[:, None]
            answers = (self._axes @ (share[:, None] * along) - own * targets) / (1 - own).clip(min=_NOTHING)
            errors = self._errors(targets - answers, together)
            better = errors < least
            least[better], best[better] = errors[better], strength
            left_out[:, better] = answers[:, better]
        told = np.isfinite(best)
        weights[:, told] = self._axes @ (along[:, told] / (self._variances[:, None] + best[told]))
        return fitted

    @staticmethod
    def _errors(misses: Matrix, together: bool) -> Matrix:
        errors: Matrix = (misses**2).sum(axis=0)
        return np.full_like(errors, errors.sum()) if together else errors
