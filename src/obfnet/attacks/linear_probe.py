"""Logistic regression on what was received: what an attribute recogniser with no depth at all finds.

If this one recognises the speaker, the obfuscation has left the attribute lying open; what only a network
would find is `mlp-probe`'s matter.
"""

import math
import warnings
from typing import Final, final

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from obfnet.attacks.attack import AttributeAttack, Recognition
from obfnet.attacks.held_out import own_parts
from obfnet.attacks.knowledge import Labels, Samples
from obfnet.attacks.known_attributes import KnownAttributes
from obfnet.attacks.principal_components import evenly, flat, principal_components
from obfnet.core.progress import Progress
from obfnet.data.rows import AnyRows, batches, taken

_MOST_VALUES: Final = 512
_COMPONENTS: Final = 256
_KNOWN: Final = 20_000
_FEWEST: Final = 2_000
_STEPS: Final = 200
_STRENGTHS: Final = (0.001, 0.01, 0.1, 1.0)
# A value that hardly ever changes must not be blown up into noise.
_FLOOR: Final = 0.01


@final
class LinearProbe(AttributeAttack):
    """Multinomial logistic regression on standardised values; of wide samples, on 256 principal components.

    The strength of its penalty is chosen on the attacker's own held-out part. Of very many samples an evenly
    spaced subset is learnt from.

    Source: Alain and Bengio 2016, *Understanding intermediate layers using linear classifier probes*.
    """

    name = "linear-probe"
    threat_level = "T2"
    citation = "Alain and Bengio 2016, Understanding intermediate layers using linear classifier probes"
    assumes = "samples of the device's own network whose attribute the attacker knows"

    def fit(
        self, received: AnyRows, values: Labels, *, count: int, seed: int, progress: Progress
    ) -> Recognition:
        """Fits the regression; the scores are probabilities.

        Does not guarantee: that a better attacker would not recognise more.
        """
        known = KnownAttributes(received=received, values=values)
        known.require_below(count)
        some = evenly(len(values), max(_FEWEST, round(self.effort * _KNOWN)))
        rows, targets = taken(received, some), values[some]
        wide = math.prod(received.shape[1:]) > _MOST_VALUES
        view = principal_components(rows, _COMPONENTS).project if wide else flat
        seen = np.concatenate([view(part) for part in batches(rows)])
        mean, spread = seen.mean(axis=0), seen.std(axis=0)
        # Components are as wide as they are; only what is nothing beside the widest is kept small.
        spread = spread + _FLOOR * (spread.max(initial=0.0) if wide else 1.0)
        if not spread.all():
            spread = np.ones_like(spread)
        seen = (seen - mean) / spread
        kept, held = own_parts(targets, values=1, seed=seed)
        progress.start("fit linear probe", len(_STRENGTHS) + 1)
        scores = []
        for number, strength in enumerate(_STRENGTHS):
            right = _fit(seen[kept], targets[kept], strength)(seen[held]).argmax(axis=1) == targets[held]
            scores.append(float(right.mean()))
            progress.advance(number + 1)
        probabilities = _fit(seen, targets, _STRENGTHS[int(np.argmax(scores))], count)
        progress.finish()

        def recognise(samples: Samples) -> npt.NDArray[np.float64]:
            return np.concatenate([probabilities((view(part) - mean) / spread) for part in batches(samples)])

        return recognise


def _fit(seen: Samples, targets: Labels, strength: float, count: int = 0) -> Recognition:
    """Probabilities `(N, count)` of a regression; a value that nobody was seen with has none."""
    count = max(count, int(targets.max()) + 1)
    classes = np.unique(targets)
    model = LogisticRegression(C=strength, max_iter=_STEPS) if len(classes) > 1 else None
    if model is not None and seen.shape[1]:
        with warnings.catch_warnings():
            # Not the last digit of the optimum is wanted, but a good recogniser in bounded time.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(seen, targets)

    def recognise(samples: Samples) -> npt.NDArray[np.float64]:
        scores = np.zeros((len(samples), count))
        if model is None or not samples.shape[1]:
            scores[:] = np.bincount(targets, minlength=count) / len(targets)
        else:
            scores[:, classes] = model.predict_proba(samples)
        return scores

    return recognise
