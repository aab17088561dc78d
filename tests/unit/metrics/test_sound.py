"""Distances of spoken words against SciPy's inverse DCT, librosa's mel spectra and the published formula."""

from typing import Any

import numpy as np
import pytest
from scipy.fft import idct

from obfnet.core.errors import ShapeError
from obfnet.data.mfcc import FEATURE_HZ, HIGH, LOW, MEL_BANDS, mfcc
from obfnet.metrics.sound import log_spectral_distance_db, mel_cepstral_distortion_db

Samples = np.ndarray[Any, Any]
SCALE: dict[str, Any] = {"low": LOW, "high": HIGH, "bands": MEL_BANDS}
LIMITS = np.array([LOW, HIGH])[:, :, np.newaxis]


def scaled(coefficients: Samples) -> Samples:
    """`(N, 20, T)` MFCCs to samples as a case has them, not clipped."""
    low, high = LIMITS
    return ((coefficients - low) / (high - low))[:, np.newaxis]


def words(count: int = 6) -> tuple[Samples, Samples]:
    random = np.random.default_rng(0)
    low, high = LIMITS
    raw, guess = low + (high - low) * random.uniform(0.3, 0.7, (2, count, 20, 45))
    return raw, guess


def bands_db(coefficients: Samples) -> Samples:
    """`(20, T)` to the `(128, T)` mel bands that they stand for."""
    filled = np.zeros((MEL_BANDS, coefficients.shape[1]))
    filled[: len(coefficients)] = coefficients
    return idct(filled, type=2, norm="ortho", axis=0)


def test_log_spectral_distance_is_taken_over_the_mel_bands() -> None:
    raw, guess = words()
    expected = [
        np.mean(np.sqrt(np.mean((bands_db(x) - bands_db(y)) ** 2, axis=0)))
        for x, y in zip(raw, guess, strict=True)
    ]
    np.testing.assert_allclose(log_spectral_distance_db(scaled(raw), scaled(guess), **SCALE), expected)


def test_log_spectral_distance_of_librosas_mel_spectra() -> None:
    librosa = pytest.importorskip("librosa")
    raw, guess = (values * 0.2 for values in words(2))
    expected = []
    for pair in zip(raw, guess, strict=True):
        mel = [librosa.feature.inverse.mfcc_to_mel(one, n_mels=MEL_BANDS) for one in pair]
        in_db = [librosa.power_to_db(one, ref=1.0, amin=1e-30, top_db=None) for one in mel]
        expected.append(np.sqrt(((in_db[0] - in_db[1]) ** 2).mean(axis=0)).mean())
    np.testing.assert_allclose(
        log_spectral_distance_db(scaled(raw), scaled(guess), **SCALE), expected, rtol=1e-4
    )


def test_mel_cepstral_distortion_is_the_published_formula_on_natural_cepstra() -> None:
    raw, guess = words()
    expected = []
    for pair in zip(raw, guess, strict=True):
        # ln P = c_0 + 2 * sum of c_d cos: by least squares, knowing nothing of a DCT's constants.
        angles = np.pi * (np.arange(MEL_BANDS) + 0.5) / MEL_BANDS
        design = 2 * np.cos(np.outer(angles, np.arange(20)))
        design[:, 0] = 1
        log_power = [bands_db(one) * np.log(10) / 10 for one in pair]
        cepstra = [np.linalg.lstsq(design, one, rcond=None)[0] for one in log_power]
        square = ((cepstra[0] - cepstra[1])[1:] ** 2).sum(axis=0)
        expected.append(np.mean(10 / np.log(10) * np.sqrt(2 * square)))
    np.testing.assert_allclose(mel_cepstral_distortion_db(scaled(raw), scaled(guess), **SCALE), expected)


def test_a_louder_word_has_the_same_spectral_shape() -> None:
    # Loud enough everywhere that no band falls to silence.
    sound = np.random.default_rng(0).normal(0, 0.1, FEATURE_HZ)
    quiet, loud = (scaled(mfcc(gain * sound, 8000)[np.newaxis]) for gain in (1.0, 2.0))
    twice_db = 20 * np.log10(2)
    np.testing.assert_allclose(mel_cepstral_distortion_db(quiet, loud, **SCALE), 0, atol=1e-3)
    np.testing.assert_allclose(log_spectral_distance_db(quiet, loud, **SCALE), twice_db, rtol=1e-3)


@pytest.mark.parametrize("metric", [log_spectral_distance_db, mel_cepstral_distortion_db])
def test_it_is_a_distance_of_each_sample_by_itself(metric: Any) -> None:
    raw, guess = (scaled(values) for values in words())
    assert (metric(raw, raw, **SCALE) == 0).all()
    np.testing.assert_allclose(metric(raw, guess, **SCALE), metric(guess, raw, **SCALE))
    half = (raw + guess) / 2
    np.testing.assert_allclose(metric(raw, half, **SCALE), metric(raw, guess, **SCALE) / 2)
    np.testing.assert_allclose(metric(raw, guess, **SCALE)[2:4], metric(raw[2:4], guess[2:4], **SCALE))
    assert metric(raw[:0], raw[:0], **SCALE).shape == (0,)


@pytest.mark.parametrize("metric", [log_spectral_distance_db, mel_cepstral_distortion_db])
def test_it_refuses_what_it_cannot_compare(metric: Any) -> None:
    raw, guess = (scaled(values) for values in words())
    with pytest.raises(ShapeError, match="reshape the guess"):
        metric(raw, guess[1:], **SCALE)
    with pytest.raises(ShapeError, match=r"MFCCs of shape \(N, 1, D, T\), got \(6, 20, 45\)"):
        metric(raw[:, 0], guess[:, 0], **SCALE)
    with pytest.raises(ShapeError, match="for each of 20 coefficients"):
        metric(raw, guess, low=LOW[1:], high=HIGH, bands=MEL_BANDS)
    with pytest.raises(ShapeError, match="as many bands"):
        metric(raw, guess, low=LOW, high=HIGH, bands=19)
