"""A small inference network on the bundled digits, and a coordinator's key that is always the same."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from obfnet.data.cases import Dataset, load_case
from obfnet.fitting import Schedule
from obfnet.training.inference import InferenceNetwork, train_inference

SCHEDULE = Schedule(epochs=6, batch_size=64, peak_rate=4e-3)


@pytest.fixture(scope="package")
def digits() -> Dataset:
    return load_case("digits")


@pytest.fixture(scope="package")
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture(scope="package")
def inference(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> InferenceNetwork:
    folder = tmp_path_factory.mktemp("inference")
    return train_inference(digits, out=folder, architecture="mlp", schedule=SCHEDULE)
