"""Plain classifiers: what accuracy counts, and that it leaves a network as it was."""

import numpy as np
import pytest
import torch
from torch import nn

from obfnet.core.progress import Silent
from obfnet.data.cases import Dataset, Split
from obfnet.fitting import Budget, Schedule
from obfnet.training.classifier import accuracy, train_classifier


class Brightness(nn.Module):
    """Scores two classes by the first value of a sample."""

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        first = samples.flatten(1)[:, 0]
        return torch.stack([0.5 - first, first - 0.5], dim=1)


@pytest.mark.parametrize("values", [1, 1_500_000])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_accuracy_is_the_share_of_right_labels(dtype: str, values: int) -> None:
    bright = np.array([0.1, 0.9, 0.2, 0.8], np.float32).reshape(4, 1, 1, 1).repeat(values, axis=3)
    samples = bright if dtype == "float32" else (bright * 255).astype(np.uint8)
    split = Split(samples=samples, labels=np.array([0, 1, 1, 1]))
    assert accuracy(Brightness(), split) == 0.75


def test_accuracy_leaves_each_modules_own_mode() -> None:
    frozen = nn.Sequential(nn.Dropout(), nn.Linear(4, 2))
    trained = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4))
    network = nn.Sequential(trained, frozen)
    network.train()
    frozen.eval()
    split = Split(samples=np.zeros((3, 1, 2, 2), np.float32), labels=np.zeros(3, np.int64))
    statistics = trained[1].running_mean.clone()
    accuracy(network, split)
    assert network.training
    assert all(module.training for module in trained.modules())
    assert not any(module.training for module in frozen.modules())
    assert torch.equal(trained[1].running_mean, statistics)


def test_accuracy_leaves_the_modes_where_the_network_fails() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).train()
    split = Split(samples=np.zeros((3, 1, 2, 2), np.float32), labels=np.zeros(3, np.int64))
    with pytest.raises(RuntimeError):
        accuracy(network, split)
    assert all(module.training for module in network.modules())


def test_a_classifier_learns_and_ends_in_evaluation_mode(digits: Dataset) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    before = accuracy(network, digits.validation)
    budget = Budget(
        schedule=Schedule(epochs=5, batch_size=32, peak_rate=2e-2),
        seed=0,
        checkpoint=None,
        progress=Silent(),
        task="train",
    )
    train_classifier(network, digits.train, budget)
    assert before < 0.4
    assert accuracy(network, digits.validation) > 0.9
    assert not network.training
