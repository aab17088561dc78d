"""What an attacker knows, as a type per threat level, and the contract of an attack.

Handing knowledge over as an object keeps an attack from touching what its level does not have, and
keeps its training samples apart from those it is scored on.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import AttackError
from obfnet.core.files import sha256_hex
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.data.rows import AnyRows, batches

Samples = npt.NDArray[np.float32]
Reconstruction = Callable[[Samples, npt.NDArray[np.int64]], Samples]
"""A trained attacker: `(N, C, H, W)` samples as received and the `(N,)` labels that the backend
answered, to `(N, C, H, W)` guesses at the raw samples, float32 in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class WhiteBox:
    """T2: the attacker knows which O the device uses, and so makes as many pairs as it has samples.

    Args:
        received: Obfuscated form of the attacker's own samples, `(N, C, H, W)` float32 in [0, 1], or rows
            that are read when needed.
        raw: Those samples, same shape and range.
        labels: Their labels, `(N,)` int64.
    """

    received: AnyRows
    raw: AnyRows
    labels: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if not (self.received.shape == self.raw.shape and len(self.raw) == len(self.labels) > 0):
            raise AttackError(
                "as many labels as pairs, at least one, both samples of a pair of one shape",
                f"{self.received.shape}, {self.raw.shape}, {self.labels.shape}",
                "record the pairs again",
            )

    def overlap(self, scored: AnyRows) -> npt.NDArray[np.bool_]:
        """Which of the known samples are among those that the attack is scored on: `(N,)`.

        Args:
            scored: Raw samples of the scoring set, `(M, C, H, W)` in [0, 1].
        """
        wanted = set(_names(scored))
        return np.array([name in wanted for name in _names(self.raw)], bool)

    def forbid_overlap(self, scored: AnyRows) -> None:
        """Raises `AttackError` if one of the samples that the attack is scored on was known to it.

        Args:
            scored: Raw samples of the scoring set, `(M, C, H, W)` in [0, 1].
        """
        if (count := int(self.overlap(scored).sum())) > 0:
            raise AttackError(
                "an attacker that never saw the samples it is scored on",
                f"{count} it knew",
                "split the data again",
            )


def _names(samples: AnyRows) -> Iterator[str]:
    # By value: the same sample may be stored in another precision.
    return (sha256_hex(sample.tobytes()) for some in batches(samples) for sample in as_unit(some))


class ReconstructionAttack(ABC):
    """One way of guessing raw samples from what the backend received."""

    name: str
    """As in the registry and in result files."""

    threat_level: str
    """The lowest level whose knowledge suffices: `T0` ... `T3`."""

    citation: str
    """Where the attack was published."""

    @abstractmethod
    def fit(self, knowledge: WhiteBox, *, seed: int, progress: Progress, **options: Any) -> Reconstruction:
        """Learns to undo the obfuscation from what the attacker knows.

        Args:
            knowledge: Pairs and labels; never those that the attack is scored on.
            seed: Of everything random.
            progress: Told of every step.
            options: The attack's own settings.

        Raises:
            AttackError: the knowledge does not suffice or an option is unknown.
        """
