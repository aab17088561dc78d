"""Rates are changed as soxr changes them, and as sampling theory says."""

import numpy as np
import pytest
import soxr

from obfnet.core.errors import RangeError, ShapeError
from obfnet.data.resampling import resample, resample_as_trained

RATES = [(8000, 22050), (44100, 8000), (96000, 8000), (48000, 8000), (11025, 8000), (1000, 8000)]
ODD = [(384_000, 8000), (383_999, 8000), (7919, 8000), (8000, 7919)]


def tone(hz: float, rate_hz: int, seconds: float = 0.5) -> np.ndarray:
    """A tone that swells and fades, so that its edges carry nothing."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.sin(2 * np.pi * hz * time) * np.sin(np.pi * time / seconds) ** 4


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES + ODD)
def test_what_passes_keeps_its_shape(from_hz: int, to_hz: int) -> None:
    low_hz = 0.85 * min(from_hz, to_hz) / 2
    changed = resample(tone(low_hz, from_hz), from_hz, to_hz)
    wanted = tone(low_hz, to_hz)
    assert len(changed) == -(-round(0.5 * from_hz) * to_hz // from_hz)
    both = min(len(changed), len(wanted))
    np.testing.assert_allclose(changed[:both], wanted[:both], atol=1e-3)


@pytest.mark.parametrize(("from_hz", "to_hz"), [(44100, 8000), (96000, 8000), (383_999, 8000)])
def test_what_cannot_be_held_is_gone(from_hz: int, to_hz: int) -> None:
    assert np.abs(resample(tone(0.51 * to_hz, from_hz), from_hz, to_hz)).max() < 1e-6


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_the_middle_of_noise_is_as_soxr_gives_it(from_hz: int, to_hz: int) -> None:
    # Half the band: soxr's transition band differs from rate to rate.
    noise = np.random.default_rng(5).normal(0, 0.1, 4 * from_hz // 10)
    noise = np.fft.irfft(
        np.fft.rfft(noise) * (np.fft.rfftfreq(noise.size, 1 / from_hz) < min(from_hz, to_hz) / 4)
    )
    expected, changed = soxr.resample(noise, from_hz, to_hz, quality="HQ"), resample(noise, from_hz, to_hz)
    edge = to_hz // 20
    both = slice(edge, min(len(expected), len(changed)) - edge)
    np.testing.assert_allclose(changed[both], expected[both], atol=2e-4)


@pytest.mark.parametrize("size", [1, 2, 7, 50, 103, 104, 999, 8000])
def test_training_clips_come_out_as_of_librosa_from_first_to_last_sample(size: int) -> None:
    # Loud from the first sample on: soxr begins with a transient that the features show.
    noise = np.random.default_rng(size).uniform(-1, 1, size).astype(np.float32)
    expected, changed = soxr.resample(noise, 8000, 22050, quality="HQ"), resample_as_trained(noise)
    assert len(changed) == int(np.ceil(size * 22050 / 8000))
    assert not changed[len(expected) :].any()
    np.testing.assert_allclose(changed[: len(expected)], expected, atol=3e-5)


def test_every_length_is_rounded_up() -> None:
    for size in range(1, 400):
        assert len(resample(np.ones(size), 8000, 22050)) == int(np.ceil(size * 22050 / 8000))


def test_the_same_rate_changes_nothing() -> None:
    noise = np.random.default_rng(1).normal(size=50).astype(np.float32)
    np.testing.assert_array_equal(resample(noise, 8000, 8000), noise)
    assert resample(noise, 8000, 8000) is not noise


def test_silence_stays_silent() -> None:
    assert not resample(np.zeros(300), 44100, 8000).any()


@pytest.mark.parametrize("shape", [(0,), (2, 8), ()])
def test_what_is_no_sound_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"shape \(T,\)"):
        resample(np.zeros(shape), 8000, 22050)
    with pytest.raises(ShapeError, match=r"shape \(T,\)"):
        resample_as_trained(np.zeros(shape))


@pytest.mark.parametrize("rates", [(0, 8000), (8000, 0), (8000, 384_001), (-1, 8000)])
def test_rates_are_bounded(rates: tuple[int, int]) -> None:
    with pytest.raises(RangeError, match="a rate of 1 to 384000 Hz"):
        resample(np.zeros(8), *rates)
