"""What a sample looks like on its way to the backend: shape, data type, range, layout.

One spec describes raw and obfuscated samples alike, since the backend must not be able to tell them
apart by anything but their values. Says nothing about where samples come from (`data`).
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import DtypeError, RangeError, ShapeError, UsageError

Samples = npt.NDArray[Any]
DTYPES: Final = ("float32", "uint8")
MAX_SAMPLE_VALUES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """Shape, data type, range and layout of one sample, without the batch axis.

    Args:
        shape: Positive sizes, e.g. `(1, 28, 28)`; at most 16 Mi values in all.
        dtype: `"float32"` or `"uint8"`.
        low: Smallest legal value.
        high: Largest legal value, above `low`.
        layout: Meaning of the axes, e.g. `"CHW"`.
        preprocessing: How a captured sample becomes this tensor, in words (`"uint8 / 255"`).

    Example:
        >>> spec = InputSpec(shape=(1, 28, 28), dtype="float32", low=0.0, high=1.0, layout="CHW",
        ...                  preprocessing="uint8 / 255")
        >>> spec.values
        784
    """

    shape: tuple[int, ...]
    dtype: str
    low: float
    high: float
    layout: str
    preprocessing: str

    def __post_init__(self) -> None:
        if not self.shape or any(size < 1 for size in self.shape):
            raise UsageError(
                "positive sizes in `shape`", str(self.shape), "give every axis a size of at least 1"
            )
        if math.prod(self.shape) > MAX_SAMPLE_VALUES:
            raise UsageError(
                f"at most {MAX_SAMPLE_VALUES} values a sample", str(self.shape), "use smaller samples"
            )
        if self.dtype not in DTYPES:
            raise UsageError(
                f"dtype one of {', '.join(DTYPES)}", repr(self.dtype), "convert the samples first"
            )
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise UsageError(
                "finite low < high", f"{self.low}, {self.high}", "give the true range of the samples"
            )

    @property
    def values(self) -> int:
        """Number of values in one sample."""
        return math.prod(self.shape)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_dict` reads it back."""
        return {**asdict(self), "shape": list(self.shape)}

    def check(self, samples: Samples, *, name: str = "raw") -> None:
        """Raises unless `samples` is a batch of this spec.

        Args:
            samples: `(N, *shape)` of `dtype`, N ≥ 1, finite, in [low, high].
            name: What to call the samples in a message (`raw`, `obfuscated`).

        Raises:
            ShapeError, DtypeError, RangeError: what differs; never with values in the message.
        """
        wanted = ", ".join(["N", *map(str, self.shape)])
        if samples.ndim != len(self.shape) + 1 or samples.shape[1:] != self.shape:
            raise ShapeError(
                f"`{name}` of shape ({wanted})", str(samples.shape), "reshape it or add the batch axis"
            )
        if len(samples) == 0:
            raise ShapeError(f"at least one sample in `{name}`", "none", "pass a batch of one or more")
        if samples.dtype != np.dtype(self.dtype):
            raise DtypeError(
                f"`{name}` of dtype {self.dtype}", str(samples.dtype), f"apply: {self.preprocessing}"
            )
        if samples.dtype.kind == "f" and not bool(np.isfinite(samples).all()):
            raise RangeError(f"finite values in `{name}`", "NaN or infinity", "clean the samples first")
        if bool((samples < self.low).any() or (samples > self.high).any()):
            raise RangeError(
                f"`{name}` in [{self.low:g}, {self.high:g}]", "values outside", f"apply: {self.preprocessing}"
            )


def as_unit(samples: Samples) -> npt.NDArray[np.float32]:
    """Samples as networks and attackers see them: float32 in [0, 1], whatever the wire's dtype; a copy.

    Args:
        samples: `(N, ...)`, float32 in [0, 1] or uint8.

    Example:
        >>> as_unit(np.array([[0, 255]], dtype=np.uint8)).tolist()
        [[0.0, 1.0]]
    """
    if samples.dtype == np.uint8:
        return samples.astype(np.float32) / np.float32(255)
    return samples.astype(np.float32)
