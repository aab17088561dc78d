"""What a network costs: the paper's networks give the paper's figures."""

import pytest
import torch
from torch import nn

from obfnet.nets import INFERENCE_ARCHITECTURES, OBFUSCATION_ARCHITECTURES, Shape
from obfnet.nets.cost import count_macs, count_parameters

MNIST, MFCC, CIFAR10, ASL = (1, 28, 28), (1, 20, 45), (3, 32, 32), (3, 64, 64)


def count_as_keras(network: nn.Module) -> int:
    """Parameters as Keras counts them: with the running mean and variance of batch normalisation."""
    normalised = [part for part in network.modules() if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)]
    return count_parameters(network) + sum(2 * part.num_features for part in normalised)


@pytest.mark.parametrize(
    ("architecture", "shape", "classes", "parameters", "macs"),
    [
        ("cnn", MNIST, 10, 1_199_882, 11_992_448),
        ("mlp", MNIST, 10, 932_362, 930_816),
        ("fsd-cnn", MFCC, 10, 1_110_618, 41_707_648),
        ("fsd-mlp", MFCC, 10, 1_008_534, 1_007_232),
        ("asl-cnn", ASL, 29, 111_405_149, 429_007_232),
        ("asl-mlp", ASL, 29, 17_861_661, 17_855_488),
    ],
)
def test_inference_networks_cost_what_the_papers_do(
    architecture: str, shape: Shape, classes: int, parameters: int, macs: int
) -> None:
    # On the meta device 111 million parameters need no memory.
    with torch.device("meta"):
        network = INFERENCE_ARCHITECTURES.get(architecture)(shape, classes)
    assert (count_parameters(network), count_macs(network, shape)) == (parameters, macs)


@pytest.mark.parametrize(
    ("architecture", "shape", "hidden", "parameters", "macs"),
    [
        ("mlp", MNIST, 8, 13_336, 12_544),
        ("mlp", MNIST, 100, 157_684, 156_800),
        ("mlp", MNIST, 512, 804_112, 802_816),
        ("cnn", MNIST, 32, 199_280, 392_832),
        ("cnn", MNIST, 100, 620_404, 813_888),
        ("fsd-mlp", MFCC, 200, 365_500, 360_000),
        ("fsd-cnn", MFCC, 5, 649_234, 836_982),
        ("asl-mlp", ASL, 100, 2_469_988, 2_457_600),
        ("asl-mlp", ASL, 512, 12_595_712, 12_582_912),
        ("asl-cnn", ASL, 100, 4_317_284, 7_625_216),
        ("asl-mlp", CIFAR10, 100, 617_572, 614_400),
    ],
)
def test_obfuscation_networks_cost_what_the_papers_do(
    architecture: str, shape: Shape, hidden: int, parameters: int, macs: int
) -> None:
    with torch.device("meta"):
        network = OBFUSCATION_ARCHITECTURES.get(architecture)(shape, hidden)
    assert (count_as_keras(network), count_macs(network, shape)) == (parameters, macs)


@pytest.mark.parametrize(("architecture", "trained"), [("fsd-mlp", 363_300), ("fsd-cnn", 649_218)])
def test_running_statistics_are_no_parameters_here(architecture: str, trained: int) -> None:
    build = OBFUSCATION_ARCHITECTURES.get(architecture)
    assert count_parameters(build(MFCC, build.default_hidden)) == trained


@pytest.mark.parametrize(
    ("shape", "parameters", "macs"),
    [
        (MNIST, 19_228, 1_079_568),
        (CIFAR10, 21_396, 1_963_008),
        (ASL, 21_396, 7_852_032),
        ((3, 224, 224), 21_396, 24_046_848),
    ],
)
def test_the_convolutional_obfuscation_network_does_not_grow_with_resolution(
    shape: Shape, parameters: int, macs: int
) -> None:
    build = OBFUSCATION_ARCHITECTURES.get("conv")
    network = build(shape, build.default_hidden)
    assert (count_parameters(network), count_macs(network, shape)) == (parameters, macs)
    # What it was made for: cheap on a device.
    assert parameters <= 150_000
    assert macs <= 2_000_000 * shape[1] * shape[2] / (32 * 32)


def test_macs_of_groups_and_strides_are_counted_by_hand() -> None:
    network = nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, groups=2), nn.Flatten(), nn.Linear(72, 5))
    # 3x3 outputs of 8 channels, each over 3x3 values of 2 channels; then 72 times 5.
    assert count_macs(network, (4, 7, 7)) == 8 * 9 * 9 * 2 + 360


def test_frozen_values_count_as_parameters() -> None:
    network = nn.Linear(3, 2)
    network.requires_grad_(False)
    assert count_parameters(network) == 8


def test_counting_leaves_each_modules_mode_and_no_hook() -> None:
    frozen, trained = nn.Sequential(nn.Dropout(), nn.Linear(4, 4)).eval(), nn.Linear(4, 4)
    network = nn.Sequential(nn.Flatten(), trained, frozen)
    network.train()
    frozen.eval()
    count_macs(network, (1, 2, 2))
    assert network.training
    assert trained.training
    assert not any(module.training for module in frozen.modules())
    assert not any(module._forward_hooks for module in network.modules())
