"""Principal components of samples too many or too wide to hold: the space in which cheap attacks work.

They are taken from an evenly spaced subset, of the smaller of the covariance and the Gram matrix; everything
else is projected batch by batch. Nothing is chosen here: how many to use is each attack's matter.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from obfnet.attacks.knowledge import Samples
from obfnet.core.spec import as_unit
from obfnet.data.rows import AnyRows, batches

_SUBSET: Final = 2_048
# Of the total variance; what is below is the rounding of float32.
_NOTHING: Final = 1e-10
_STEADY: Final = 0.01


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class PrincipalComponents:
    """Directions of most variance, the strongest first.

    Args:
        mean: `(D,)` float32, D the number of values in a sample.
        axes: `(D, R)` float32, orthonormal columns; R is 0 where the samples do not vary.
        variances: `(R,)` float64, of the samples along each axis, descending, > 0.
    """

    mean: Samples
    axes: Samples
    variances: npt.NDArray[np.float64]

    def project(self, samples: Samples, *, whiten: bool = False) -> Samples:
        """Coordinates of some samples.

        Args:
            samples: `(N, ...)` of D values each, float32 in [0, 1] or uint8.
            whiten: Divide by the spread along each axis, of which the weakest are kept from becoming noise.

        Returns:
            `(N, R)` float32.
        """
        coordinates = (flat(samples) - self.mean) @ self.axes
        seen: Samples = (coordinates / self.spread() if whiten else coordinates).astype(np.float32)
        return seen

    def project_all(self, rows: AnyRows, *, whiten: bool = False) -> Samples:
        """The same for any number of rows, read batch by batch: `(N, R)` float32."""
        parts = [self.project(some, whiten=whiten) for some in batches(rows)]
        return np.concatenate(parts) if parts else np.empty((0, len(self.variances)), np.float32)

    def spread(self) -> Samples:
        """What whitening divides by, `(R,)` float32, > 0."""
        floor = _STEADY * self.variances.mean() if len(self.variances) else 0.0
        spread: Samples = np.sqrt(self.variances + floor).astype(np.float32)
        return spread


def principal_components(rows: AnyRows, most: int) -> PrincipalComponents:
    """The strongest components of some samples.

    Args:
        rows: `(N, ...)` float32 in [0, 1] or uint8, N ≥ 1; at most 2,048 of them are used, evenly spaced.
        most: How many components at most, ≥ 1.

    Example:
        >>> found = principal_components(np.array([[0, 0.5], [1, 0.5], [0.5, 0.5]], np.float32), 2)
        >>> found.variances.round(3).tolist(), np.abs(found.axes).round(3).tolist()
        ([0.167], [[1.0], [0.0]])

    Source: Turk and Pentland 1991, *Eigenfaces for recognition* (components by way of the Gram matrix).
    """
    some = flat(rows[evenly(len(rows), _SUBSET)])
    mean = some.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = some - mean
    count, values = centred.shape
    wide = values > count
    square = (centred @ centred.T if wide else centred.T @ centred).astype(np.float64) / count
    total = float(np.trace(square))
    if total <= _NOTHING * values:
        return PrincipalComponents(mean=mean, axes=np.empty((values, 0), np.float32), variances=np.empty(0))
    side = len(square)
    variances, axes = eigh(square, subset_by_index=[max(0, side - most), side - 1])
    kept = np.flatnonzero(variances > _NOTHING * total)[::-1]
    variances, axes = variances[kept], axes[:, kept].astype(np.float32)
    if wide:
        axes = (centred.T @ axes) / np.sqrt(variances * count).astype(np.float32)
    # Signs are arbitrary: fixed here, so that no later step depends on the linear algebra library's choice.
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), np.arange(len(kept))] < 0, -1, 1).astype(np.float32)
    return PrincipalComponents(mean=mean, axes=axes, variances=variances)


def evenly(count: int, most: int) -> npt.NDArray[np.int64]:
    """Indices of at most `most` of `count` rows, evenly spaced, ascending.

    Example:
        >>> evenly(10, 4).tolist(), evenly(3, 4).tolist()
        ([0, 3, 6, 9], [0, 1, 2])
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def flat(samples: Samples) -> Samples:
    """Samples as `(N, D)` float32 in [0, 1]; a copy."""
    return as_unit(samples).reshape(len(samples), -1)
