"""The device-only classifier: spends its budget at every scale, and learns."""

import math

import pytest
import torch
from torch.nn import functional

from obfnet.core.errors import UsageError
from obfnet.nets import Shape
from obfnet.nets.cost import count_macs
from obfnet.nets.device_only import device_only_within

DIGITS, MNIST, MFCC, CIFAR10, ASL = (1, 8, 8), (1, 28, 28), (1, 20, 45), (3, 32, 32), (3, 64, 64)
CAMERA, ODD_CAMERA, LARGER = (3, 224, 224), (1, 225, 301), (3, 129, 160)
SECOND = (1, 1, 16000)
# The costs of obfuscation networks, and a tenth of each.
BUDGETS = [
    (DIGITS, 12_800),
    (MNIST, 156_800),
    (MNIST, 813_888),
    (MFCC, 360_000),
    (MFCC, 836_982),
    (CIFAR10, 614_400),
    (CIFAR10, 1_963_008),
    (ASL, 2_457_600),
    (ASL, 10_000_000),
    (CAMERA, 34_546_176),
    (ODD_CAMERA, 20_000_000),
    (SECOND, 3_200_000),
]


@pytest.mark.parametrize(("shape", "budget"), BUDGETS)
@pytest.mark.parametrize("share", [1, 10])
def test_it_uses_its_budget_and_no_more(shape: Shape, budget: int, share: int) -> None:
    macs = count_macs(device_only_within(shape, 10, budget // share), shape)
    assert 0.95 * (budget // share) - 300 < macs <= budget // share


@pytest.mark.parametrize(
    "shape",
    [
        DIGITS,
        MNIST,
        MFCC,
        CIFAR10,
        ASL,
        (3, 9, 7),
        (1, 1, 5),
        (3, 33, 17),
        CAMERA,
        ODD_CAMERA,
        LARGER,
        SECOND,
        (1, 1, 81),
    ],
)
@pytest.mark.parametrize("macs_a_value", [10, 100])
def test_it_scores_every_class(shape: Shape, macs_a_value: int) -> None:
    budget = 500 + macs_a_value * math.prod(shape)
    scores = device_only_within(shape, 4, budget)(torch.rand(2, *shape))
    assert scores.shape == (2, 4)
    assert scores.isfinite().all()


def test_its_first_weights_come_from_the_random_state_alone() -> None:
    def first(budget: int) -> torch.Tensor:
        torch.manual_seed(4)
        return next(device_only_within(MNIST, 10, budget).parameters()).detach()

    assert torch.equal(first(156_800), first(156_800))
    # Looking for the width draws nothing: the same width has the same first layer.
    assert torch.equal(first(156_800), first(157_500))


def test_a_budget_for_no_classifier_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a classifier of 1961 MACs, got 1900; use a larger O"):
        device_only_within(MNIST, 10, 1900)
    device_only_within(MNIST, 10, 1961)


@pytest.mark.parametrize("shape", [DIGITS, (3, 16, 16)])
def test_it_learns_to_tell_two_halves_apart(shape: Shape) -> None:
    torch.manual_seed(0)
    network = device_only_within(shape, 2, 30_000)
    samples = torch.rand(64, *shape)
    labels = torch.arange(64) % 2
    samples[labels == 1, :, : shape[1] // 2] *= 0.5
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(20):
        optimiser.zero_grad()
        functional.cross_entropy(network(samples), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert (network.eval()(samples).argmax(1) == labels).float().mean() > 0.95


def test_large_pictures_are_averaged_first_and_smaller_ones_are_not() -> None:
    torch.manual_seed(0)
    network = device_only_within(CAMERA, 10, 34_546_176).eval()
    picture = torch.rand(1, *CAMERA)
    blocks = functional.interpolate(functional.avg_pool2d(picture, 2), scale_factor=2.0, mode="nearest")
    torch.testing.assert_close(network(picture), network(blocks))
    small = device_only_within(ASL, 10, 10_000_000).eval()
    picture = torch.rand(1, *ASL)
    blocks = functional.interpolate(functional.avg_pool2d(picture, 2), scale_factor=2.0, mode="nearest")
    assert (small(picture) - small(blocks)).abs().max() > 1e-4


def test_a_waveform_is_known_wherever_it_begins() -> None:
    torch.manual_seed(0)
    network = device_only_within(SECOND, 3, 1_000_000).eval()
    sound = torch.full((1, *SECOND), 0.5)
    sound[0, 0, 0, 4000:4800] += 0.4 * torch.sin(torch.arange(800) / 7)
    # By as much as the strides and maxima come to, away from the ends: the same places, moved.
    moved = sound.roll(16 * 16, 3)
    torch.testing.assert_close(network(sound), network(moved))
