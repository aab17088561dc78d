"""What a network costs: the paper's networks give the paper's figures."""

import pytest
import torch
from torch import nn

from obfnet.core.errors import UsageError
from obfnet.nets import INFERENCE_ARCHITECTURES, OBFUSCATION_ARCHITECTURES
from obfnet.nets.cost import count_macs, count_parameters
from obfnet.nets.device_only import device_only_within

MNIST = (1, 28, 28)


@pytest.mark.parametrize(
    ("architecture", "parameters", "macs"), [("cnn", 1_199_882, 11_992_448), ("mlp", 932_362, 930_816)]
)
def test_inference_networks_cost_what_the_papers_do(architecture: str, parameters: int, macs: int) -> None:
    network = INFERENCE_ARCHITECTURES.get(architecture)(MNIST, 10)
    assert (count_parameters(network), count_macs(network, MNIST)) == (parameters, macs)


@pytest.mark.parametrize(
    ("architecture", "hidden", "parameters", "macs"),
    [
        ("mlp", 8, 13_336, 12_544),
        ("mlp", 100, 157_684, 156_800),
        ("mlp", 512, 804_112, 802_816),
        ("cnn", 32, 199_280, 392_832),
        ("cnn", 100, 620_404, 813_888),
    ],
)
def test_obfuscation_networks_cost_what_the_papers_do(
    architecture: str, hidden: int, parameters: int, macs: int
) -> None:
    network = OBFUSCATION_ARCHITECTURES.get(architecture)(MNIST, hidden)
    assert (count_parameters(network), count_macs(network, MNIST)) == (parameters, macs)


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


@pytest.mark.parametrize("budget", [156_800, 392_832, 813_888])
def test_the_device_only_classifier_uses_its_budget_and_no_more(budget: int) -> None:
    macs = count_macs(device_only_within(MNIST, 10, budget), MNIST)
    assert 0.85 * budget < macs <= budget


def test_the_device_only_classifier_scores_every_class() -> None:
    assert device_only_within((3, 9, 7), 4, 100_000)(torch.rand(2, 3, 9, 7)).shape == (2, 4)


def test_a_budget_for_no_classifier_is_refused() -> None:
    with pytest.raises(UsageError, match=r"6646 MACs, got 5000; use a larger O"):
        device_only_within(MNIST, 10, 5000)
