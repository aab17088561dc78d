"""MS-SSIM against a slow version that asks scikit-image for every scale of every channel."""

from typing import Any

import numpy as np
import pytest
from skimage.measure import block_reduce
from skimage.metrics import structural_similarity

from obfnet.core.errors import ShapeError
from obfnet.metrics.ms_ssim import ms_ssim, scales
from obfnet.metrics.similarity import ssim

Samples = np.ndarray[Any, Any]
PUBLISHED = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
SHAPES = [(1, 28, 28), (3, 32, 32), (1, 20, 45), (3, 64, 64), (1, 177, 190), (1, 11, 11), (2, 23, 45)]


def pairs(shape: tuple[int, int, int], *, peak: float = 1.0) -> tuple[Samples, Samples]:
    """Noise against noise, a smooth picture with a little noise, a blurred one, constants, an empty one."""
    random = np.random.default_rng(0)
    noise = random.random((2, *shape))
    waves = np.broadcast_to(0.5 + 0.5 * np.sin(np.arange(shape[-1]) / 3), shape)
    near = np.clip(waves + random.normal(0, 0.05, shape), 0, 1)
    half, empty = np.full(shape, 0.5), np.zeros(shape)
    raw = np.stack([noise[0], waves, half, empty, noise[0]]) * peak
    guess = np.stack([noise[1], near, np.full(shape, 0.25), noise[0], (noise[0] + 1) / 2]) * peak
    return raw.astype(np.float32), guess.astype(np.float32)


def slowly(raw: Samples, guess: Samples, peak: float) -> float:
    """One channel. With an enormous K1 scikit-image's luminance term is 1: contrast and structure remain."""
    room = sum(min(raw.shape) // 2**scale >= 11 for scale in range(5))
    weights = np.array(PUBLISHED[:room]) / sum(PUBLISHED[:room])
    value = 1.0
    for scale, weight in enumerate(weights):
        last = scale == room - 1
        at_scale = structural_similarity(
            raw,
            guess,
            data_range=peak,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            K1=0.01 if last else 1e6,
        )
        value *= max(at_scale, 0) ** weight
        even = tuple(slice(size // 2 * 2) for size in raw.shape)
        raw, guess = (block_reduce(values[even], (2, 2), np.mean) for values in (raw, guess))
    return float(value)


@pytest.mark.parametrize("peak", [1.0, 255.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_slow_version(shape: tuple[int, int, int], peak: float) -> None:
    raw, guess = pairs(shape, peak=peak)
    expected = [
        np.mean([slowly(x, y, peak) for x, y in zip(some, other, strict=True)])
        for some, other in zip(raw.astype(float), guess.astype(float), strict=True)
    ]
    np.testing.assert_allclose(ms_ssim(raw, guess, peak=peak), expected, rtol=0, atol=1e-8)


def test_a_digit_has_room_for_two_scales_and_a_large_photograph_for_all_five() -> None:
    assert (scales(28, 28), scales(8, 8), scales(175, 175), scales(176, 176), scales(4000, 4000)) == (
        2,
        0,
        4,
        5,
        5,
    )


def test_coarse_shapes_count_where_ssim_sees_only_the_noise() -> None:
    random = np.random.default_rng(1)
    blobs = np.kron(random.random((20, 1, 4, 4)), np.ones((1, 1, 8, 8)))
    noisy = np.clip(blobs + random.normal(0, 0.3, blobs.shape), 0, 1)
    assert ms_ssim(blobs, noisy).mean() > ssim(blobs, noisy).mean() + 0.2


def test_an_inverted_picture_counts_as_nothing() -> None:
    ramp = np.tile(np.linspace(0, 1, 28), (1, 1, 28, 1))
    assert ms_ssim(ramp, 1 - ramp) == [0.0]


def test_a_samples_score_depends_on_no_other() -> None:
    raw, guess = pairs((1, 28, 28))
    many = np.concatenate([raw] * 60), np.concatenate([guess] * 60)
    np.testing.assert_allclose(ms_ssim(*many), np.tile(ms_ssim(raw, guess), 60), rtol=1e-12)
    assert ms_ssim(raw[:0], guess[:0]).shape == (0,)


def test_it_refuses_what_it_cannot_compare() -> None:
    raw, guess = pairs((1, 28, 28))
    with pytest.raises(ShapeError, match=r"`reconstructed` of shape \(5, 1, 28, 28\), got \(4, 1, 28, 28\)"):
        ms_ssim(raw, guess[1:])
    for some in (raw[:, 0], raw[:, :, :10], raw.reshape(5, -1)):
        with pytest.raises(ShapeError, match=r"\(N, C, H, W\), H and W ≥ 11"):
            ms_ssim(some, some)
