"""A digit recogniser that nobody here trained: the LeNet-5 of advertorch 0.2.3, as its authors left it.

    pip download --no-deps --no-binary :all: advertorch==0.2.3
    obfnet data export mnist --part test --most 1000 --out pictures/
    PYTHONPATH=examples obfnet protect --model advertorch_digits:build --data pictures/ --bits 16 --out pool/

The package itself is not installed: it asks for a torch of 2019.
"""

import hashlib
import io
import tarfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

ARCHIVE = "advertorch-0.2.3.tar.gz"
# What the authors published; the weights in it are a pickle, which torch reads here as plain tensors only.
SHA256 = "ca92a14b0521ae0f9bfa8100d37e47cb741ede1f1411fbaf9182ddebc7062dce"
WEIGHTS = "advertorch-0.2.3/advertorch_examples/trained_models/mnist_lenet5_clntrained.pt"


class LeNet5(nn.Module):
    """Its layers, under the names that they have in the file."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.linear1 = nn.Linear(64 * 7 * 7, 200)
        self.linear2 = nn.Linear(200, 10)

    def forward(self, digits: Tensor) -> Tensor:
        """`(N, 1, 28, 28)` in [0, 1] to `(N, 10)` scores."""
        features = functional.max_pool2d(self.conv1(digits).relu(), 2)
        features = functional.max_pool2d(self.conv2(features).relu(), 2)
        scores: Tensor = self.linear2(self.linear1(features.flatten(1)).relu())
        return scores


def build() -> nn.Module:
    """The network with its authors' weights, from the archive in the current folder."""
    data = Path(ARCHIVE).read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise ValueError(f"{ARCHIVE} is not the one that was published")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        file = archive.extractfile(WEIGHTS)
        if file is None:
            raise FileNotFoundError(WEIGHTS)
        weights = torch.load(io.BytesIO(file.read()), map_location="cpu", weights_only=True)
    network = LeNet5()
    network.load_state_dict(weights)
    return network
