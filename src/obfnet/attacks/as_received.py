"""The attack that looks: what was received is taken for the sample.

An obfuscation network that keeps pictures as they are shows them to whoever opens a request; no pair, no
weights and no training are needed for that, and no other attack may say less.
"""

from typing import Final, final

import numpy as np
from scipy.spatial.distance import cdist

from obfnet.attacks.attack import Reconstruction, ReconstructionAttack, need_raw_shape
from obfnet.attacks.knowledge import Labels, Observed, Samples
from obfnet.attacks.principal_components import evenly, flat
from obfnet.core.errors import AttackError
from obfnet.core.progress import Progress

_LOOKED_AT: Final = 500
# Below this standard deviation all is one value.
_NOTHING: Final = 1e-5


@final
class AsReceived(ReconstructionAttack):
    """Takes the received sample as it is, or its negative, or either with the brightness of public samples.

    Brightness is mean and spread of all values together, so that two numbers are fitted and nothing else:
    other people's samples may look like no public one. Of the four the one is taken whose guesses are
    nearest to public samples in energy distance.

    Args:
        effort: Not used: nothing is trained.

    Source: Székely and Rizzo 2013, *Energy statistics: a class of statistics based on distances* (the
        choice); the rest is looking.
    """

    name = "as-received"
    threat_level = "T0"
    citation = "what a person does who opens a request"
    assumes = "the obfuscated sample still looks like the sample, or like its negative"

    def fit(self, knowledge: Observed, *, seed: int, progress: Progress) -> Reconstruction:
        """Looks at 500 samples of either side, evenly spaced; nothing is random.

        Raises:
            AttackError: nothing was recorded of others, or received samples have another shape than raw ones.
        """
        if knowledge.stream is None:
            raise AttackError("requests of others", "none", "record what the backend receives")
        shape = tuple(knowledge.raw.shape[1:])
        need_raw_shape(shape, tuple(knowledge.stream.shape[1:]))
        public = flat(knowledge.raw[evenly(len(knowledge.raw), _LOOKED_AT)])
        seen = flat(knowledge.stream[evenly(len(knowledge.stream), _LOOKED_AT)])
        stretch = float(public.std() / max(float(seen.std()), _NOTHING))
        aim, mean = float(public.mean()), float(seen.mean())
        changes = [(1.0, 0.0), (-1.0, 1.0), (stretch, aim - stretch * mean), (-stretch, aim + stretch * mean)]
        distances = [energy_distance(_changed(seen, *change), public) for change in changes]
        chosen = changes[int(np.argmin(distances))]

        def reconstruct(samples: Samples, answered: Labels) -> Samples:
            return _changed(flat(samples), *chosen).reshape(len(samples), *shape)

        return reconstruct


def energy_distance(some: Samples, others: Samples) -> float:
    """How far two sets of samples are apart in distribution: 0 for one distribution, up to sampling.

    Args:
        some: `(M, D)`.
        others: `(N, D)`.

    Source: Székely and Rizzo 2013, *Energy statistics: a class of statistics based on distances*, with
        unbiased means within each set, so that it may come out a little below 0.
    """
    within = [cdist(side, side).sum() / max(1, len(side) * (len(side) - 1)) for side in (some, others)]
    return float(2 * cdist(some, others).mean() - sum(within))


def _changed(samples: Samples, gain: float, offset: float) -> Samples:
    return np.asarray(samples * gain + offset, np.float32).clip(0, 1)
