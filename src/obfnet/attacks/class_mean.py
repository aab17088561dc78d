"""The floor: what the label alone gives away, without looking at the obfuscated sample."""

from typing import final

import numpy as np
import numpy.typing as npt

from obfnet.attacks.attack import Reconstruction, ReconstructionAttack
from obfnet.attacks.knowledge import Observed, Samples
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.data.rows import batches


@final
class ClassMean(ReconstructionAttack):
    """Answers every sample with the mean of the attacker's own samples of the same label.

    Whoever serves the label knows the label, so nothing that keeps the label can leak less than this.

    Source: the usual baseline of reconstruction attacks; no single publication.
    """

    name = "class-mean"
    threat_level = "T0"
    citation = "mean of the attacker's samples of the answered label"
    assumes = "the backend knows the label, since it answers it"

    def fit(self, knowledge: Observed, *, seed: int, progress: Progress) -> Reconstruction:
        """Takes the means; a label that the attacker has no sample of gets the mean of all."""
        # Summed up batch by batch: the samples need not fit into memory.
        classes, index = np.unique(knowledge.labels, return_inverse=True)
        sums = np.zeros((len(classes), *knowledge.raw.shape[1:]))
        done = 0
        for raw in batches(knowledge.raw):
            np.add.at(sums, index[done : done + len(raw)], as_unit(raw))
            done += len(raw)
        overall = sums.sum(axis=0) / done
        counts = np.bincount(index)
        means = {int(label): sums[row] / counts[row] for row, label in enumerate(classes)}

        def reconstruct(received: Samples, labels: npt.NDArray[np.int64]) -> Samples:
            return np.stack([means.get(int(label), overall) for label in labels]).astype(np.float32)

        return reconstruct
