"""Our networks for photographs: what calibration does, how they begin, and what they cost."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from obfnet.core.errors import UsageError
from obfnet.nets.cost import count_macs, count_parameters
from obfnet.nets.residual import ResidualNetwork, compact_network

TINY = (4, 6, 8)


def correlated(count: int, channels: int, size: int) -> Tensor:
    """Samples in [0, 1] whose neighbouring values and channels are much alike, as in photographs."""
    random = torch.Generator().manual_seed(0)
    noise = torch.rand(count, 1, size + 4, size + 4, generator=random)
    smooth = functional.avg_pool2d(noise, 5, 1)
    smooth = (smooth - smooth.mean()) * 2.5 + 0.5
    tint = torch.rand(count, channels, 1, 1, generator=random) * 0.4
    own = torch.rand(count, channels, size, size, generator=random) * 0.35
    return (smooth * 0.5 + tint + own).clamp(0, 1)


def patches_of(samples: Tensor) -> np.ndarray:
    """All 2x2 patches, one a row, in the order of the filters' weights."""
    array = samples.numpy()
    rows = [
        array[number, :, y : y + 2, x : x + 2].reshape(-1)
        for number in range(len(array))
        for y in range(array.shape[2] - 1)
        for x in range(array.shape[3] - 1)
    ]
    return np.array(rows, np.float64)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [30, 230])
def test_calibration_whitens_the_patches(channels: int, count: int) -> None:
    samples = correlated(count, channels, 16)
    network = ResidualNetwork((channels, 16, 16), 5, TINY)
    network.calibrate(samples)
    filters = network.whiten.weight.detach().numpy().reshape(2 * channels * 4, -1).astype(np.float64)
    half = channels * 4
    np.testing.assert_array_equal(filters[:half], -filters[half:])
    # The oracle: NumPy's covariance of the patches, loop by loop.
    whitened = patches_of(samples) @ filters[:half].T
    covariance = np.cov(whitened, rowvar=False, bias=True)
    np.testing.assert_allclose(covariance, np.eye(half), atol=0.05)
    # What is left of the identity is the smoothing of the smallest directions.
    assert (np.diag(covariance) <= 1 + 1e-4).all()
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-4)


def test_the_whitening_layer_gives_the_whitened_patches() -> None:
    samples = correlated(40, 3, 16)
    network = ResidualNetwork((3, 16, 16), 5, TINY)
    network.calibrate(samples)
    with torch.no_grad():
        given = network.whiten(samples) - network.whiten.bias[:, None, None]  # type: ignore[index]
    flat = given.permute(0, 2, 3, 1).reshape(-1, 24).double().numpy()
    np.testing.assert_allclose(np.cov(flat[:, :12], rowvar=False), np.eye(12), atol=0.05)


def test_constant_samples_are_calibrated_without_infinities() -> None:
    network = ResidualNetwork((3, 16, 16), 5, TINY)
    network.calibrate(torch.full((20, 3, 16, 16), 0.5))
    assert bool(torch.isfinite(network.whiten.weight).all())


def test_the_whitening_filters_are_not_learnt() -> None:
    network = ResidualNetwork((3, 16, 16), 5, TINY)
    network(torch.rand(4, 3, 16, 16)).sum().backward()
    assert network.whiten.weight.grad is None
    assert network.whiten.bias is not None
    assert network.whiten.bias.grad is not None


def test_every_learnt_convolution_begins_as_much_as_the_identity_as_it_can() -> None:
    network = ResidualNetwork((3, 16, 16), 5, (32, 40, 48))
    samples = torch.rand(2, 24, 8, 8)
    convolutions = [part for part in network.stages.modules() if isinstance(part, nn.Conv2d)]
    assert len(convolutions) == 6
    with torch.no_grad():
        torch.testing.assert_close(convolutions[0](samples)[:, :24], samples)
        wide = torch.rand(2, 32, 8, 8)
        torch.testing.assert_close(convolutions[1](wide), wide)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 20, 24), (3, 47, 47), (3, 48, 48), (3, 64, 80)])
def test_any_picture_from_16_pixels_gets_a_score_a_class(shape: tuple[int, int, int]) -> None:
    network = ResidualNetwork(shape, 7, TINY).eval()
    assert network(torch.rand(3, *shape)).shape == (3, 7)


@pytest.mark.parametrize("shape", [(3, 15, 64), (3, 64, 15), (1, 1, 1)])
def test_smaller_ones_are_refused_with_what_to_use_instead(shape: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match=r"at least 16x16, got .*; use architecture cnn or mlp"):
        ResidualNetwork(shape, 7)


def test_the_compact_one_has_a_fifth_of_the_operations() -> None:
    shape = (3, 32, 32)
    wide, narrow = ResidualNetwork(shape, 10), compact_network(shape, 10)
    assert count_macs(narrow, shape) < 0.25 * count_macs(wide, shape)
    assert count_parameters(narrow) < 0.25 * count_parameters(wide)


MEMORY = """
import resource, torch
from obfnet.nets.residual import ResidualNetwork
network, samples = ResidualNetwork((3, 64, 64), 5, (4, 6, 8)), torch.rand(1_000, 3, 64, 64)
network.calibrate(samples[:200])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
network.calibrate(samples)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_calibration_takes_no_more_memory_for_more_samples() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    # The patches of all thousand at once would be 190 MB, and twice that in double precision.
    assert int(done.stdout) < 30_000
