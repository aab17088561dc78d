"""Ridge regression from what was received to the raw sample: the cheap control that undoes anything linear.

It has a closed form and one setting, which it chooses by itself, so that nobody can say that it was trained
badly; an attack that does worse on the same pairs is a weak one. It sees nothing that is not linear.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from obfnet.attacks.attack import Reconstruction, ReconstructionAttack
from obfnet.attacks.held_out import class_index
from obfnet.attacks.knowledge import Labels, Samples, WhiteBox
from obfnet.attacks.principal_components import evenly, flat, principal_components
from obfnet.core.progress import Progress

_MOST_INPUTS: Final = 1_024
# Products of a standard fit: all 60,000 digits; and never fewer pairs than these, if there are as many.
_WORK: Final = 1e11
_FEWEST: Final = 4_000
_BATCH: Final = 512
# Strengths beside the mean variance of an input.
_STRENGTHS: Final = np.logspace(-9, 3, 37)

Matrix = npt.NDArray[np.float64]


@final
class Ridge(ReconstructionAttack):
    """Linear regression with a penalty on its weights, over all samples or within each answered label.

    Samples of more than 1,024 values are first projected to their 1,024 strongest principal components. The
    penalty, and whether the label gets a mean of its own, are chosen by generalised cross-validation. Pairs
    go by in batches; of very many an evenly spaced subset is taken.

    Source: Hoerl and Kennard 1970, *Ridge regression: biased estimation for nonorthogonal problems*
        (Technometrics); Golub, Heath and Wahba 1979, *Generalized cross-validation as a method for choosing
        a good ridge parameter* (Technometrics).
    """

    name = "ridge"
    threat_level = "T2"
    citation = "Hoerl and Kennard 1970, Ridge regression (Technometrics)"
    assumes = "the raw sample is nearly a linear function of what is received"

    def fit(self, knowledge: WhiteBox, *, seed: int, progress: Progress) -> Reconstruction:
        """Sums up the normal equations over the pairs and solves them; nothing is random."""
        shape = tuple(knowledge.raw.shape[1:])
        outputs, inputs = math.prod(shape), math.prod(knowledge.received.shape[1:])
        view: Callable[[Samples], Samples]
        if inputs > _MOST_INPUTS:
            view = principal_components(knowledge.received, _MOST_INPUTS).project
            inputs = _MOST_INPUTS
        else:
            view = flat
        affordable = int(self.effort * _WORK / (inputs * (inputs + outputs)))
        chosen = evenly(len(knowledge.labels), max(_FEWEST, affordable))
        sums = _Sums(knowledge, view, chosen, progress)
        classes = sums.classes
        # The label for the samples and for the means: the last row is of all, as `class_index` has it.
        pooled = _Fit.best(sums, within=False)
        within = _Fit.best(sums, within=True)
        found = within if within.error < pooled.error else pooled

        def reconstruct(samples: Samples, labels: Labels) -> Samples:
            rows = class_index(classes, labels)
            guesses = np.empty((len(samples), outputs), np.float32)
            for start in range(0, len(samples), _BATCH):
                part = slice(start, start + _BATCH)
                centred = view(samples[part]) - found.received[rows[part]]
                guesses[part] = (centred @ found.weights + found.raw[rows[part]]).clip(0, 1)
            return guesses.reshape(len(samples), *shape)

        return reconstruct


@final
class _Sums:
    """First and second moments of the pairs, by label; about a point near the mean, for exactness."""

    def __init__(
        self,
        knowledge: WhiteBox,
        view: Callable[[Samples], Samples],
        chosen: npt.NDArray[np.int64],
        progress: Progress,
    ) -> None:
        self.classes, index = np.unique(knowledge.labels[chosen], return_inverse=True)
        self.counts = np.bincount(index).astype(np.float64)
        progress.start("fit ridge", len(chosen))
        for start in range(0, len(chosen), _BATCH):
            rows = chosen[start : start + _BATCH]
            x = view(knowledge.received[rows]).astype(np.float64)
            y = flat(knowledge.raw[rows]).astype(np.float64)
            if start == 0:
                self.origin_x, self.origin_y = x.mean(axis=0), y.mean(axis=0)
                kinds, inputs, outputs = len(self.classes), x.shape[1], y.shape[1]
                self.x, self.y = np.zeros((kinds, inputs)), np.zeros((kinds, outputs))
                self.xx, self.xy, self.yy = np.zeros((inputs, inputs)), np.zeros((inputs, outputs)), 0.0
            x -= self.origin_x
            y -= self.origin_y
            member = np.eye(len(self.classes))[index[start : start + _BATCH]]
            self.x += member.T @ x
            self.y += member.T @ y
            self.xx += x.T @ x
            self.xy += x.T @ y
            self.yy += float(np.vdot(y, y))
            progress.advance(min(start + _BATCH, len(chosen)))
        progress.finish()


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Fit:
    """Weights `(D, outputs)`, and the means about which they work, a row a class and one for all."""

    weights: Samples
    received: Samples
    raw: Samples
    error: float

    @classmethod
    def best(cls, sums: _Sums, *, within: bool) -> "_Fit":
        counts = sums.counts if within else sums.counts.sum(keepdims=True)
        x, y = (part if within else part.sum(axis=0, keepdims=True) for part in (sums.x, sums.y))
        mean_x, mean_y = x / counts[:, None], y / counts[:, None]
        scatter = sums.xx - mean_x.T @ x
        cross = sums.xy - mean_x.T @ y
        spread = max(sums.yy - float(np.vdot(mean_y, y)), 0.0)
        weights, error = _solve(scatter, cross, spread, samples=float(counts.sum()), means=len(counts))
        kinds = len(sums.classes)
        overall_x, overall_y = (
            part.sum(axis=0, keepdims=True) / sums.counts.sum() for part in (sums.x, sums.y)
        )
        repeat = 1 if within else kinds
        return cls(
            weights=weights.astype(np.float32),
            received=(np.concatenate([np.repeat(mean_x, repeat, axis=0), overall_x]) + sums.origin_x).astype(
                np.float32
            ),
            raw=(np.concatenate([np.repeat(mean_y, repeat, axis=0), overall_y]) + sums.origin_y).astype(
                np.float32
            ),
            error=error,
        )


def _solve(
    scatter: Matrix, cross: Matrix, spread: float, *, samples: float, means: int
) -> tuple[Matrix, float]:
    """Weights of the penalty with the least generalised cross-validation error, and that error."""
    variances, axes = np.linalg.eigh(scatter)
    variances = variances.clip(min=0)
    scale = variances.mean() if variances.size else 0.0
    along = axes.T @ cross
    power = (along**2).sum(axis=1)
    if scale <= 1e-12 * samples:
        free = samples - means
        return np.zeros_like(cross), spread * samples / free**2 if free > 0 else math.inf
    best, error = float(_STRENGTHS[-1]), math.inf
    for strength in _STRENGTHS:
        shrunk = variances + strength * scale
        residual = max(spread - float((power * (2 / shrunk - variances / shrunk**2)).sum()), 1e-12 * spread)
        free = samples - means - float((variances / shrunk).sum())
        # With hardly any freedom left the estimate is nothing by nothing.
        if free > 0.01 * samples and residual * samples / free**2 < error:
            best, error = float(strength), residual * samples / free**2
    return axes @ (along / (variances + best * scale)[:, None]), error
