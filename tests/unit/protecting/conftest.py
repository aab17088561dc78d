import numpy as np
import pytest
import torch
from torch import nn

from obfnet import load_case
from obfnet.core.spec import as_unit


@pytest.fixture(scope="session")
def digits_model() -> nn.Module:
    """Somebody's classifier of digits, which takes them in [-1, 1] and is left in training mode."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(256, 10),
    )
    train = load_case("digits").train
    samples = torch.from_numpy(as_unit(train.samples[:])) * 2 - 1
    labels = torch.tensor(np.array(train.labels))
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(25):
        for rows in torch.randperm(len(samples)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(samples[rows]), labels[rows]).backward()
            optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return model
