"""Sounds as waveforms of one rate and length, for networks that take these and no features.

Clips of any rate are resampled; shorter ones are followed by silence, of longer ones the beginning is kept.
As networks see it a waveform is one row, `(1, 1, T)` in [0, 1], in which silence is 1/2.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import RangeError, UsageError
from obfnet.core.spec import SOUND_LAYOUTS, InputSpec
from obfnet.data.resampling import HIGHEST_RATE_HZ, reach, resample
from obfnet.data.wav import LONGEST_S, LOWEST_RATE_HZ, Sound

SILENCE: Final = 0.5
"""What a waveform of zeros is in [0, 1]."""

WAVEFORM_CHANGES: Final = ("delay", "loudness")
"""Changes that training samples go through (`training.augmentation`)."""


def waveform_input(count: int, rate_hz: int) -> InputSpec:
    """What a waveform is as networks see it: `(1, 1, T)` float32 in [0, 1].

    Args:
        count: Samples T of a clip.
        rate_hz: Samples a second, 1,000 to 384,000.

    Raises:
        UsageError: a rate out of range, or clips of more than 10 s.

    Example:
        >>> waveform_input(16000, 16000).shape
        (1, 1, 16000)
    """
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        raise UsageError(
            f"a rate of {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz", f"{rate_hz} Hz", "change --rate"
        )
    if count > LONGEST_S * rate_hz:
        raise UsageError(
            f"clips of at most {LONGEST_S:g} s",
            f"{count} samples at {rate_hz} Hz",
            "change --rate or --shape",
        )
    return InputSpec(
        shape=(1, 1, count),
        dtype="float32",
        low=0.0,
        high=1.0,
        layout="CHW",
        preprocessing=f"{described(count, rate_hz)}; (sound + 1) / 2",
        rate_hz=rate_hz,
    )


def described(count: int, rate_hz: int) -> str:
    """How a recording becomes a waveform in [-1, 1], in words."""
    return f"mono at {rate_hz} Hz, followed by zeros or cut to {count} samples"


def is_waveform(spec: InputSpec) -> bool:
    """Whether samples of this spec are waveforms, as networks see them or as they are sent."""
    return spec.rate_hz > 0


def waveform(sound: Sound, spec: InputSpec) -> npt.NDArray[np.float32]:
    """A sound as networks see it.

    Args:
        sound: Any rate; of what follows the clip only what the filter reaches is looked at.
        spec: Of waveforms (`is_waveform`): as networks see them, or as they are sent.

    Returns:
        `(1, 1, T)` float32 in [0, 1].

    Raises:
        RangeError: samples that are NaN or infinite.
    """
    count, rate_hz = spec.unit_shape[-1], spec.rate_hz
    seen = sound.samples[: reach(count, sound.rate_hz, rate_hz)]
    if not bool(np.isfinite(seen).all()):
        raise RangeError("finite samples", "NaN or infinity", "record the sound again")
    found = resample(seen, sound.rate_hz, rate_hz)[:count]
    padded = np.pad(found, (0, count - len(found)))
    return np.asarray((padded.clip(-1, 1) + 1) / 2, np.float32).reshape(1, 1, count)


def sound_of(unit: npt.NDArray[np.float32], rate_hz: int) -> Sound:
    """The sound of a waveform as networks see it; inverse of `waveform` for clips of its length.

    Args:
        unit: `(1, 1, T)` float32 in [0, 1].
        rate_hz: Samples a second.
    """
    return Sound(samples=np.asarray(unit.reshape(-1) * 2 - 1, np.float32), rate_hz=rate_hz)


def layout_of_sounds(shape: tuple[int, ...]) -> str | None:
    """`T` for `(T,)`, `CT` for `(1, T)`; None for what is no waveform.

    Example:
        >>> layout_of_sounds((1, 16000)), layout_of_sounds((1, 20, 45))
        ('CT', None)
    """
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[0] != 1):
        return None
    return SOUND_LAYOUTS[len(shape) - 1]
