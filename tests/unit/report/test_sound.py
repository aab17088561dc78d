"""Sounds in the page play what they hold, and rebuilt ones sound like their features."""

import base64
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from obfnet.core.errors import RangeError, ShapeError
from obfnet.data.mfcc import HIGH, LOW, coefficients, mfcc, speech_features
from obfnet.data.wav import Sound, read_wav
from obfnet.report.sound import sound_data_uri, sound_from_coefficients
from tests.unit.data.sounds import voiced

DATA = Path(os.environ.get("OBFNET_DATA", ""))
PREFIX = "data:audio/wav;base64,"


def likeness(given: np.ndarray, rebuilt: np.ndarray) -> float:
    """Correlation of all coefficients, on the features' scale and without their means (so no loudness)."""
    both, span = min(given.shape[1], rebuilt.shape[1]), np.subtract(HIGH, LOW)[:, np.newaxis]
    parts = [part[:, :both] - part[:, :both].mean(axis=1, keepdims=True) for part in (given, rebuilt)]
    return float(np.corrcoef((parts[0] / span).ravel(), (parts[1] / span).ravel())[0, 1])


def test_the_uri_holds_the_sound() -> None:
    samples = voiced(0.2, 8000)
    uri = sound_data_uri(samples, 8000)
    assert uri.startswith(PREFIX)
    data = base64.b64decode(uri.removeprefix(PREFIX))
    played, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32")
    assert (rate_hz, soundfile.info(io.BytesIO(data)).subtype) == (8000, "PCM_16")
    np.testing.assert_allclose(played, samples, atol=1e-4)
    np.testing.assert_allclose(read_wav(data).samples, samples, atol=1e-4)


def test_values_outside_are_clipped_and_nan_is_silent() -> None:
    data = base64.b64decode(sound_data_uri(np.array([-7, 7, np.nan, np.inf]), 22050).removeprefix(PREFIX))
    np.testing.assert_allclose(read_wav(data).samples, [-1, 1, 0, 1], atol=1e-4)


@pytest.mark.parametrize("shape", [(0,), (2, 8)])
def test_what_is_no_sound_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"shape \(T,\)"):
        sound_data_uri(np.zeros(shape), 8000)
    with pytest.raises(RangeError, match="0 Hz"):
        sound_data_uri(np.zeros(8), 0)


@pytest.mark.parametrize("seconds", [0.3, 0.8, 1.5])
def test_a_rebuilt_voice_has_the_features_it_was_made_from(seconds: float) -> None:
    given = coefficients(speech_features(Sound(samples=voiced(seconds, 8000), rate_hz=8000)))
    samples, rate_hz = sound_from_coefficients(given)
    assert samples.dtype == np.float32
    assert np.abs(samples).max() == pytest.approx(0.9, abs=1e-4)
    rebuilt = mfcc(samples, rate_hz)
    # The padding is not sounded.
    assert rebuilt.shape[1] == min(45, mfcc(voiced(seconds, 8000), 8000).shape[1])
    assert likeness(given, rebuilt) > 0.9


@pytest.mark.real_data
def test_rebuilt_clips_have_the_features_they_were_made_from() -> None:
    scores = []
    with zipfile.ZipFile(DATA / "free_spoken_digit_dataset.zip") as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".wav"))[::30]:
            given = coefficients(speech_features(read_wav(archive.read(name), name=name)))
            scores.append(likeness(given, mfcc(*sound_from_coefficients(given))))
    assert np.median(scores) > 0.95
    # The worst are clips of ten frames, most of whose spread is noise.
    assert np.mean(np.array(scores) > 0.9) > 0.97
    assert min(scores) > 0.85


def test_the_same_features_make_the_same_sound() -> None:
    given = mfcc(voiced(0.3, 8000), 8000)
    first, second = (sound_from_coefficients(given)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_wild_guess_still_makes_a_sound() -> None:
    for given in (np.random.default_rng(1).normal(0, 1e5, (20, 45)), np.full((20, 1), 1e4)):
        samples, _ = sound_from_coefficients(given)
        assert bool(np.isfinite(samples).all())
        assert np.abs(samples).max() <= 1


def test_nothing_but_padding_is_silent() -> None:
    samples, rate_hz = sound_from_coefficients(np.zeros((20, 45), np.float32))
    assert rate_hz == 22050
    assert samples.size > 0
    assert not samples.any()


@pytest.mark.parametrize("shape", [(45, 20), (1, 20, 45), (20, 0)])
def test_what_are_no_coefficients_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"\(20, T\)"):
        sound_from_coefficients(np.zeros(shape))
    with pytest.raises(RangeError, match="finite"):
        sound_from_coefficients(np.full((20, 3), np.nan))
