"""The protection `randomised`: trained, proved, read back, and as random on a device as it promises."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from obfnet.attacks.known_network import KnownNetwork
from obfnet.bundle import Pool, Trust, load_or_create_coordinator_key, public_key_text, read_pool, verify
from obfnet.core.errors import UsageError
from obfnet.core.spec import as_unit
from obfnet.data.case import Dataset
from obfnet.edge import ObfuscationSession
from obfnet.edge.timing import time_obfuscation
from obfnet.fitting import Schedule
from obfnet.nets.coded import CodedObfuscation
from obfnet.training.classifier import answers
from obfnet.training.inference import InferenceNetwork
from obfnet.training.obfuscation import PoolSettings, TrainedPool, train_obfuscation
from obfnet.training.protections import PROTECTIONS, Purpose
from obfnet.training.randomised import Randomised

BITS, EPSILON = 4, 4 * math.log(9)
# One bit in ten is inverted.
CEILING = BITS * math.log2(1.8)


def trained(digits: Dataset, inference: InferenceNetwork, out: Path, key: Path) -> TrainedPool:
    settings = PoolSettings(
        architecture="mlp",
        protection="randomised",
        bits=BITS,
        epsilon=EPSILON,
        count=2,
        schedule=Schedule(epochs=15),
    )
    return train_obfuscation(
        digits,
        inference,
        out=out,
        key=load_or_create_coordinator_key(key),
        settings=settings,
        place="cpu",
    )


@pytest.fixture(scope="module")
def folder(digits: Dataset, inference: InferenceNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("pool")
    return trained(digits, inference, home / "pool", home / "key").folder


@pytest.fixture
def pool(folder: Path) -> Pool:
    key = load_or_create_coordinator_key(folder.parent / "key")
    return read_pool(folder, trust=Trust(explicit=(public_key_text(key),)))


def test_a_bundle_carries_its_epsilon_and_the_ceiling_that_follows_from_it(pool: Pool) -> None:
    for bundle in pool.bundles:
        assert (bundle.manifest.protection, bundle.manifest.epsilon) == ("randomised", EPSILON)
        assert bundle.manifest.budget_bits == pytest.approx(CEILING)


def test_verify_says_both(folder: Path) -> None:
    key = load_or_create_coordinator_key(folder.parent / "key")
    found = verify(folder, trust=Trust(explicit=(public_key_text(key),)))
    assert (found.epsilon, found.to_dict()["epsilon"]) == (EPSILON, EPSILON)
    assert found.budget_bits == pytest.approx(CEILING)


def test_a_device_sends_one_of_16_samples_each_as_often_as_its_flips_make_it(
    pool: Pool, digits: Dataset
) -> None:
    session = ObfuscationSession(pool.bundles[0])
    sent = session.obfuscate(np.repeat(digits.test.samples[:1], 4_000, axis=0))
    counts = np.sort(np.unique(sent.reshape(4_000, -1), axis=0, return_counts=True)[1])[::-1] / 4_000
    assert 2 < len(counts) <= 2**BITS
    # No two samples may differ by more than e^epsilon in how likely they make a request.
    assert counts[0] == pytest.approx(0.9**BITS, abs=0.04)
    assert counts[1:5] == pytest.approx([0.9**3 * 0.1] * 4, abs=0.02)


def test_an_attacker_draws_its_own_flips_and_knows_the_likeliest(pool: Pool, digits: Dataset) -> None:
    bundle = pool.bundles[0]
    known = KnownNetwork(bundle.graph, chance=bundle.manifest.chance)
    raw = as_unit(np.repeat(digits.test.samples[:1], 500, axis=0))
    assert len(np.unique(known.obfuscate(raw).reshape(500, -1), axis=0)) > 2
    with torch.no_grad():
        still = known.differentiable()(torch.from_numpy(raw)).numpy()
    assert len(np.unique(still.reshape(500, -1), axis=0)) == 1
    values, counts = np.unique(known.obfuscate(raw).reshape(500, -1), axis=0, return_counts=True)
    np.testing.assert_allclose(values[counts.argmax()], still[0].ravel(), atol=1e-6)


def test_the_answer_survives_the_flips(pool: Pool, digits: Dataset, inference: InferenceNetwork) -> None:
    session = ObfuscationSession(pool.bundles[0])
    right = answers(inference.network, digits.test.samples, through=session.obfuscate) == digits.test.labels
    assert right.mean() > 0.5


def test_latency_is_measured_with_flips(pool: Pool, digits: Dataset) -> None:
    times = time_obfuscation(pool.bundles[0], digits.test.samples[:1], calls=20)
    assert min(times.values()) > 0


def test_the_same_settings_give_the_same_bundles(
    digits: Dataset, inference: InferenceNetwork, folder: Path, tmp_path: Path
) -> None:
    again = trained(digits, inference, tmp_path / "pool", folder.parent / "key").folder
    for file in sorted(folder.glob("*.obfnet")):
        assert (again / file.name).read_bytes() == file.read_bytes()


def test_flips_are_drawn_anew_for_every_sample_and_step() -> None:
    torch.manual_seed(0)
    network = Randomised(8, epsilon=4.0).build(
        Purpose(shape=(1, 8, 8), architecture="mlp", hidden=32, classes=10)
    )
    assert isinstance(network, CodedObfuscation)
    decided = torch.ones(2_000, 8)
    first, second = (network.eval().code(decided) for _ in range(2))
    assert not torch.equal(first, second)
    assert (first < 0).float().mean() == pytest.approx(1 / (1 + math.exp(0.5)), abs=0.02)


@pytest.mark.parametrize("epsilon", [None, 0.0, -1.0, 2e3, math.nan])
def test_an_impossible_epsilon_is_refused(epsilon: float | None) -> None:
    with pytest.raises(UsageError, match="an epsilon above 0 and at most 1000 for protection randomised"):
        Randomised(8, epsilon=epsilon)


@pytest.mark.parametrize("bits", [None, 0, 257])
def test_an_impossible_code_is_refused(bits: int | None) -> None:
    with pytest.raises(UsageError, match="a code of 1 to 256 bits for protection randomised"):
        Randomised(bits, epsilon=1.0)


@pytest.mark.parametrize("name", ["published", "coded", "adversarial"])
def test_an_epsilon_without_flips_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"no --epsilon with protection {name}, got 2"):
        PROTECTIONS.get(name)(8 if name == "coded" else None, epsilon=2.0)
