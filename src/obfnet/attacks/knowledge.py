"""What an attacker knows, as a type per threat level.

Each level is the one below and something more, and an attack is handed the type of its own level: one that
works at T0 has no pairs and no weights to look at, by construction. What an attack does with its knowledge
is `attack`'s contract; where the knowledge comes from is `audit`'s.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import AttackError
from obfnet.core.files import sha256_hex
from obfnet.core.spec import as_unit
from obfnet.data.rows import AnyRows, batches

Samples = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


class Obfuscator(Protocol):
    """An obfuscation network whose weights an attacker holds."""

    def obfuscate(self, raw: Samples) -> Samples:
        """What the backend would receive for `raw`, `(N, *raw_shape)` float32 in [0, 1]: `(N, *shape)`."""

    def differentiable(self) -> Any:
        """The same function as a `torch.nn.Module` with gradients.

        Where it rounds, takes a sign or looks up a table, the backward pass goes straight through (Athalye et
        al. 2018, *Obfuscated gradients give a false sense of security*, section 4.1).
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class Observed:
    """T0: the attacker has seen requests, and has public samples of the same kind.

    Args:
        raw: The attacker's own samples, `(N, *raw_shape)` float32 in [0, 1], or lazy rows.
        labels: Their labels, `(N,)` int64.
        stream: What the backend received of others, `(M, *received_shape)` in [0, 1]; it may hold the
            requests that the attack is scored on, as it does in life. None where there is none.
        answered: The labels that the backend answered to `stream`, `(M,)` int64.

    Raises:
        AttackError: lengths that differ, or no sample.
    """

    raw: AnyRows
    labels: Labels
    stream: AnyRows | None = None
    answered: Labels | None = None

    def __post_init__(self) -> None:
        if not len(self.raw) == len(self.labels) > 0:
            raise AttackError(
                "a label for each of at least one sample",
                f"{len(self.raw)} samples, {len(self.labels)} labels",
                "record them again",
            )

    def overlap(self, scored: AnyRows) -> npt.NDArray[np.bool_]:
        """Which of the known samples are among those that the attack is scored on: `(N,)`.

        Args:
            scored: Raw samples of the scoring set, `(M, *raw_shape)` in [0, 1].
        """
        wanted = set(_names(scored))
        return np.array([name in wanted for name in _names(self.raw)], bool)

    def forbid_overlap(self, scored: AnyRows) -> None:
        """Raises `AttackError` if one of the samples that the attack is scored on was known to it.

        Args:
            scored: Raw samples of the scoring set, `(M, *raw_shape)` in [0, 1].
        """
        if (count := int(self.overlap(scored).sum())) > 0:
            raise AttackError(
                "an attacker that never saw the samples it is scored on",
                f"{count} it knew",
                "split the data again",
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class PoolKnown(Observed):
    """T1: the attacker also has every obfuscation network of the pool, but not which one a device uses.

    Args:
        pool: The networks; empty where they are not known (recorded pairs).
    """

    pool: tuple[Obfuscator, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class WhiteBox(PoolKnown):
    """T2: the attacker knows which O the device uses, and so makes as many pairs as it has samples.

    Args:
        received: Obfuscated form of `raw`, row by row, `(N, *received_shape)` float32 in [0, 1], or lazy.
        network: The device's network; None where only pairs were recorded.

    Raises:
        AttackError: not as many obfuscated samples as raw ones.
    """

    received: AnyRows
    network: Obfuscator | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.received) != len(self.raw):
            raise AttackError(
                "an obfuscated sample for each raw one",
                f"{len(self.received)} for {len(self.raw)}",
                "record the pairs again",
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Insider(WhiteBox):
    """T3: the attacker also holds pairs of this very device, and sees a sample sent again and again.

    The device's pairs are `received` and `raw`: at this level they were recorded, not made.

    Args:
        repeats: The `n`-th sending (from 0) of the requests that the attack is scored on, in their order,
            `(M, *received_shape)`; None where samples were sent once.
    """

    repeats: Callable[[int], Samples] | None = None


KNOWLEDGE: Final[dict[str, type[Observed]]] = {
    "T0": Observed,
    "T1": PoolKnown,
    "T2": WhiteBox,
    "T3": Insider,
}
"""Threat level to what an attack of that level is handed."""


def _names(samples: AnyRows) -> Iterator[str]:
    # By value: the same sample may be stored in another precision.
    return (sha256_hex(sample.tobytes()) for some in batches(samples) for sample in as_unit(some))
