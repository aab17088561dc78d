"""The contracts of attacks: rebuild a sample, or recognise a private attribute.

An attack is a class in a registry: built with how much effort it may spend, fitted on what its threat level
knows, and then asked about samples as the backend received them. It never imports training, and it never
sees the raw form of a sample that it is asked about.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from obfnet.attacks.knowledge import Labels, Samples
from obfnet.core.errors import AttackError
from obfnet.core.progress import Progress

Reconstruction = Callable[[Samples, Labels], Samples]
"""A fitted attacker: `(N, *received_shape)` samples as received and the `(N,)` labels that the backend
answered, to `(N, *raw_shape)` guesses at the raw samples, float32 in [0, 1]."""

Recognition = Callable[[Samples], npt.NDArray[np.float64]]
"""A fitted recogniser: `(N, *received_shape)` samples as received to `(N, values)` scores, the highest being
the attribute's value that it names."""


# So many samples go through a standard training of a network attack, and never fewer passes than these.
_STANDARD_VISITS: Final = 240_000
_FEWEST_PASSES: Final = 4.0


def passes(count: int, effort: float) -> float:
    """Passes over the known samples of a network that is trained to attack: few samples are seen more often.

    Args:
        count: How many samples are known.
        effort: Share of a standard training.

    Example:
        >>> passes(60_000, 1.0), passes(60_000, 0.25), passes(2_400, 1.0)
        (4.0, 1.0, 100.0)
    """
    return effort * max(_FEWEST_PASSES, _STANDARD_VISITS / count)


def need_raw_shape(raw: tuple[int, ...], received: tuple[int, ...]) -> None:
    """For attacks that go value by value: raises unless a received sample has the raw one's shape.

    Args:
        raw: Shape of a raw sample, without the batch's axis.
        received: The same of a received one.

    Raises:
        AttackError: they differ.
    """
    if raw != received:
        raise AttackError(
            f"received samples of the raw shape {raw}", str(received), "use an attack that learns from pairs"
        )


class Attack(ABC):
    """What every attack says of itself.

    Args:
        effort: Share of a standard training that it may spend, > 0; 1 is standard.

    Raises:
        AttackError: no effort.
    """

    name: ClassVar[str]
    """As in the registry and in result files."""

    threat_level: ClassVar[str]
    """The lowest level whose knowledge suffices: `T0` ... `T3`."""

    citation: ClassVar[str]
    """Where the attack was published."""

    assumes: ClassVar[str]
    """What must hold for it to work, in a sentence; a low figure may only mean that it does not."""

    def __init__(self, *, effort: float = 1.0) -> None:
        if effort <= 0:
            raise AttackError("an effort above 0", str(effort), "raise it")
        self.effort = effort


class ReconstructionAttack(Attack):
    """One way of guessing raw samples from what the backend received."""

    @abstractmethod
    def fit(self, knowledge: Any, *, seed: int, progress: Progress) -> Reconstruction:
        """Learns to undo the obfuscation from what the attacker knows.

        Args:
            knowledge: The type of the attack's threat level in `KNOWLEDGE`; never the raw form of the samples
                that the attack is scored on. A subclass says which.
            seed: Of everything random.
            progress: Told of every step.

        Raises:
            AttackError: the knowledge does not suffice.
        """


class AttributeAttack(Attack):
    """One way of recognising a private attribute in what the backend received."""

    @abstractmethod
    def fit(self, received: Any, values: Labels, *, count: int, seed: int, progress: Progress) -> Recognition:
        """Learns to recognise the attribute.

        Args:
            received: Samples as the backend would receive them, `(N, ...)` float32 in [0, 1], or lazy rows.
            values: The attribute's value of each, `(N,)` int64 in 0 ... count-1.
            count: How many values there are.
            seed: Of everything random.
            progress: Told of every step.

        Raises:
            AttackError: too few samples are known.
        """
