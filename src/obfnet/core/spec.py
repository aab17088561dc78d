"""What a sample looks like on its way to the backend: shape, data type, range, layout.

One spec describes raw and obfuscated samples alike, since the backend must not be able to tell them
apart by anything but their values. Says nothing about where samples come from (`data`).
"""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import DtypeError, RangeError, ShapeError, UsageError
from obfnet.core.parsing import OPTIONAL

Samples = npt.NDArray[Any]
DTYPES: Final = ("float32", "uint8")
SOUND_LAYOUTS: Final = ("T", "CT")
"""Of a waveform, `(T,)` or `(1, T)`."""
MAX_SAMPLE_VALUES: Final = 16 * 1024 * 1024
_ROUNDING: Final = 1e-5
_LEVELS: Final = 255.0


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """Shape, data type, range and layout of one sample, without the batch axis.

    Args:
        shape: Positive sizes, e.g. `(1, 28, 28)`; at most 16 Mi values in all.
        dtype: `"float32"` or `"uint8"`.
        low: Smallest legal value.
        high: Largest legal value, above `low`.
        layout: Meaning of the axes, e.g. `"CHW"`, `"HWC"` or `"HW"`; of sounds `"T"` or `"CT"`.
        preprocessing: How a captured sample becomes this tensor, in words (`"uint8 / 255"`).
        mean: Of each channel, in [0, 1], where samples are normalised: a value is (pixel / 255 - mean) / std;
            empty where all channels go from `low` to `high`.
        std: Of each channel, > 0, likewise.
        rate_hz: Samples a second of a sound that is sent as a waveform; 0 for everything else.

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
    mean: tuple[float, ...] = field(default=(), metadata=OPTIONAL)
    std: tuple[float, ...] = field(default=(), metadata=OPTIONAL)
    rate_hz: int = field(default=0, metadata=OPTIONAL)

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
        if self.rate_hz and (self.rate_hz < 0 or len(self.unit_shape) != 3 or self.unit_shape[:2] != (1, 1)):
            raise UsageError(
                "a rate above 0, of a waveform",
                f"{self.rate_hz} Hz of {self.layout} {self.shape}",
                "leave out rate_hz",
            )
        if self.mean or self.std:
            self._check_normalisation()

    @property
    def values(self) -> int:
        """Number of values in one sample."""
        return math.prod(self.shape)

    @property
    def unit_shape(self) -> tuple[int, ...]:
        """Shape of one sample as networks see it: `(C, H, W)` where the layout says what that is."""
        return unit_shape(self.shape, self.layout)

    @property
    def is_unit(self) -> bool:
        """Whether samples on the wire are what networks see: float32 in [0, 1], channels first."""
        return self.unit_shape == self.shape and self.dtype == "float32" and self._plain

    @property
    def _plain(self) -> bool:
        return not self.mean and (self.low, self.high) == (0.0, 1.0)

    def channel_scales(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Scale and offset of each channel, or one for all: a value on the wire is unit * scale + offset."""
        if self.dtype == "uint8":
            return (_LEVELS,), (0.0,)
        if not self.mean:
            return (self.high - self.low,), (self.low,)
        pairs = zip(self.mean, self.std, strict=True)
        return tuple(1 / std for std in self.std), tuple(-mean / std for mean, std in pairs)

    def to_wire(self, unit: Samples) -> Samples:
        """Samples as networks see them, as they are sent.

        Args:
            unit: `(N, *unit_shape)` float32 in [0, 1].

        Returns:
            `(N, *shape)` of `dtype`, in [low, high]; for uint8 the nearest level.
        """
        scale, offset = self._axes()
        wire = (unit.astype(np.float32) * scale + offset).clip(np.float32(self.low), np.float32(self.high))
        wire = np.rint(wire) if self.dtype == "uint8" else wire
        if self.layout == "HWC" and len(self.shape) == 3:
            wire = np.moveaxis(wire, 1, 3)
        typed: Samples = np.ascontiguousarray(wire.reshape(-1, *self.shape), self.dtype)
        return typed

    def from_wire(self, samples: Samples) -> npt.NDArray[np.float32]:
        """Samples as they are sent, as networks see them: `(N, *unit_shape)` float32 in [0, 1]; a copy."""
        if self.layout == "HWC" and len(self.shape) == 3:
            samples = np.moveaxis(samples, 3, 1)
        scale, offset = self._axes()
        unit = (samples.reshape(-1, *self.unit_shape).astype(np.float32) - offset) / scale
        return np.ascontiguousarray(unit.clip(0, 1))

    def _axes(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        # One number a channel, with as many axes behind it as a sample has.
        behind = (1,) * (len(self.unit_shape) - 1)
        scale, offset = (np.asarray(one, np.float32) for one in self.channel_scales())
        return scale.reshape(-1, *behind), offset.reshape(-1, *behind)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_dict` reads it back. What has no mean or rate does not mention it."""
        document = {**asdict(self), "shape": list(self.shape)}
        normalised = {name: list(document.pop(name)) for name in ("mean", "std")}
        rate = {"rate_hz": document.pop("rate_hz")}
        return {**document, **(normalised if self.mean else {}), **(rate if self.rate_hz else {})}

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

    def _check_normalisation(self) -> None:
        sound = all(0 <= mean <= 1 for mean in self.mean) and all(0 < std < math.inf for std in self.std)
        if len(self.mean) != len(self.std) or len(self.mean) != self.unit_shape[0] or not sound:
            raise UsageError(
                f"a mean in [0, 1] and a std above 0 for each of {self.unit_shape[0]} channels",
                f"{self.mean}, {self.std}",
                "give as many as the samples have channels",
            )
        if self.dtype != "float32":
            raise UsageError("float32 for normalised samples", self.dtype, "leave out mean and std")
        scale, offset = self.channel_scales()
        low, high = min(offset), max(one + other for one, other in zip(scale, offset, strict=True))
        tolerance = _ROUNDING * (high - low)
        # A range that is not the normalisation's would let samples pass that none is, or refuse some.
        if abs(self.low - low) > tolerance or abs(self.high - high) > tolerance:
            raise UsageError(
                f"low and high of {low:g} and {high:g}, as mean and std say",
                f"{self.low:g}, {self.high:g}",
                "correct them",
            )


def unit_shape(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """Shape of one sample as networks see it: `(C, H, W)` where the layout says what that is.

    Example:
        >>> unit_shape((32, 32, 3), "HWC"), unit_shape((16000,), "T")
        ((3, 32, 32), (1, 1, 16000))
    """
    if layout == "HWC" and len(shape) == 3:
        height, width, channels = shape
        return channels, height, width
    if layout == "HW" and len(shape) == 2:
        return 1, *shape
    if layout in SOUND_LAYOUTS and len(shape) == len(layout):
        # A sound is as wide as it is long, and one row high.
        return 1, 1, shape[-1]
    return shape


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
