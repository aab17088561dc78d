"""The trained device-only baseline: within its cost, better than chance, restored and not trained twice."""

import pytest
import torch

from obfnet.core.errors import UsageError
from obfnet.core.progress import Silent
from obfnet.data.cases import load_case
from obfnet.fitting import Schedule
from obfnet.nets.cost import count_macs
from obfnet.training.classifier import accuracy
from obfnet.training.device_only import train_device_only
from obfnet.training.recipes import ClassifierRecipe

RECIPE = ClassifierRecipe(schedule=Schedule(epochs=6))


class Steps(Silent):
    count = 0

    def advance(self, done, note=""):
        self.count += 1


@pytest.fixture(scope="module")
def digits():
    return load_case("digits")


def train(digits, folder, max_macs=12_800, **more):
    steps = Steps()
    settings = {"recipe": RECIPE, "seed": 3, "place": "cpu", **more}
    return train_device_only(digits, max_macs, folder=folder, progress=steps, **settings), steps.count


def test_it_keeps_to_its_cost_and_learns(digits, tmp_path):
    network, _ = train(digits, tmp_path)
    assert count_macs(network, (1, 8, 8)) <= 12_800
    assert accuracy(network, digits.test) > 0.8


def test_the_same_settings_are_not_trained_twice(digits, tmp_path):
    first, steps = train(digits, tmp_path)
    again, none = train(digits, tmp_path)
    other, more = train(digits, tmp_path, seed=4)
    assert (steps > 0, none, more) == (True, 0, steps)
    weights = [network.state_dict()["layers.0.weight"] for network in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_cost_below_every_classifier_is_refused(digits, tmp_path):
    with pytest.raises(UsageError, match="a budget for a classifier"):
        train(digits, tmp_path, max_macs=10)
