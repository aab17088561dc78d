"""The nearest known samples in the space of principal components: no training, and hard to fool.

Whoever holds pairs can answer a request with the raw samples whose obfuscated forms lie nearest to it. It
finds whatever keeps neighbours together, linear or not; it does not extrapolate.
"""

import math
from dataclasses import dataclass
from itertools import product
from typing import Final, final

import numpy as np
import numpy.typing as npt

from obfnet.attacks.attack import Reconstruction, ReconstructionAttack
from obfnet.attacks.held_out import class_index, class_means, likeness, own_parts
from obfnet.attacks.knowledge import Labels, Samples, WhiteBox
from obfnet.attacks.principal_components import evenly, principal_components
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.data.rows import AnyRows, taken

_COMPONENTS: Final = (16, 64, 128)
_NEIGHBOURS: Final = (1, 3, 10, 30)
_KNOWN: Final = 60_000
_FEWEST: Final = 5_000
_AT_ONCE: Final = 128
_VALUES_AT_ONCE: Final = 16_000_000


@final
class PCANeighbour(ReconstructionAttack):
    """Weighted mean of the raw samples of the k nearest known requests.

    The number of components, whether they are whitened, k, and whether only samples of the answered label
    count, are chosen by SSIM on the attacker's own held-out part; so is the class mean, where neighbours give
    no more than the label does. Of very many samples an evenly spaced subset is known.

    Source: Fix and Hodges 1951, *Discriminatory analysis: nonparametric discrimination* (the neighbours);
        Dudani 1976, *The distance-weighted k-nearest-neighbor rule* (the weights' idea).
    """

    name = "pca-neighbour"
    threat_level = "T2"
    citation = "Fix and Hodges 1951, Discriminatory analysis: nonparametric discrimination"
    assumes = "raw samples that are alike are received as samples that are alike"

    def fit(self, knowledge: WhiteBox, *, seed: int, progress: Progress) -> Reconstruction:
        """Projects the known requests and chooses the settings."""
        most = max(_FEWEST, round(self.effort * _KNOWN))
        some = evenly(len(knowledge.labels), most)
        raw, received = taken(knowledge.raw, some), taken(knowledge.received, some)
        labels = knowledge.labels[some]
        kept, held = own_parts(labels, values=math.prod(raw.shape[1:]), seed=seed)
        components = principal_components(taken(received, kept), max(_COMPONENTS))
        rank = len(components.variances)
        known = components.project_all(received)
        spread = components.spread()
        classes, means = class_means(raw, labels)
        tried = sorted({min(count, rank) for count in _COMPONENTS}) if rank else []
        settings = [
            _Setting(components=count, whiten=whiten, by_label=by_label)
            for count, whiten, by_label in product(tried, (False, True), (False, True))
        ]

        def seen(setting: _Setting, coordinates: Samples) -> Samples:
            part = coordinates[:, : setting.components]
            return part / spread[: setting.components] if setting.whiten else part

        best: tuple[_Setting, int] | None = None
        truth = as_unit(raw[held])
        score = (
            float(likeness(truth, means[class_index(classes, labels[held])]).mean())
            if len(held)
            else -math.inf
        )
        progress.start("choose neighbours", len(settings))
        for number, setting in enumerate(settings):
            neighbours = _Neighbours(seen(setting, known[kept]), labels[kept], taken(raw, kept), setting)
            for count, guess in neighbours.guesses(seen(setting, known[held]), labels[held], _NEIGHBOURS):
                reached = float(likeness(truth, guess).mean()) if len(held) else -math.inf
                if best is None and not len(held):
                    best = (setting, count)
                if reached > score:
                    best, score = (setting, count), reached
            progress.advance(number + 1)
        progress.finish("" if best is None else f"{best[1]} in {best[0].components} components")
        if best is None:
            return lambda samples, answered: means[class_index(classes, answered)]
        setting, count = best
        found = _Neighbours(seen(setting, known), labels, raw, setting)

        def reconstruct(samples: Samples, answered: Labels) -> Samples:
            coordinates = seen(setting, components.project_all(samples))
            return found.guesses(coordinates, answered, (count,))[0][1]

        return reconstruct


@final
@dataclass(frozen=True, kw_only=True)
class _Setting:
    components: int
    whiten: bool
    by_label: bool


@final
class _Neighbours:
    """Known requests in one setting: `(N, R)` coordinates, their labels and their raw samples."""

    def __init__(self, known: Samples, labels: Labels, raw: AnyRows, setting: _Setting) -> None:
        self.known, self.raw, self.by_label = known, raw, setting.by_label
        self.everyone = np.arange(len(known))
        self.members = {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}
        self.squares = (known**2).sum(axis=1)

    def guesses(self, asked: Samples, answered: Labels, counts: tuple[int, ...]) -> list[tuple[int, Samples]]:
        """For each number of neighbours, the guesses `(M, *raw_shape)`."""
        shape = tuple(self.raw.shape[1:])
        out = [(count, np.empty((len(asked), *shape), np.float32)) for count in counts]
        most = min(max(counts), len(self.known))
        step = max(1, min(_AT_ONCE, _VALUES_AT_ONCE // (most * math.prod(shape))))
        groups = (
            [(np.flatnonzero(answered == label), int(label)) for label in np.unique(answered)]
            if self.by_label
            else [(np.arange(len(asked)), None)]
        )
        for rows, label in groups:
            among = self.everyone if label is None else self.members.get(label, self.everyone)
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                index, distances = self._nearest(asked[part], among, most)
                near = as_unit(self.raw[index.reshape(-1)]).reshape(*index.shape, -1)
                for count, guess in out:
                    weights = _weights(distances[:, :count])
                    mean = np.einsum("mk,mkv->mv", weights, near[:, :count], optimize=True)
                    guess[part] = mean.reshape(-1, *shape).clip(0, 1)
        return out

    def _nearest(
        self, asked: Samples, among: npt.NDArray[np.int64], most: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        squares = (asked**2).sum(axis=1)[:, None] + self.squares[among] - 2 * asked @ self.known[among].T
        count = min(most, len(among))
        index = np.argpartition(squares, count - 1, axis=1)[:, :count] if count < len(among) else None
        if index is None:
            index = np.broadcast_to(np.arange(len(among)), squares.shape)
        values = np.take_along_axis(squares, index, axis=1)
        order = np.argsort(values, axis=1, kind="stable")
        nearest = np.take_along_axis(values, order, axis=1).clip(min=0).astype(np.float64)
        return among[np.take_along_axis(index, order, axis=1)], nearest


def _weights(distances: npt.NDArray[np.float64]) -> Samples:
    # Beside the farthest of them: weights do not depend on the scale, and equal distances weigh the same.
    relative = distances / np.maximum(distances[:, -1:], 1e-12)
    weights = 1 / (relative + 0.05)
    normalised: Samples = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return normalised
