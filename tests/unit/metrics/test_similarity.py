"""Each metric against scikit-image's one-image function, sample by sample."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from obfnet.core.errors import ShapeError, UsageError
from obfnet.metrics.similarity import mse, psnr_db, ssim

Samples = np.ndarray[Any, Any]
SHAPES = [(1, 28, 28), (3, 32, 32), (1, 8, 8), (2, 7, 20)]


def pairs(shape: tuple[int, int, int], *, peak: float = 1.0) -> tuple[Samples, Samples]:
    """Noise, a smooth picture with a little noise, constants, an inverted picture, an empty one."""
    random = np.random.default_rng(0)
    noise = random.random((2, *shape))
    ramp = np.broadcast_to(np.linspace(0, 1, shape[-1]), shape)
    smooth = np.clip(ramp + random.normal(0, 0.05, shape), 0, 1)
    half, empty = np.full(shape, 0.5), np.zeros(shape)
    raw = np.stack([noise[0], ramp, half, ramp, empty, half]) * peak
    guess = np.stack([noise[1], smooth, np.full(shape, 0.25), 1 - ramp, noise[0], half]) * peak
    return raw.astype(np.float32), guess.astype(np.float32)


@pytest.mark.parametrize("peak", [1.0, 255.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_ssim_is_scikit_images(shape: tuple[int, int, int], peak: float) -> None:
    raw, guess = pairs(shape, peak=peak)
    expected = [
        structural_similarity(x.astype(float), y.astype(float), channel_axis=0, data_range=peak)
        for x, y in zip(raw, guess, strict=True)
    ]
    np.testing.assert_allclose(ssim(raw, guess, peak=peak), expected, rtol=0, atol=1e-9)


def test_ssim_with_another_window_is_scikit_images() -> None:
    raw, guess = pairs((1, 28, 28))
    expected = [
        structural_similarity(x[0].astype(float), y[0].astype(float), data_range=1.0, win_size=11)
        for x, y in zip(raw, guess, strict=True)
    ]
    np.testing.assert_allclose(ssim(raw, guess, window=11), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_mse_is_scikit_images(shape: tuple[int, int, int]) -> None:
    raw, guess = pairs(shape)
    expected = [mean_squared_error(x.astype(float), y) for x, y in zip(raw, guess, strict=True)]
    np.testing.assert_allclose(mse(raw, guess), expected, rtol=1e-12)


@pytest.mark.parametrize("peak", [1.0, 255.0])
def test_psnr_is_scikit_images(peak: float) -> None:
    raw, guess = pairs((3, 32, 32), peak=peak)
    raw, guess = raw[:-1], guess[:-1]
    expected = [
        peak_signal_noise_ratio(x.astype(float), y.astype(float), data_range=peak)
        for x, y in zip(raw, guess, strict=True)
    ]
    np.testing.assert_allclose(psnr_db(raw, guess, peak=peak), expected, rtol=1e-9)


def test_bytes_are_compared_as_numbers() -> None:
    black, white = np.zeros((1, 1, 8, 8), np.uint8), np.full((1, 1, 8, 8), 255, np.uint8)
    assert mse(black, white) == [255.0**2]
    assert mse(white, black) == [255.0**2]


def test_a_copy_is_perfect() -> None:
    raw, _ = pairs((1, 28, 28))
    np.testing.assert_allclose(ssim(raw, raw), 1, atol=1e-12)
    assert (mse(raw, raw) == 0).all()
    assert np.isposinf(psnr_db(raw, raw)).all()


def test_a_samples_score_depends_on_no_other() -> None:
    raw, guess = pairs((1, 28, 28))
    for metric in (ssim, mse, psnr_db):
        alone = np.concatenate([metric(raw[i : i + 1], guess[i : i + 1]) for i in range(len(raw))])
        np.testing.assert_allclose(metric(raw, guess), alone, rtol=1e-12)


def test_ssim_refuses_what_it_cannot_compare() -> None:
    raw, guess = pairs((1, 8, 8))
    with pytest.raises(ShapeError, match=r"`reconstructed` of shape \(6, 1, 8, 8\), got \(5, 1, 8, 8\)"):
        ssim(raw, guess[1:])
    with pytest.raises(ShapeError, match=r"\(N, C, H, W\), H and W ≥ 7, got \(6, 8, 8\)"):
        ssim(raw[:, 0], guess[:, 0])
    with pytest.raises(ShapeError, match="H and W ≥ 7"):
        ssim(raw[:, :, :6], guess[:, :, :6])
    for window in (1, 4, -7):
        with pytest.raises(UsageError, match="odd window"):
            ssim(raw, guess, window=window)


@pytest.mark.parametrize("metric", [mse, psnr_db])
def test_shapes_that_would_broadcast_are_refused(metric: Callable[..., Samples]) -> None:
    raw, guess = pairs((1, 8, 8))
    with pytest.raises(ShapeError, match="reshape the guess"):
        metric(raw, guess[:1])
