"""Gradient-boosted trees on what was received: a recogniser that is neither linear nor smooth.

Trees find thresholds and combinations that a network needs many samples for; they are the usual winner on
few values in a table, which is what a code is.
"""

from typing import Final, final

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from obfnet.attacks.attack import AttributeAttack, Recognition
from obfnet.attacks.knowledge import Labels, Samples
from obfnet.attacks.known_attributes import KnownAttributes
from obfnet.attacks.principal_components import evenly, principal_components
from obfnet.core.progress import Progress
from obfnet.data.rows import AnyRows, batches, taken

_COMPONENTS: Final = 64
_KNOWN: Final = 20_000
_FEWEST: Final = 2_000
_ROUNDS: Final = 150
_FEWEST_ROUNDS: Final = 10
_LEAF: Final = 20


@final
class BoostedTrees(AttributeAttack):
    """Histogram gradient boosting on at most 64 principal components; one thread, the same on every run.

    Of very many samples an evenly spaced subset is learnt from.

    Source: Friedman 2001, *Greedy function approximation: a gradient boosting machine* (Annals of
        Statistics).
    """

    name = "boosted-trees"
    threat_level = "T2"
    citation = "Friedman 2001, Greedy function approximation: a gradient boosting machine"
    assumes = "samples of the device's own network whose attribute the attacker knows"

    def fit(
        self, received: AnyRows, values: Labels, *, count: int, seed: int, progress: Progress
    ) -> Recognition:
        """Grows the trees; the scores are probabilities, 0 for a value that nobody was seen with.

        Does not guarantee: that a better attacker would not recognise more.
        """
        known = KnownAttributes(received=received, values=values)
        known.require_below(count)
        some = evenly(len(values), max(_FEWEST, round(self.effort * _KNOWN)))
        rows, targets = taken(received, some), values[some]
        components = principal_components(rows, _COMPONENTS)
        seen = components.project_all(rows)
        classes, sizes = np.unique(targets, return_counts=True)
        if len(classes) == 1 or not seen.shape[1]:
            # Nothing to tell values apart by: how frequent each is remains.
            shares = np.zeros(count)
            shares[classes] = sizes / len(targets)
            return lambda samples: np.tile(shares, (len(samples), 1))
        model = HistGradientBoostingClassifier(
            max_iter=max(_FEWEST_ROUNDS, round(self.effort * _ROUNDS)),
            l2_regularization=1.0,
            min_samples_leaf=max(1, min(_LEAF, len(targets) // 20)),
            early_stopping=False,
            random_state=seed,
        )
        progress.start("fit boosted trees", 1)
        with threadpool_limits(1, user_api="openmp"):
            model.fit(seen, targets)
        progress.finish()

        def recognise(samples: Samples) -> npt.NDArray[np.float64]:
            scores = np.zeros((len(samples), count))
            with threadpool_limits(1, user_api="openmp"):
                parts = [model.predict_proba(components.project(part)) for part in batches(samples)]
            scores[:, classes] = np.concatenate(parts)
            return scores

        return recognise
