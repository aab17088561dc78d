"""Changes the sampling rate of a sound, in NumPy, so that a device needs no audio library.

The whole clip goes through one Fourier transform and one linear-phase low-pass filter. The filter is
fitted to what the soxr library's "HQ" setting was measured to do from 8,000 to 22,050 Hz, because the
features that networks are trained on come through that one. Streaming is left out: a clip is short.
"""

from functools import lru_cache
from math import gcd
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import RangeError, ShapeError

HIGHEST_RATE_HZ: Final = 384_000
SPEECH_HZ: Final = 8_000
FEATURE_HZ: Final = 22_050
# How far the filter reaches to either side, in samples at the lower of the two rates.
EDGE_SAMPLES: Final = 103

# Fitted to soxr's response from 8,000 to 22,050 Hz: 0.0003 dB off at most, down to -80 dB.
_TAPS: Final = 204
_HALF_WIDTH: Final = 204.52
_BETA: Final = 13.7128
_CUTOFF: Final = 0.9568735
_DROOP: Final = 0.00355
_DROOP_POWER: Final = 14.16
# And to what soxr does to the first samples: the filter of its second stage, at 16,000 Hz.
_STAGE_HALF_WIDTH: Final = 7.4967
_STAGE_BETA: Final = 14.0475
_STAGE_CUTOFF: Final = 0.90893
_START_SAMPLES: Final = 11

Matrix = npt.NDArray[np.float64]


def resample(samples: npt.NDArray[Any], from_hz: int, to_hz: int) -> npt.NDArray[np.float32]:
    """A sound at another rate, as long as before; zero is assumed before and after it.

    Frequencies up to 0.91 of the lower rate's half pass (to 0.01 dB), those above that half are gone
    (below -120 dB).

    Args:
        samples: `(T,)` floats, T ≥ 1, finite.
        from_hz: Their rate, 1 to 384,000.
        to_hz: The wanted rate, 1 to 384,000.

    Returns:
        `(ceil(T * to_hz / from_hz),)` float32. Where the true length is no whole number and its nearest
        one is below, the last value is 0, as librosa pads it.

    Raises:
        ShapeError: no vector, or no samples.
        RangeError: a rate out of range.

    Source:
        Kaiser-windowed sinc: Oppenheim and Schafer, Discrete-Time Signal Processing, chapter 7; its
        numbers are a least-squares fit to the measured impulse response of soxr 0.1.3.

    Example:
        >>> resample(np.zeros(8), 8000, 22050).shape
        (23,)
    """
    if samples.ndim != 1 or samples.size == 0:
        raise ShapeError("a sound of shape (T,), T at least 1", str(samples.shape), "pass one mono sound")
    for rate_hz in (from_hz, to_hz):
        if not 1 <= rate_hz <= HIGHEST_RATE_HZ:
            raise RangeError(
                f"a rate of 1 to {HIGHEST_RATE_HZ} Hz", f"{rate_hz} Hz", "check the sound's header"
            )
    if from_hz == to_hz:
        return samples.astype(np.float32)
    common = gcd(from_hz, to_hz)
    down, up = from_hz // common, to_hz // common
    # The transform wraps around, so zeros follow the sound for as long as the filter rings.
    edge = max(EDGE_SAMPLES, -(-EDGE_SAMPLES * down // up))
    blocks = _smooth_at_least(-(-(samples.size + edge) // down))
    spectrum = np.fft.rfft(samples, blocks * down)
    response = _low_pass(blocks * min(down, up))
    wide = np.zeros(blocks * up // 2 + 1, np.complex128)
    kept = min(len(spectrum), len(wide), len(response))
    wide[:kept] = spectrum[:kept] * response[:kept]
    sound = np.fft.irfft(wide, blocks * up) * (up / down)
    length, rounded = -(-samples.size * up // down), (2 * samples.size * up + down) // (2 * down)
    result = np.zeros(length, np.float32)
    result[:rounded] = sound[:rounded]
    return result


def resample_as_trained(samples: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """A sound of 8,000 Hz at 22,050 Hz, as `librosa.resample` (soxr "HQ") gives it, to 2e-5 of full scale.

    Differs from `resample` in the first half millisecond only: soxr filters twice, and its second filter
    begins with the sound, so that it misses how the first one rings before it. A clip that is cut out of
    speech begins loud, and that shows in the features.

    Args:
        samples: `(T,)` floats at 8,000 Hz, T ≥ 1, finite.

    Returns:
        `(ceil(T * 441 / 160),)` float32 at 22,050 Hz.

    Raises:
        ShapeError: no vector, or no samples.
    """
    sound = resample(samples, SPEECH_HZ, FEATURE_HZ)
    missed = _missed_at_start()
    heard = min(samples.size, missed.shape[1])
    start = sound[:_START_SAMPLES]
    start -= (missed[: len(start), :heard] @ samples[:heard]).astype(np.float32)
    return sound


def reach(count: int, from_hz: int, to_hz: int) -> int:
    """How many samples at `from_hz` the first `count` samples at `to_hz` depend on."""
    edge = -(-EDGE_SAMPLES * from_hz // min(from_hz, to_hz))
    return -(-count * from_hz // to_hz) + edge + 1


@lru_cache(maxsize=1)
def _missed_at_start() -> Matrix:
    """`(11, 102)`: what each of the first samples in adds to the first ones out, but not in soxr."""
    before = np.arange(1, int(_STAGE_HALF_WIDTH) + 1)
    heard = np.arange(EDGE_SAMPLES - 1)
    ringing = 2 * _filter(-before[:, np.newaxis] - 2 * heard, _CUTOFF / 2, _HALF_WIDTH, _BETA)
    out = np.arange(_START_SAMPLES)[:, np.newaxis] * 2 * SPEECH_HZ / FEATURE_HZ
    return _filter(out + before, _STAGE_CUTOFF, _STAGE_HALF_WIDTH, _STAGE_BETA) @ ringing


@lru_cache(maxsize=16)
def _low_pass(size: int) -> Matrix:
    """The filter's response at the `size // 2 + 1` bins of `size` samples at the lower rate.

    The taps lie at twice the lower rate, on both sides of zero, so that the response is real.
    """
    taps = np.arange(-_TAPS, _TAPS + 1)
    weights = _filter(taps, _CUTOFF / 2, _HALF_WIDTH, _BETA)
    # In a ring shorter than the filter the taps fold over, into the zeros that follow the sound.
    ring = np.bincount(taps % (2 * size), weights, 2 * size)
    response = np.fft.rfft(ring).real[: size // 2 + 1]
    return np.asarray(response * (1 - _DROOP * (np.arange(len(response)) * 2 / size) ** _DROOP_POWER))


def _filter(at: npt.NDArray[Any], cutoff: float, half_width: float, beta: float) -> Matrix:
    """A Kaiser-windowed sinc that passes `cutoff` of the Nyquist frequency, at times in samples."""
    inside = np.maximum(0, 1 - (at / half_width) ** 2)
    window = np.where(inside > 0, np.i0(beta * np.sqrt(inside)) / np.i0(beta), 0)
    return np.asarray(window * cutoff * np.sinc(cutoff * at))


def _smooth_at_least(count: int) -> int:
    """The smallest number from `count` with no prime factor above 5, which a transform is fast for."""
    while True:
        rest = count
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return count
        count += 1
