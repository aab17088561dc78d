"""A real backend and a real O on the bundled digits, trained in a second: what the model side is tested on.

The inference network learned from few samples, so that it errs often enough to be imitated.
"""

from functools import cache
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from obfnet.data.cases import load_case
from obfnet.data.table import Split
from obfnet.nets.inference import InferenceMLP
from obfnet.nets.obfuscation import ObfuscationMLP

Samples = np.ndarray[Any, Any]
TRAINED_ON: Final = 120
SHAPE: Final = (1, 8, 8)


class TorchObfuscator:
    """An `Obfuscator` that is a torch network."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network.eval()

    def obfuscate(self, raw: Samples) -> Samples:
        with torch.no_grad():
            return self.network(torch.from_numpy(raw)).numpy()

    def differentiable(self) -> nn.Module:
        return self.network


class Backend:
    """I, O, and the samples of everybody: I's and O's, the attacker's, and the scored ones; all disjoint."""

    def __init__(self) -> None:
        digits = load_case("digits")
        train, index = digits.train, np.arange(len(digits.train.labels))
        self.trained_on = train.take(index[:TRAINED_ON])
        self.public, self.scored = train.take(index[TRAINED_ON:]), digits.test
        torch.manual_seed(0)
        self.network = InferenceMLP(SHAPE, 10)
        fit(self.network, self.trained_on, self.network, steps=60)
        obfuscation = ObfuscationMLP(SHAPE, 16)
        fit(nn.Sequential(obfuscation, self.network), self.trained_on, obfuscation, steps=200)
        self.obfuscator = TorchObfuscator(obfuscation)

    def ask(self, samples: Samples) -> Samples:
        with torch.no_grad():
            return self.network(torch.tensor(samples)).numpy()


def fit(network: nn.Module, samples: Split, trained: nn.Module, *, steps: int) -> None:
    """Trains the parameters of `trained` by the answers of `network`."""
    raw, labels = torch.tensor(samples.samples), torch.tensor(samples.labels)
    optimiser = torch.optim.Adam(trained.parameters(), lr=1e-3 if trained is network else 5e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        loss: Tensor = functional.cross_entropy(network(raw), labels)
        loss.backward()
        optimiser.step()
    network.eval()


@cache
def backend() -> Backend:
    """The one of this process."""
    return Backend()
