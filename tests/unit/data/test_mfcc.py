"""Speech features equal librosa's, on every clip of the data set."""

import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from obfnet.core.errors import RangeError, ShapeError
from obfnet.data.mfcc import FRAMES, HIGH, LOW, PREPROCESSING, coefficients, mfcc, speech_features
from obfnet.data.resampling import resample
from obfnet.data.wav import Sound, read_wav
from tests.unit.data.sounds import voiced

# Read before the fixtures of this folder hide it.
DATA = Path(os.environ.get("OBFNET_DATA", ""))


def of_librosa(samples: np.ndarray) -> np.ndarray:
    import librosa

    sound = librosa.resample(samples, orig_sr=8000, target_sr=22050)
    return librosa.feature.mfcc(y=sound, sr=22050)


def features_of(samples: np.ndarray, rate_hz: int = 8000) -> np.ndarray:
    return speech_features(Sound(samples=samples.astype(np.float32), rate_hz=rate_hz))


@pytest.mark.real_data
def test_all_clips_of_the_data_set_have_librosas_coefficients() -> None:
    ours, theirs, clipped, apart = [], [], 0.0, 0.0
    with zipfile.ZipFile(DATA / "free_spoken_digit_dataset.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".wav"))
        for name in names:
            sound = read_wav(archive.read(name), name=name)
            ours.append(mfcc(sound.samples, sound.rate_hz))
            theirs.append(of_librosa(sound.samples))
            made = coefficients(speech_features(sound))
            kept = np.zeros((20, FRAMES), np.float32)
            kept[:, : ours[-1].shape[1]] = theirs[-1][:, :FRAMES]
            # Longer clips too: what their later part holds does not show in the kept frames.
            apart = max(apart, float(np.abs(made - kept).max()))
            span = np.subtract(HIGH, LOW)[:, np.newaxis]
            beyond = (
                np.maximum(np.array(LOW)[:, np.newaxis] - kept, kept - np.array(HIGH)[:, np.newaxis]) / span
            )
            clipped = max(clipped, float(beyond.max()))
    assert len(names) == 3000
    assert [one.shape for one in ours] == [one.shape for one in theirs]
    theirs_all = np.concatenate(theirs, axis=1)
    error = np.abs(np.concatenate(ours, axis=1) - theirs_all).max(axis=1) / theirs_all.std(axis=1)
    assert error.max() < 2e-4  # 1e-3 is what is promised
    assert apart < 2e-3
    assert clipped <= 0  # not one value of any clip, training or test


@pytest.mark.parametrize("seconds", [0.15, 0.4, 1.0])
def test_a_synthetic_voice_has_librosas_coefficients(seconds: float) -> None:
    samples = voiced(seconds, 8000)[100:]  # begins loud
    expected = of_librosa(samples)
    np.testing.assert_allclose(mfcc(samples, 8000), expected, atol=3e-3)


def test_digital_silence_has_librosas_coefficients() -> None:
    np.testing.assert_allclose(mfcc(np.zeros(4000), 8000), of_librosa(np.zeros(4000, np.float32)), atol=3e-3)


@pytest.mark.parametrize("rate_hz", [11025, 16000, 44100, 48000, 96000])
def test_a_better_microphone_makes_the_same_features(rate_hz: int) -> None:
    samples = voiced(0.6, rate_hz)
    low = resample(samples, rate_hz, 8000)
    np.testing.assert_allclose(mfcc(samples, rate_hz), mfcc(low, 8000), atol=1e-4)
    # The same voice, sampled at 8 kHz from the start; only its noise differs.
    assert np.abs(features_of(samples, rate_hz) - features_of(voiced(0.6, 8000))).mean() < 0.02


def test_short_sounds_are_padded_with_zeros() -> None:
    made = coefficients(features_of(voiced(0.4, 8000)))
    # This voice is smoother than any in the data set: a few values leave its range.
    full = np.clip(mfcc(voiced(0.4, 8000), 8000).T, LOW, HIGH).T
    np.testing.assert_allclose(made[:, : full.shape[1]], full, atol=1e-3)
    np.testing.assert_allclose(made[:, full.shape[1] :], 0, atol=1e-3)


@pytest.mark.parametrize("rate_hz", [4000, 8000, 44100])
def test_what_comes_after_the_last_frame_changes_nothing(rate_hz: int) -> None:
    noise = np.random.default_rng(2).normal(0, 0.1, 3 * rate_hz)
    for end_s, same in [(1.11, True), (1.0, False)]:
        later = noise.copy()
        later[round(end_s * rate_hz) :] = 0.9
        assert bool(np.abs(features_of(later, rate_hz) - features_of(noise, rate_hz)).max() < 1e-6) == same


@pytest.mark.parametrize(
    ("samples", "rate_hz"),
    [
        (np.zeros(8000), 8000),
        (np.zeros(1), 8000),
        (np.ones(1), 96000),
        (np.ones(2), 1000),
        (np.random.default_rng(0).choice([-1.0, 1.0], 8000), 8000),
        (np.random.default_rng(0).uniform(-1, 1, 384_000), 384_000),
    ],
)
def test_any_sound_gives_features_of_one_shape_and_range(samples: np.ndarray, rate_hz: int) -> None:
    features = features_of(samples, rate_hz)
    assert features.shape == (1, 20, 45)
    assert features.dtype == np.float32
    assert features.min() >= 0
    assert features.max() <= 1


@pytest.mark.parametrize("rate_hz", [8000, 48000])
def test_a_clip_takes_at_most_ten_milliseconds_of_one_core(rate_hz: int) -> None:
    clip = Sound(samples=voiced(1.0, rate_hz), rate_hz=rate_hz)
    speech_features(clip)
    spent_s = []
    for _ in range(15):
        # Processor time: what else the machine does is not the code's fault.
        begin_s = time.process_time()
        speech_features(clip)
        spent_s.append(time.process_time() - begin_s)
    assert np.median(spent_s) < 0.010


def test_scaling_is_undone() -> None:
    features = np.random.default_rng(4).random((1, 20, 45), dtype=np.float32)
    made = coefficients(features)
    assert made.shape == (20, 45)
    low, high = (np.array(limits)[:, np.newaxis] for limits in (LOW, HIGH))
    np.testing.assert_allclose((made - low) / (high - low), features[0], atol=1e-6)
    assert all(bottom < 0 < top for bottom, top in zip(LOW, HIGH, strict=True))  # the padding is inside


def test_the_preprocessing_is_named_in_one_line() -> None:
    assert "8,000 Hz" in PREPROCESSING
    assert "\n" not in PREPROCESSING


def test_what_is_no_sound_is_refused() -> None:
    with pytest.raises(RangeError, match="finite samples"):
        mfcc(np.array([0, np.nan]), 8000)
    with pytest.raises(ShapeError, match=r"shape \(T,\)"):
        mfcc(np.zeros(0), 8000)
    with pytest.raises(RangeError, match="a rate of"):
        mfcc(np.zeros(8), 0)
    with pytest.raises(RangeError, match="at least 1 frame"):
        mfcc(np.zeros(8), 8000, most_frames=0)
    with pytest.raises(ShapeError, match=r"\(1, 20, 45\)"):
        coefficients(np.zeros((20, 45), np.float32))
