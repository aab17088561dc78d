"""Maps from what was received to raw samples that need no pair: they match the moments of two sets.

Each is fitted on received samples with the answered labels, and on raw samples of other people with theirs.
Which of them to believe is not decided here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from obfnet.attacks.held_out import Indices, class_index, class_means
from obfnet.attacks.knowledge import Labels, Samples
from obfnet.attacks.principal_components import PrincipalComponents, principal_components

Matrix = npt.NDArray[np.float64]
Guess = Callable[[Samples, Labels], Samples]
"""`(N, D)` received samples and `(N,)` answered labels to `(N, K)` raw ones, float32, not cut."""

_COMPONENTS: Final = 128
_ALIGNED: Final = 48
_STEPS: Final = 200
_RATE: Final = 0.03
_LITTLE: Final = 1e-3
# Below this standard deviation a direction is the rounding of float32 and carries nothing.
_NOTHING: Final = 1e-5


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Unpaired:
    """Two sets of samples that do not belong together, flat.

    Args:
        received: `(M, D)` float32.
        answered: `(M,)` int64.
        raw: `(N, K)` float32.
        labels: `(N,)` int64.
    """

    received: Samples
    answered: Labels
    raw: Samples
    labels: Labels


def unchanged(_: Unpaired) -> Guess:
    """The received sample as it is."""
    return lambda received, answered: received


def negative(_: Unpaired) -> Guess:
    """One minus the received sample."""
    return lambda received, answered: 1 - received


def per_value(known: Unpaired) -> Guess:
    """Mean and spread of every value by itself."""
    mean, spread = known.received.mean(axis=0), known.received.std(axis=0)
    aim, wanted = known.raw.mean(axis=0), known.raw.std(axis=0)
    gain = np.where(spread > _NOTHING, wanted / np.maximum(spread, _NOTHING), 0).astype(np.float32)
    return lambda received, answered: (received - mean) * gain + aim


def label_means(known: Unpaired) -> Guess:
    """The mean raw sample of the label, whatever was received."""
    classes, means = class_means(known.raw, known.labels)
    return lambda received, answered: means[class_index(classes, answered)]


def transport(known: Unpaired) -> Guess:
    """Optimal transport between two Gaussians, all labels together; raw and received have one shape.

    Source: Dowson and Landau 1982, *The Fréchet distance between multivariate normal distributions*
        (Journal of Multivariate Analysis), for the map of least squared distance.
    """
    return _transported(known, per_label=False)


def label_transport(known: Unpaired) -> Guess:
    """The same between the Gaussians of each label; few samples lend from all labels."""
    return _transported(known, per_label=True)


def ranked(known: Unpaired) -> Guess:
    """Principal components of one side for those of the other, by rank; signs by label means and skew."""
    return _aligned(known, lambda views: views.signs())


def turned(known: Unpaired) -> Guess:
    """Whitened components, turned so that label means and label covariances fit; starts from `ranked`."""
    return _aligned(known, lambda views: views.refined(views.signs()))


def turned_by_means(known: Unpaired) -> Guess:
    """The same, started from the turn that fits label means best.

    Source: Schönemann 1966, *A generalized solution of the orthogonal Procrustes problem* (Psychometrika).
    """
    return _aligned(known, lambda views: views.refined(views.procrustes()))


def _transported(known: Unpaired, *, per_label: bool) -> Guess:
    both = np.concatenate([known.received, known.raw])
    space = principal_components(both, _COMPONENTS)
    source = _Moments.of(space.project(known.received), known.answered, per_label=per_label)
    target = _Moments.of(space.project(known.raw), known.labels, per_label=per_label)
    classes, means = class_means(known.raw, known.labels)
    common = np.intersect1d(source.classes, target.classes)
    rows = [(source.row(label), target.row(label)) for label in common]
    # The last is for labels that one side lacks.
    rows.append((len(source.classes), len(target.classes)))
    maps = np.stack([_gaussian_map(source.covariances[a], target.covariances[b]) for a, b in rows])
    froms, tos = (
        np.stack([side.means[row] for row in chosen])
        for side, chosen in zip((source, target), zip(*rows, strict=True), strict=True)
    )
    # What lies outside of the common space is the label's mean.
    rest = means.reshape(len(means), -1) - space.mean
    rest = (rest - (rest @ space.axes) @ space.axes.T + space.mean).astype(np.float32)

    def guess(received: Samples, answered: Labels) -> Samples:
        points = space.project(received)
        # Without labels of their own all take the last row.
        place = class_index(common, answered) if len(common) else np.zeros(len(answered), np.int64)
        moved = np.empty_like(points)
        for row in np.unique(place):
            own = place == row
            moved[own] = (points[own] - froms[row]) @ maps[row] + tos[row]
        found: Samples = moved @ space.axes.T + rest[class_index(classes, answered)]
        return found

    return guess


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Moments:
    classes: Labels
    means: Samples
    covariances: Samples

    @classmethod
    def of(cls, points: Samples, labels: Labels, *, per_label: bool) -> "_Moments":
        size = points.shape[1]
        overall = points.mean(axis=0)
        total = (points - overall).T @ (points - overall) / len(points)
        classes = np.unique(labels) if per_label else labels[:0]
        parts = [points[labels == label] for label in classes]
        means = [part.mean(axis=0) for part in parts]
        spreads = [(part - mean).T @ (part - mean) for part, mean in zip(parts, means, strict=True)]
        within = sum(spreads, np.zeros((size, size))) / len(points)
        covariances = [
            (spread + size * within) / (len(part) + size) for part, spread in zip(parts, spreads, strict=True)
        ]
        return cls(
            classes=classes,
            means=np.stack([*means, overall]).astype(np.float32),
            covariances=np.stack([*covariances, total]),
        )

    def row(self, label: Any) -> int:
        return int(np.searchsorted(self.classes, label))


def _gaussian_map(source: Matrix, target: Matrix) -> Samples:
    values, axes = np.linalg.eigh(source)
    floor = max(_NOTHING**2, 1e-6 * float(values.max(initial=0.0)))
    roots = np.sqrt(values.clip(min=0))
    inverse = np.where(values > floor, 1 / np.sqrt(values.clip(min=floor)), 0)
    root, undone = (axes * roots) @ axes.T, (axes * inverse) @ axes.T
    middle, turned = np.linalg.eigh(root @ target @ root)
    between = (turned * np.sqrt(middle.clip(min=0))) @ turned.T
    found: Samples = (undone @ between @ undone).astype(np.float32)
    return found


def _aligned(known: Unpaired, turn: "Callable[[_Views], Tensor]") -> Guess:
    seen = principal_components(known.received, _ALIGNED)
    wanted = principal_components(known.raw, _ALIGNED)
    size = min(len(seen.variances), len(wanted.variances))
    classes, means = class_means(known.raw, known.labels)
    means = means.reshape(len(means), -1)
    if size == 0:
        return lambda received, answered: means[class_index(classes, answered)]
    common = np.intersect1d(known.answered, known.labels)
    views = _Views(
        source=_View.of(_white(seen, known.received, size), known.answered, common),
        target=_View.of(_white(wanted, known.raw, size), known.labels, common),
    )
    matrix = turn(views).numpy()
    axes = wanted.axes[:, :size]
    rest = means - (means - wanted.mean) @ axes @ axes.T
    unit = wanted.spread()[:size]

    def guess(received: Samples, answered: Labels) -> Samples:
        points = _white(seen, received, size) @ matrix * unit
        found: Samples = points @ axes.T + rest[class_index(classes, answered)]
        return found

    return guess


def _white(space: PrincipalComponents, samples: Samples, size: int) -> Samples:
    return space.project(samples, whiten=True)[:, :size]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _View:
    weights: Tensor
    means: Tensor
    covariances: Tensor
    skew: Tensor

    @classmethod
    def of(cls, points: Samples, labels: Labels, classes: Indices) -> "_View":
        parts = [points[labels == label] for label in classes]
        covariances = [np.cov(part.T, bias=True).reshape(points.shape[1], -1) for part in parts]
        return cls(
            weights=torch.tensor([len(part) / len(points) for part in parts], dtype=torch.float32),
            means=_stacked([part.mean(axis=0) for part in parts], points.shape[1:]),
            covariances=_stacked(covariances, 2 * points.shape[1:]),
            skew=torch.from_numpy((points.astype(np.float64) ** 3).mean(axis=0)).float(),
        )


def _stacked(parts: list[Any], shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(np.stack(parts).astype(np.float32)) if parts else torch.zeros(0, *shape)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Views:
    source: _View
    target: _View

    def signs(self) -> Tensor:
        by_means = (self.target.weights[:, None] * self.source.means * self.target.means).sum(0)
        votes = by_means + 0.1 * self.source.skew * self.target.skew
        return torch.diag(torch.where(votes < 0, -1.0, 1.0))

    def procrustes(self) -> Tensor:
        # Fewer means than components: in the rest of the space the ranks decide.
        cross = (self.source.means * self.target.weights[:, None]).T @ self.target.means
        left, _, right = torch.linalg.svd(cross + _LITTLE * self.signs())
        turn: Tensor = left @ right
        return turn

    def refined(self, turn: Tensor) -> Tensor:
        change = torch.zeros_like(turn, requires_grad=True)
        optimiser = torch.optim.Adam([change], lr=_RATE)
        for step in range(_STEPS):
            optimiser.param_groups[0]["lr"] = _RATE * (1 - step / _STEPS)
            optimiser.zero_grad()
            self._misfit(turn @ torch.matrix_exp(change - change.T)).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        with torch.no_grad():
            return turn @ torch.matrix_exp(change - change.T)

    def _misfit(self, turn: Tensor) -> Tensor:
        means = (self.source.means @ turn - self.target.means).square().sum(1)
        covariances = (turn.T @ self.source.covariances @ turn - self.target.covariances).square().sum((1, 2))
        return (self.target.weights * (means + covariances)).sum()
