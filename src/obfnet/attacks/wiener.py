"""The Wiener filter of whole samples: what is left of a sample under noise that was added in its place.

It takes two things from the pairs, how strong the noise is at each value and how values of raw samples hang
together, and nothing else: far fewer numbers than a regression has to learn, so that it needs fewer pairs.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Final, final

import numpy as np

from obfnet.attacks.attack import Reconstruction, ReconstructionAttack, need_raw_shape
from obfnet.attacks.held_out import Indices, class_index, class_means, own_parts
from obfnet.attacks.knowledge import Labels, Samples, WhiteBox
from obfnet.attacks.principal_components import evenly, flat, principal_components
from obfnet.core.progress import Progress
from obfnet.data.rows import AnyRows, batches, taken

# Samples of more values are filtered in the space of their strongest components.
_MOST_VALUES: Final = 1_024
_PAIRS: Final = 20_000
_BATCH: Final = 512
_NOTHING: Final = 1e-9


@final
class WienerFilter(ReconstructionAttack):
    """The best linear estimate under independent noise, about the mean of all samples or of the label.

    Which of the two is chosen on held-out pairs. Of more than 20,000 pairs an evenly spaced subset is taken.

    Source: Wiener 1949, *Extrapolation, Interpolation, and Smoothing of Stationary Time Series*; here without
        stationarity, from the samples' own covariance.
    """

    name = "wiener"
    threat_level = "T2"
    citation = "Wiener 1949, Extrapolation, Interpolation, and Smoothing of Stationary Time Series"
    assumes = "noise was added to each value in its place, independent of the sample, perhaps after a scale"

    def fit(self, knowledge: WhiteBox, *, seed: int, progress: Progress) -> Reconstruction:
        """Measures noise and covariance on the pairs; nothing but the held-out part is random.

        Raises:
            AttackError: what is received has another shape than raw samples.
        """
        shape = tuple(knowledge.raw.shape[1:])
        need_raw_shape(shape, tuple(knowledge.received.shape[1:]))
        chosen = evenly(len(knowledge.labels), _PAIRS)
        kept, held = (
            chosen[part]
            for part in own_parts(knowledge.labels[chosen], values=int(np.prod(shape)), seed=seed)
        )
        raw, received = taken(knowledge.raw, kept), taken(knowledge.received, kept)
        classes, means = class_means(raw, knowledge.labels[kept])
        means = means.reshape(len(means), -1)
        progress.start("fit Wiener filter", 2)
        scale, offset = _scale(raw, received, means[-1])
        progress.advance(1)
        if scale == 0.0:
            # Nothing of the sample is in its place: the label is all that is left.
            progress.finish()
            return lambda samples, answered: means[class_index(classes, answered)].reshape(-1, *shape)
        axes = (
            np.eye(means.shape[1], dtype=np.float32)
            if means.shape[1] <= _MOST_VALUES
            else principal_components(raw, _MOST_VALUES).axes
        )
        filters = [_Filter(about, axes) for about in (np.broadcast_to(means[-1], means.shape), means)]
        for part, sent, rows in _pairs(raw, received, class_index(classes, knowledge.labels[kept])):
            for one in filters:
                one.learn(part, (sent - offset) / scale, rows)
        best = filters[0]
        if len(held):
            rows = class_index(classes, knowledge.labels[held])
            asked, wanted = flat(knowledge.received[held]), flat(knowledge.raw[held])
            best = min(filters, key=lambda one: _error(one((asked - offset) / scale, rows), wanted))
        progress.finish()

        def reconstruct(samples: Samples, answered: Labels) -> Samples:
            index = class_index(classes, answered)
            parts = [
                best((flat(samples[at : at + _BATCH]) - offset) / scale, index[at : at + _BATCH])
                for at in range(0, len(samples), _BATCH)
            ]
            return np.concatenate(parts).reshape(len(samples), *shape)

        return reconstruct


@final
class _Filter:
    """One gain for all samples, about a mean for each label.

    Args:
        about: `(K + 1, D)`, in the order of `class_means`.
        axes: `(D, R)` orthonormal: where the gain works.
    """

    def __init__(self, about: Samples, axes: Samples) -> None:
        self.about, self.axes = about, axes
        rank = axes.shape[1]
        self._count, self._products = 0, np.zeros((rank, rank))
        self._noise, self._squares = np.zeros(rank), np.zeros(rank)

    def learn(self, raw: Samples, undone: Samples, rows: Indices) -> None:
        """Takes in some pairs, `(N, D)` each, and the row of `about` of each."""
        along = ((raw - self.about[rows]) @ self.axes).astype(np.float64)
        noise = ((undone - raw) @ self.axes).astype(np.float64)
        self._count += len(raw)
        self._products += along.T @ along
        self._noise += noise.sum(axis=0)
        self._squares += (noise**2).sum(axis=0)

    @cached_property
    def _gain(self) -> Samples:
        covariance = self._products / self._count
        noise = (self._squares / self._count - (self._noise / self._count) ** 2).clip(min=0)
        floor = _NOTHING + 1e-6 * float(covariance.trace()) / len(covariance)
        gain: Samples = np.linalg.solve(covariance + np.diag(noise + floor), covariance).astype(np.float32)
        return gain

    def __call__(self, undone: Samples, rows: Indices) -> Samples:
        """Guesses at raw samples, `(N, D)` in [0, 1], after everything was learnt."""
        means = self.about[rows]
        guesses: Samples = (means + ((undone - means) @ self.axes) @ self._gain @ self.axes.T).clip(0, 1)
        return guesses.astype(np.float32)


def _pairs(raw: AnyRows, received: AnyRows, rows: Indices) -> Iterator[tuple[Samples, Samples, Indices]]:
    done = 0
    for part, sent in zip(batches(raw, _BATCH), batches(received, _BATCH), strict=True):
        yield flat(part), flat(sent), rows[done : done + len(part)]
        done += len(part)


def _scale(raw: AnyRows, received: AnyRows, mean: Samples) -> tuple[float, float]:
    """Slope and offset of what is received over what was raw, all places together; slope 0 for none.

    Args:
        raw: `(N, ...)` of D values each.
        received: The same.
        mean: `(D,)`, of the raw samples.
    """
    count, spread, products = 0, 0.0, 0.0
    total = np.zeros(len(mean))
    for part, sent, _ in _pairs(raw, received, np.empty(0, np.int64)):
        away = part.astype(np.float64) - mean
        spread += float((away**2).sum())
        # The raw samples' deviations sum to nothing, so that what was received need not be centred.
        products += float((away * sent).sum())
        total += sent.sum(axis=0, dtype=np.float64)
        count += len(part)
    if spread < _NOTHING * count * len(mean) or abs(slope := products / spread) < 1e-6:
        return 0.0, 0.0
    return slope, float(total.mean() / count - slope * mean.mean())


def _error(guesses: Samples, raw: Samples) -> float:
    return float(((guesses - raw) ** 2).mean())
