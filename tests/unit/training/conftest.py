"""A small inference network on the bundled digits, a pool against it, and a key that is always the same."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from obfnet.data.cases import Dataset, load_case
from obfnet.fitting import Schedule
from obfnet.training.inference import InferenceNetwork, train_inference
from obfnet.training.obfuscation import PoolSettings, TrainedPool, train_obfuscation

SCHEDULE = Schedule(epochs=6, batch_size=64, peak_rate=4e-3)
SETTINGS = PoolSettings(hidden=24, count=2, schedule=Schedule(epochs=12, batch_size=64, peak_rate=1e-2))


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


@pytest.fixture(scope="package")
def pool(
    digits: Dataset,
    inference: InferenceNetwork,
    key: Ed25519PrivateKey,
    tmp_path_factory: pytest.TempPathFactory,
) -> TrainedPool:
    folder = tmp_path_factory.mktemp("pool")
    return train_obfuscation(digits, inference, out=folder, key=key, settings=SETTINGS)
