"""WAV files of every common kind are read as libsndfile reads them, and nothing broken is."""

import io
import tracemalloc
import wave
from contextlib import suppress

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from obfnet.core.errors import DataError, DtypeError, ShapeError, UsageError
from obfnet.data.wav import Sound, read_wav
from tests.unit.data.sounds import chunk, voiced, wav_bytes

GOOD = wav_bytes(np.arange(-6, 6, dtype="<i2").tobytes())
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")


@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize(("channels", "rate_hz"), [(1, 8000), (2, 44100), (3, 96000), (8, 384000)])
def test_every_format_is_what_libsndfile_reads(
    container: str, subtype: str, channels: int, rate_hz: int
) -> None:
    # An odd number of frames: with 8 bits and one channel the data chunk is odd too.
    frames = np.random.default_rng(3).uniform(-1, 1, (101, channels))
    file = io.BytesIO()
    soundfile.write(file, frames, rate_hz, subtype=subtype, format=container)
    sound = read_wav(file.getvalue())
    file.seek(0)
    expected, expected_rate = soundfile.read(file, always_2d=True)
    assert sound.rate_hz == expected_rate == rate_hz
    assert sound.samples.dtype == np.float32
    np.testing.assert_allclose(sound.samples, expected.mean(axis=1), rtol=0, atol=1e-7)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_files_of_the_standard_library_are_read(width: int) -> None:
    payload = np.random.default_rng(width).bytes(width * 2 * 37)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(2)
        writer.setsampwidth(width)
        writer.setframerate(22050)
        writer.writeframes(payload)
    parts = [payload[at : at + width] for at in range(0, len(payload), width)]
    values = [part[0] - 128 if width == 1 else int.from_bytes(part, "little", signed=True) for part in parts]
    expected = np.array(values).reshape(-1, 2).mean(axis=1) / 2.0 ** (8 * width - 1)
    np.testing.assert_allclose(read_wav(file.getvalue()).samples, expected, rtol=0, atol=1e-7)


def test_sixteen_bits_keep_their_exact_value() -> None:
    assert (read_wav(GOOD).samples * 32768).tolist() == list(range(-6, 6))


def test_silence_and_a_single_sample_are_sounds() -> None:
    assert not read_wav(wav_bytes(bytes(200))).samples.any()
    assert read_wav(wav_bytes(b"\0\x40")).samples.tolist() == [0.5]


def test_float_values_outside_are_clipped() -> None:
    payload = np.array([-1e300, -1.5, 0.25, 2.0]).tobytes()
    assert read_wav(wav_bytes(payload, code=3, bits=64)).samples.tolist() == [-1, -1, 0.25, 1]


def test_other_chunks_are_passed_over_even_odd_ones() -> None:
    extra = chunk(b"LIST", b"odd") + chunk(b"bext", bytes(300))
    file = wav_bytes(b"\0\x40\0\x20", before_data=extra) + chunk(b"id3 ", b"behind")
    assert read_wav(file).samples.tolist() == [0.5, 0.25]


def test_a_recording_into_a_pipe_ends_with_the_file() -> None:
    piped = wav_bytes(b"\0\x40\0\x20\0", data_size=0xFFFFFFFF)
    assert read_wav(piped).samples.tolist() == [0.5, 0.25]


def test_only_the_seconds_asked_for_are_converted() -> None:
    payload = np.arange(16000, dtype="<i2").tobytes()
    assert len(read_wav(wav_bytes(payload), longest_s=1.5).samples) == 12000
    assert len(read_wav(wav_bytes(payload), longest_s=1e-9).samples) == 1
    assert len(read_wav(wav_bytes(payload), longest_s=float("inf")).samples) == 16000
    # What is not converted is not judged either.
    floats = np.r_[np.zeros(8000), np.nan].astype("<f4").tobytes()
    assert len(read_wav(wav_bytes(floats, code=3, bits=32), longest_s=1).samples) == 8000


def test_ten_minutes_cost_no_more_than_a_second() -> None:
    long = wav_bytes(bytes(2 * 8000 * 600))
    tracemalloc.start()
    sound = read_wav(long, longest_s=1)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(sound.samples) == 8000
    assert peak_bytes < 1_000_000 < len(long)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "an empty file"),
        (b"RI", "a header that ends before"),
        (GOOD[:20], "header in .*cut short"),
        (GOOD[:40], "a header that ends before"),
        (b"RIFF\x04\0\0\0WAVE", "a header that ends before"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "another kind"),
        (b"RIFF" + bytes(4) + b"AVI " + bytes(40), "another kind"),
        (b"text that somebody called .wav", "another kind"),
        (GOOD[:-1], "24 bytes of samples .*, got 23 bytes"),
        (wav_bytes(bytes(8), data_size=0x7FFFFFFF), "2147483647 bytes of samples"),
        (wav_bytes(bytes(3)), "whole frames of 2 bytes"),
        (wav_bytes(b""), "at least one sample"),
        (wav_bytes(b"", data_size=0xFFFFFFFF), "at least one sample"),
        (GOOD[:12] + GOOD[36:], "before its samples"),
        (GOOD[:12] + chunk(b"fmt ", GOOD[20:30]) + GOOD[36:], "a whole format header"),
        (wav_bytes(bytes(4), code=0xFFFE, more_format=bytes(8)), "a whole format header"),
        (wav_bytes(bytes(4), code=0xFFFE, more_format=bytes(24)), "format 0xfffe"),
        (wav_bytes(bytes(4), code=0xFFFE, more_format=bytes(8) + b"\7\0" + GUID_TAIL), "mu-law"),
        (wav_bytes(bytes(4), code=7, bits=8), "mu-law"),
        (wav_bytes(bytes(4), code=6, bits=8), "A-law"),
        (wav_bytes(bytes(4), code=0x55), "MP3"),
        (wav_bytes(bytes(4), code=0x1234), "format 0x1234"),
        (wav_bytes(bytes(4), channels=0), "1 to 8 channels"),
        (wav_bytes(bytes(18), channels=9), "1 to 8 channels"),
        (wav_bytes(bytes(4), rate_hz=0), "got 0 Hz"),
        (wav_bytes(bytes(4), rate_hz=999), "got 999 Hz"),
        (wav_bytes(bytes(4), rate_hz=400_000), "got 400000 Hz"),
        (wav_bytes(bytes(4), bits=12), "got 12 bits"),
        (wav_bytes(bytes(4), code=3, bits=16), "got 16 bits"),
        (wav_bytes(bytes(4), frame_bytes=4), "2 bytes a frame"),
        (wav_bytes(np.array([0, np.nan], "<f4").tobytes(), code=3, bits=32), "NaN or infinity"),
        (wav_bytes(np.array([0, -np.inf]).tobytes(), code=3, bits=64), "NaN or infinity"),
    ],
)
def test_bad_files_are_refused_by_name(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_wav(data, name="seven.wav")
    assert "seven.wav" in str(caught.value)


def test_a_mu_law_file_of_libsndfile_is_refused() -> None:
    file = io.BytesIO()
    soundfile.write(file, voiced(0.1, 8000), 8000, subtype="ULAW", format="WAV")
    with pytest.raises(DataError, match="mu-law"):
        read_wav(file.getvalue())


@given(cut=st.integers(0, len(GOOD)), place=st.integers(0, len(GOOD) - 1), value=st.integers(0, 255))
def test_any_damage_gives_a_sound_or_a_data_error(cut: int, place: int, value: int) -> None:
    damaged = bytearray(GOOD)
    damaged[place] = value
    with suppress(DataError):
        samples = read_wav(bytes(damaged[:cut])).samples
        assert samples.size > 0
        assert np.abs(samples).max() <= 1


@pytest.mark.parametrize("longest_s", [0, -1, float("nan")])
def test_a_duration_must_be_one(longest_s: float) -> None:
    with pytest.raises(UsageError, match="above 0 s"):
        read_wav(GOOD, longest_s=longest_s)


def test_a_sound_is_one_channel_of_float32() -> None:
    with pytest.raises(ShapeError, match="shape"):
        Sound(samples=np.zeros((2, 8), np.float32), rate_hz=8000)
    with pytest.raises(ShapeError, match="at least 1"):
        Sound(samples=np.zeros(0, np.float32), rate_hz=8000)
    with pytest.raises(DtypeError, match="int16"):
        Sound(samples=np.zeros(8, np.int16), rate_hz=8000)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="1 Hz"):
        Sound(samples=np.zeros(8, np.float32), rate_hz=0)
