"""The Wiener filter of whole samples: what is left of a sample under noise that was added in its place.

It takes two things from the pairs, how strong the noise is at each value and how values of raw samples hang
together, and nothing else: far fewer numbers than a regression has to learn, so that it needs fewer pairs.
"""

from typing import Final, final

import numpy as np
import numpy.typing as npt

from obfnet.attacks.attack import Reconstruction, ReconstructionAttack
from obfnet.attacks.held_out import class_index, class_means, own_parts
from obfnet.attacks.knowledge import Labels, Samples, WhiteBox
from obfnet.attacks.principal_components import evenly, flat, principal_components
from obfnet.core.errors import AttackError
from obfnet.core.progress import Progress

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
        if tuple(knowledge.received.shape[1:]) != shape:
            raise AttackError(
                f"received samples of the raw ones' shape {shape}",
                f"{tuple(knowledge.received.shape[1:])}",
                "other attacks do not need it",
            )
        chosen = evenly(len(knowledge.labels), _PAIRS)
        labels = knowledge.labels[chosen]
        kept, held = own_parts(labels, values=int(np.prod(shape)), seed=seed)
        progress.start("fit Wiener filter", 2)
        raw, received = flat(knowledge.raw[chosen]), flat(knowledge.received[chosen])
        scale, offset = _scale(raw[kept], received[kept])
        classes, means = class_means(raw[kept], labels[kept])
        if scale == 0.0:
            # Nothing of the sample is in its place: the label is all that is left.
            progress.finish()
            return lambda samples, answered: means[class_index(classes, answered)].reshape(-1, *shape)
        undone = (received - offset) / scale
        axes = (
            np.eye(raw.shape[1], dtype=np.float32)
            if raw.shape[1] <= _MOST_VALUES
            else principal_components(raw[kept], _MOST_VALUES).axes
        )
        filters = [
            _Filter(raw[kept], undone[kept], about[class_index(classes, labels[kept])], about, axes)
            for about in (np.broadcast_to(means[-1], means.shape), means)
        ]
        progress.advance(1)
        rows = class_index(classes, labels[held])
        best = min(filters, key=lambda one: _error(one(undone[held], rows), raw[held]))
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
    """One gain for all, about a mean a label; `about` has a row for each, the last for unknown labels."""

    def __init__(
        self, raw: Samples, undone: Samples, means: Samples, about: Samples, axes: npt.NDArray[np.float32]
    ) -> None:
        self.about, self.axes = about, axes
        along = ((raw - means) @ axes).astype(np.float64)
        noise = ((undone - raw) @ axes).astype(np.float64).var(axis=0)
        covariance = along.T @ along / len(along)
        floor = _NOTHING + 1e-6 * float(covariance.trace()) / len(covariance)
        self.gain: Samples = np.linalg.solve(covariance + np.diag(noise + floor), covariance).astype(
            np.float32
        )

    def __call__(self, undone: Samples, rows: npt.NDArray[np.int64]) -> Samples:
        means = self.about[rows]
        guesses: Samples = (means + ((undone - means) @ self.axes) @ self.gain @ self.axes.T).clip(0, 1)
        return guesses.astype(np.float32)


def _scale(raw: Samples, received: Samples) -> tuple[float, float]:
    """Slope and offset of what is received over what was raw, all values together; slope 0 for none."""
    x, y = raw.astype(np.float64), received.astype(np.float64)
    spread = float(((x - x.mean(axis=0)) ** 2).mean())
    if spread < _NOTHING:
        return 0.0, 0.0
    slope = float(((x - x.mean(axis=0)) * (y - y.mean(axis=0))).mean()) / spread
    if abs(slope) < 1e-6:
        return 0.0, 0.0
    return slope, float(y.mean() - slope * x.mean())


def _error(guesses: Samples, raw: Samples) -> float:
    return float(((guesses - raw) ** 2).mean()) if len(raw) else 0.0
