"""What an attacker believes of a raw sample before it looks: a Gaussian per label, from samples of its own.

Means are exact, covariances live in the leading principal components, and what lies outside has a spread per
value. A prior for attacks that search, and a unit for their steps; it rebuilds nothing by itself.
"""

from typing import Final, final

import numpy as np
import torch
from torch import Tensor

from obfnet.attacks.held_out import Indices, class_index, class_means
from obfnet.attacks.knowledge import Labels, Samples
from obfnet.attacks.principal_components import evenly, flat, principal_components
from obfnet.data.rows import AnyRows, taken

_SUBSET: Final = 10_000
_RESIDUAL_SUBSET: Final = 1_000
# Of the mean variance along a component: directions without spread must still be told apart.
_FLOOR: Final = 1e-3


@final
class ClassGaussian:
    """A Gaussian per label; a label without samples gets that of all.

    Args:
        raw: `(N, ...)` float32 in [0, 1] or uint8, N ≥ 1; for covariances at most 10,000, evenly spaced.
        labels: `(N,)` int64.
        components: Most principal components that are kept, ≥ 1.
    """

    def __init__(self, raw: AnyRows, labels: Labels, components: int) -> None:
        self.principal = principal_components(raw, components)
        some = evenly(len(raw), _SUBSET)
        points = self.principal.project_all(taken(raw, some)).astype(np.float64)
        self._classes, means = class_means(raw, labels)
        index, size = class_index(self._classes, labels[some]), points.shape[1]
        around = [points[index == row] for row in range(len(self._classes))]
        counts = np.array([len(own) for own in around])
        centres = (means.reshape(len(means), -1) - self.principal.mean) @ self.principal.axes
        spreads = [
            (own - centre).T @ (own - centre) for own, centre in zip(around, centres[:-1], strict=True)
        ]
        within = sum(spreads, np.zeros((size, size))) / len(points)
        # The fewer samples a label has, the more its covariance is that of all labels.
        covariances = [
            (one + size * within) / (count + size) if size else one
            for count, one in zip(counts, spreads, strict=True)
        ]
        covariances.append(np.diag(self.principal.variances))
        floor = _FLOOR * np.diag(np.full(size, self.principal.variances.mean() if size else 0.0))
        roots = [np.linalg.cholesky(one + floor).T for one in covariances]
        self.means = torch.from_numpy(means.reshape(len(means), -1))
        self.centres = torch.from_numpy(centres.astype(np.float32))
        self.roots = torch.from_numpy(np.stack(roots).astype(np.float32))
        self.axes = torch.from_numpy(np.ascontiguousarray(self.principal.axes.T))
        self.residual = torch.from_numpy(self._left_out(raw))

    def rows(self, labels: Labels) -> Indices:
        """Row of each label in `means`, `centres` and `roots`, `(N,)`."""
        return class_index(self._classes, labels)

    def around(self, inner: Tensor, counts: dict[int, int]) -> Tensor:
        """Whitened coordinates to raw values, as a difference from the mean of their label.

        Args:
            inner: `(N, R)` float32, standard normal under this prior; sorted by row.
            counts: How many of them each row has, in their order.

        Returns:
            `(N, D)` float32.
        """
        parts = torch.split(inner, list(counts.values()))
        turned = [part @ self.roots[row] for row, part in zip(counts, parts, strict=True)]
        return torch.cat(turned) @ self.axes

    def whitened(self, samples: Tensor, counts: dict[int, int]) -> Tensor:
        """The inverse of `around`, of `(N, D)` samples that lie near the components."""
        points = torch.from_numpy(self.principal.project(samples.numpy()))
        parts = torch.split(points, list(counts.values()))
        return torch.cat(
            [
                torch.linalg.solve_triangular(
                    self.roots[row], part - self.centres[row], upper=True, left=False
                )
                for row, part in zip(counts, parts, strict=True)
            ]
        )

    def _left_out(self, raw: AnyRows) -> Samples:
        # Standard deviation of each value outside of the components, `(D,)`.
        some = flat(raw[evenly(len(raw), _RESIDUAL_SUBSET)])
        inside = self.principal.project(some) @ self.principal.axes.T + self.principal.mean
        spread: Samples = np.sqrt(((some - inside) ** 2).mean(axis=0)).astype(np.float32)
        return spread
