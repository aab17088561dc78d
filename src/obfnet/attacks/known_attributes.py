"""What an attacker who wants a private attribute knows: samples as received, of people it can name."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import AttackError
from obfnet.data.rows import AnyRows

_FEWEST: Final = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownAttributes:
    """T2: samples as the backend would receive them, of people whom the attacker can name.

    Args:
        received: `(N, ...)` float32 in [0, 1] or uint8.
        values: `(N,)` int64, the attribute's value of each, ≥ 0.

    Raises:
        AttackError: fewer than 20 samples, another number of values, or a value below 0.
    """

    received: AnyRows
    values: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.received) != len(self.values) or len(self.values) < _FEWEST:
            raise AttackError(
                f"a value for each of at least {_FEWEST} samples",
                f"{len(self.received)} samples, {len(self.values)} values",
                "give more samples",
            )
        if self.values.min() < 0:
            raise AttackError("values from 0", "samples without a value", "leave them out")

    def require_below(self, count: int) -> None:
        """Raises `AttackError` if a value is not below `count`."""
        if (most := int(self.values.max())) >= count:
            raise AttackError(f"values below {count}", f"up to {most}", "count the values again")
