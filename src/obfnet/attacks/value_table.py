"""A table for each place: what raw value went with each received one there.

Whatever rewrites every value by itself, be it a curve, a secret table or a hash, is undone by counting. It
sees no two places at once, so that nothing that mixes them is.
"""

from typing import Final, final

import numpy as np
import numpy.typing as npt

from obfnet.attacks.attack import Reconstruction, ReconstructionAttack, need_raw_shape
from obfnet.attacks.held_out import class_index, class_means
from obfnet.attacks.knowledge import Labels, Samples, WhiteBox
from obfnet.attacks.principal_components import evenly, flat
from obfnet.core.progress import Progress
from obfnet.data.rows import batches, taken

_LEVELS: Final = 256
# Pairs times values: all 60,000 digits.
_WORK: Final = 48_000_000
# So many pairs of the label's mean stand behind each entry, so that one seen once is not taken for certain.
_PRIOR: Final = 0.5


@final
class ValueTable(ReconstructionAttack):
    """For each place and each of 256 received levels the mean raw value; the label's mean where rare.

    Source: the frequency table behind naive Bayes (Maron 1961, *Automatic indexing: an experimental inquiry*,
        JACM), for values instead of classes.
    """

    name = "value-table"
    threat_level = "T2"
    citation = "after Maron 1961, Automatic indexing: an experimental inquiry (JACM)"
    assumes = "each received value follows from the raw one in its place, by whatever rule"

    def fit(self, knowledge: WhiteBox, *, seed: int, progress: Progress) -> Reconstruction:
        """Counts; nothing is random.

        Raises:
            AttackError: what is received has another shape than raw samples.
        """
        shape = tuple(knowledge.raw.shape[1:])
        need_raw_shape(shape, tuple(knowledge.received.shape[1:]))
        values = int(np.prod(shape))
        chosen = evenly(len(knowledge.labels), max(1_000, int(self.effort * _WORK / values)))
        known = taken(knowledge.raw, chosen)
        classes, means = class_means(known, knowledge.labels[chosen])
        means = means.reshape(len(means), values)
        size = values * _LEVELS
        counts, sums = np.zeros(size), np.zeros(size)
        progress.start("count values", len(chosen))
        done = 0
        for raw, received in zip(batches(known), batches(taken(knowledge.received, chosen)), strict=True):
            places = _places(received).ravel()
            counts += np.bincount(places, minlength=size)
            sums += np.bincount(places, weights=flat(raw).ravel(), minlength=size)
            done += len(raw)
            progress.advance(done)
        progress.finish()

        def reconstruct(samples: Samples, answered: Labels) -> Samples:
            entries = _places(samples)
            expected = means[class_index(classes, answered)]
            guesses = (sums[entries] + _PRIOR * expected) / (counts[entries] + _PRIOR)
            likely: Samples = guesses.clip(0, 1).astype(np.float32)
            return likely.reshape(len(samples), *shape)

        return reconstruct


def _places(received: Samples) -> npt.NDArray[np.int64]:
    """Which entry of the table each value is: `(N, D)`, its place and its level in one number."""
    levels = (flat(received) * (_LEVELS - 1)).round().astype(np.int64).clip(0, _LEVELS - 1)
    return levels + np.arange(levels.shape[1]) * _LEVELS
