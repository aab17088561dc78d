"""Reads WAV files as a device meets them: any common sample format, rate and number of channels.

Files come from users, so that every length in them is checked before it is believed. Only the seconds
that were asked for are converted: a long recording costs no more than a short one. Compressed formats,
RF64 and other containers are left out; needs NumPy only.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import DataError, DtypeError, ShapeError, UsageError
from obfnet.data.resampling import HIGHEST_RATE_HZ

LONGEST_S: Final = 10.0
LOWEST_RATE_HZ: Final = 1_000
MAX_CHANNELS: Final = 8
UNKNOWN_LENGTH: Final = 0xFFFFFFFF

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_SUBFORMAT_TAIL: Final = bytes.fromhex("000000001000800000aa00389b71")
_NAMES: Final = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM", 49: "GSM 6.10", 80: "MPEG", 85: "MP3"}
_BITS: Final = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64)}
_CONVERT: Final = "save it as a 16-bit PCM WAV file"
_AGAIN: Final = "record or copy the file again"


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A mono sound.

    Args:
        samples: `(T,)` float32 in [-1, 1], T ≥ 1.
        rate_hz: Samples a second, ≥ 1.
    """

    samples: npt.NDArray[np.float32]
    rate_hz: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or self.samples.size == 0:
            raise ShapeError(
                "a sound of shape (T,), T at least 1", str(self.samples.shape), "pass one channel"
            )
        if self.samples.dtype != np.float32:
            raise DtypeError(
                "a sound of dtype float32", str(self.samples.dtype), "scale it to [-1, 1] float32"
            )
        if self.rate_hz < 1:
            raise UsageError("a rate of at least 1 Hz", str(self.rate_hz), "give the rate of the recording")


@dataclass(frozen=True, kw_only=True)
class _Format:
    code: int
    channels: int
    rate_hz: int
    bits: int

    @property
    def frame_bytes(self) -> int:
        return self.channels * self.bits // 8


def read_wav(data: bytes, *, name: str = "the WAV data", longest_s: float = LONGEST_S) -> Sound:
    """The sound of one WAV file, its channels averaged.

    Integers are divided by the size of their most negative value (16-bit by 32,768); floats outside
    [-1, 1] are clipped, as a loudspeaker would. A data chunk of length 0xFFFFFFFF, which programs write
    that record into a pipe, ends with the file; any other length that the file does not have is an error.

    Args:
        data: The file: RIFF/WAVE with 8 (unsigned), 16, 24 or 32-bit PCM or 32 or 64-bit IEEE float,
            1,000 to 384,000 Hz, 1 to 8 channels; extensible headers, odd and unknown chunks are fine.
        name: What to call it in a message.
        longest_s: Only so many seconds from the beginning are converted, > 0; the rest is not looked at.

    Returns:
        The sound at the file's own rate.

    Raises:
        DataError: no WAV file, a format that is not read, cut short, no samples, or NaN or infinity
            among the samples that are converted.
        UsageError: `longest_s` is not above 0.

    Source:
        Microsoft and IBM, Multimedia Programming Interface and Data Specifications 1.0 (RIFF WAVE).
    """
    if not longest_s > 0:
        raise UsageError("a longest duration above 0 s", f"{longest_s} s", "give some seconds")
    if not data:
        raise DataError(f"a WAV file in {name}", "an empty file", _AGAIN)
    if data[:4] != b"RIFF"[: len(data)] or data[8:12] != b"WAVE"[: max(0, len(data) - 8)]:
        raise DataError(f"a WAV file in {name}", "a file of another kind", _CONVERT)
    form: _Format | None = None
    for kind, begin, size_bytes in _chunks(data, name):
        if kind == b"fmt ":
            form = _read_format(data[begin : begin + size_bytes], name)
        elif kind == b"data":
            if form is None:
                raise DataError(f"the format of {name} before its samples", "none", _CONVERT)
            return _read_sound(data, begin, size_bytes, form, name, longest_s)
    raise DataError(f"samples in {name}", "a header that ends before them", _AGAIN)


def _chunks(data: bytes, name: str) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and size of each chunk; the size of the whole in the RIFF header says nothing new."""
    begin = 12
    while begin + 8 <= len(data):
        kind, size_bytes = data[begin : begin + 4], _number(data, begin + 4, 4)
        begin += 8
        there = len(data) - begin
        if kind == b"data" and size_bytes == UNKNOWN_LENGTH:
            size_bytes = there
        elif size_bytes > there:
            what = "samples" if kind == b"data" else "header"
            raise DataError(f"{size_bytes} bytes of {what} in {name}", f"{there} bytes, cut short", _AGAIN)
        yield kind, begin, size_bytes
        begin += size_bytes + size_bytes % 2


def _read_format(chunk: bytes, name: str) -> _Format:
    code = _number(chunk, 0, 2)
    if len(chunk) < (40 if code == _EXTENSIBLE else 16):
        raise DataError(f"a whole format header in {name}", f"{len(chunk)} bytes, cut short", _AGAIN)
    if code == _EXTENSIBLE:
        code = _number(chunk, 24, 2) if chunk[26:40] == _SUBFORMAT_TAIL else code
    if code not in _BITS:
        raise DataError(f"PCM or float samples in {name}", _NAMES.get(code, f"format 0x{code:04x}"), _CONVERT)
    form = _Format(
        code=code, channels=_number(chunk, 2, 2), rate_hz=_number(chunk, 4, 4), bits=_number(chunk, 14, 2)
    )
    if form.bits not in _BITS[code]:
        wanted = ", ".join(map(str, _BITS[code]))
        raise DataError(f"samples of {wanted} bits in {name}", f"{form.bits} bits", _CONVERT)
    if not 1 <= form.channels <= MAX_CHANNELS:
        raise DataError(f"1 to {MAX_CHANNELS} channels in {name}", str(form.channels), _CONVERT)
    if not LOWEST_RATE_HZ <= form.rate_hz <= HIGHEST_RATE_HZ:
        wanted = f"a rate of {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz in {name}"
        raise DataError(wanted, f"{form.rate_hz} Hz", _CONVERT)
    if _number(chunk, 12, 2) != form.frame_bytes:
        raise DataError(
            f"{form.frame_bytes} bytes a frame in {name}", f"{_number(chunk, 12, 2)} by its header", _CONVERT
        )
    return form


def _read_sound(
    data: bytes, begin: int, size_bytes: int, form: _Format, name: str, longest_s: float
) -> Sound:
    count, rest = divmod(size_bytes, form.frame_bytes)
    # A pipe may end within a frame; a length that was written on purpose may not.
    if rest and _number(data, begin - 4, 4) != UNKNOWN_LENGTH:
        raise DataError(f"whole frames of {form.frame_bytes} bytes in {name}", f"{size_bytes} bytes", _AGAIN)
    if count == 0:
        raise DataError(f"at least one sample in {name}", "none", _AGAIN)
    # Compared as a number first: an endless duration has no whole number of samples.
    count = math.ceil(longest_s * form.rate_hz) if longest_s * form.rate_hz < count else count
    raw = np.frombuffer(data, np.uint8, count * form.frame_bytes, begin)
    values = raw.reshape(count, form.channels, form.bits // 8)
    total = np.zeros(count)
    for channel in range(form.channels):
        total += _decode(np.ascontiguousarray(values[:, channel]), form, name)
    return Sound(samples=(total / form.channels).astype(np.float32), rate_hz=form.rate_hz)


def _decode(values: npt.NDArray[np.uint8], form: _Format, name: str) -> npt.NDArray[Any]:
    """`(T, bytes)` little-endian values of one channel as `(T,)` floats in [-1, 1]."""
    if form.code == _FLOAT:
        floats = values.view(f"<f{form.bits // 8}")[:, 0]
        if not bool(np.isfinite(floats).all()):
            raise DataError(f"finite samples in {name}", "NaN or infinity", _AGAIN)
        return np.asarray(np.clip(floats, -1, 1))
    if form.bits == 8:
        return np.asarray((values[:, 0] - 128.0) / 128)
    # The bytes go to the top of 32 bits, so that the sign is where the machine expects it.
    wide = np.zeros((len(values), 4), np.uint8)
    wide[:, 4 - form.bits // 8 :] = values
    return np.asarray(wide.view("<i4")[:, 0] / 2.0**31)


def _number(data: bytes, begin: int, size_bytes: int) -> int:
    return int.from_bytes(data[begin : begin + size_bytes], "little")
