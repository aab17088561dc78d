"""The attack that looks: what was received is taken for the sample.

An obfuscation network that keeps pictures as they are shows them to whoever opens a request; no pair, no
weights and no training are needed for that.
"""

from typing import Final, final

import numpy as np

from obfnet.attacks.attack import Reconstruction, ReconstructionAttack, need_raw_shape
from obfnet.attacks.held_out import energy_distance
from obfnet.attacks.knowledge import Labels, Observed, Samples
from obfnet.attacks.principal_components import evenly, flat
from obfnet.core.errors import AttackError
from obfnet.core.progress import Progress

_LOOKED_AT: Final = 200
# Brightness is changed only where that brings guesses so much nearer to public samples.
_CLOSER: Final = 0.5
# Below this standard deviation all is one value.
_NOTHING: Final = 1e-5
_BATCH: Final = 256


@final
class AsReceived(ReconstructionAttack):
    """Takes the received sample as it is, or its negative, or either with the brightness of public samples.

    As it is or negative is decided by energy distance to public samples. Brightness is mean and spread of all
    values together; it is changed only where that halves the distance, since other people's samples need not
    be as bright as public ones. Nothing else is fitted, so that samples may look like no public one.

    Args:
        effort: Not used: nothing is trained.

    Source: Székely and Rizzo 2013, *Energy statistics: a class of statistics based on distances* (the
        choice); the rest is looking.

    Does not guarantee: that a sample which looks otherwise is not in there: that is for the other attacks.
    """

    name = "as-received"
    threat_level = "T0"
    citation = "what a person does who opens a request"
    assumes = "the obfuscated sample still looks like the sample, or like its negative"

    def fit(self, knowledge: Observed, *, seed: int, progress: Progress) -> Reconstruction:
        """Looks at 200 samples of either side, evenly spaced; nothing is random.

        Raises:
            AttackError: nothing was recorded of others, or received samples have another shape than raw ones.
        """
        if knowledge.stream is None or not len(knowledge.stream):
            raise AttackError("requests of others", "none", "record what the backend receives")
        shape = tuple(knowledge.raw.shape[1:])
        need_raw_shape(shape, tuple(knowledge.stream.shape[1:]))
        public = flat(knowledge.raw[evenly(len(knowledge.raw), _LOOKED_AT)])
        seen = flat(knowledge.stream[evenly(len(knowledge.stream), _LOOKED_AT)])
        gain, offset = _change(seen, public)

        def reconstruct(samples: Samples, answered: Labels) -> Samples:
            guesses = np.empty((len(samples), int(np.prod(shape))), np.float32)
            for start in range(0, len(samples), _BATCH):
                part = slice(start, start + _BATCH)
                guesses[part] = _changed(flat(samples[part]), gain, offset)
            return guesses.reshape(len(samples), *shape)

        return reconstruct


def _change(seen: Samples, public: Samples) -> tuple[float, float]:
    """Gain and offset of all values."""
    spread, aim, mean = float(seen.std()), float(public.mean()), float(seen.mean())
    stretch = float(public.std()) / spread if spread > _NOTHING else 0.0

    def nearer(*changes: tuple[float, float]) -> tuple[float, tuple[float, float]]:
        return min((energy_distance(_changed(seen, *change), public), change) for change in changes)

    plain, as_it_is = nearer((1.0, 0.0), (-1.0, 1.0))
    fitted, changed = nearer((stretch, aim - stretch * mean), (-stretch, aim + stretch * mean))
    return changed if fitted < _CLOSER * plain else as_it_is


def _changed(samples: Samples, gain: float, offset: float) -> Samples:
    return np.asarray(samples * gain + offset, np.float32).clip(0, 1)
