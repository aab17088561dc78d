"""A linear map from the neighbourhood of a value to the value itself, the same everywhere in a sample.

One pair holds hundreds of such values, so that a single pair undoes whatever an obfuscator does value by
value or by a small filter. What it scatters over the whole sample is out of reach.
"""

from collections.abc import Iterator
from typing import Final, Self, final

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from obfnet.attacks.knowledge import Samples

Matrix = npt.NDArray[np.float64]

_REACH: Final = 1
_AT_ONCE: Final = 8
# Beside the mean square of a regressor.
_STRENGTH: Final = 1e-4
_FOLDS: Final = 5
# More pairs teach so few weights nothing.
_MOST_PAIRS: Final = 200


@final
class LocalMap:
    """What 3x3 received values, and the base there, say of the raw value beyond the base.

    Args:
        weights: `(regressors, C)` float64.
    """

    def __init__(self, weights: Matrix) -> None:
        self._weights = weights

    def __call__(self, received: Samples, base: Samples) -> Samples:
        """Guesses, not cut to [0, 1].

        Args:
            received: `(N, C, H, W)` float32 in [0, 1].
            base: The guess that is improved upon, same shape.

        Returns:
            The same shape, float32.
        """
        made = np.empty_like(base)
        for part, regressors in _regressors(received, base):
            made[part] = base[part] + np.moveaxis(regressors @ self._weights, -1, 1)
        return made

    @classmethod
    def fit(cls, received: Samples, base: Samples, raw: Samples) -> tuple[Self, Samples]:
        """Fits the map, and guesses at every pair with a map that was fitted without it.

        With fewer than five pairs the parts left out are bands of rows, else whole samples.

        Args:
            received: `(N, C, H, W)` float32 in [0, 1], N ≥ 1.
            base: Same shape.
            raw: Same shape.

        Returns:
            The map, and the `(N, C, H, W)` guesses at the pairs.
        """
        height = raw.shape[2]
        folds = np.empty((len(raw), height), np.int64)
        if len(raw) < _FOLDS:
            folds[:] = np.arange(height) * _FOLDS // height
        else:
            folds[:] = (np.arange(len(raw)) % _FOLDS)[:, None]
        squares, products = cls._sums(received, base, raw, folds)
        left_out = np.empty_like(raw)
        for fold in range(_FOLDS):
            without = cls(_solved(squares.sum(0) - squares[fold], products.sum(0) - products[fold]))
            guess = without(received, base) if len(raw) < _FOLDS else None
            chosen = folds == fold
            if guess is None:
                samples = chosen[:, 0]
                left_out[samples] = without(received[samples], base[samples])
            else:
                np.moveaxis(left_out, 1, 2)[chosen] = np.moveaxis(guess, 1, 2)[chosen]
        return cls(_solved(squares.sum(0), products.sum(0))), left_out

    @staticmethod
    def _sums(
        received: Samples, base: Samples, raw: Samples, folds: npt.NDArray[np.int64]
    ) -> tuple[Matrix, Matrix]:
        channels = raw.shape[1]
        wide = channels * ((2 * _REACH + 1) ** 2 + 1) + 1
        squares, products = np.zeros((_FOLDS, wide, wide)), np.zeros((_FOLDS, wide, channels))
        for part, regressors in _regressors(received[:_MOST_PAIRS], base[:_MOST_PAIRS]):
            targets = np.moveaxis(raw[part] - base[part], 1, -1)
            for fold in range(_FOLDS):
                chosen = folds[:_MOST_PAIRS][part] == fold
                if chosen.any():
                    x = regressors[chosen].reshape(-1, wide)
                    squares[fold] += x.T @ x
                    products[fold] += x.T @ targets[chosen].reshape(-1, channels)
        return squares, products


def _regressors(received: Samples, base: Samples) -> Iterator[tuple[slice, Matrix]]:
    side = 2 * _REACH + 1
    for start in range(0, len(received), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        padded = np.pad(received[part], ((0, 0), (0, 0), (_REACH, _REACH), (_REACH, _REACH)), mode="edge")
        windows = np.moveaxis(sliding_window_view(padded, (side, side), axis=(2, 3)), 1, 3)
        count, height, width = windows.shape[:3]
        yield (
            part,
            np.concatenate(
                [
                    windows.reshape(count, height, width, -1),
                    np.moveaxis(base[part], 1, -1),
                    np.ones((count, height, width, 1)),
                ],
                axis=-1,
                dtype=np.float64,
            ),
        )


def _solved(squares: Matrix, products: Matrix) -> Matrix:
    penalty = _STRENGTH * np.trace(squares) / len(squares)
    solved: Matrix = np.linalg.solve(squares + penalty * np.eye(len(squares)), products)
    return solved
