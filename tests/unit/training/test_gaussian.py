"""The protection `gaussian`: trained, proved, read back, and as noisy on a device as it promises."""

import math

import numpy as np
import pytest
import torch

from obfnet.attacks.known_network import KnownNetwork
from obfnet.bundle import Pool, Trust, load_or_create_coordinator_key, public_key_text, read_pool, verify
from obfnet.bundle.chance import Noise
from obfnet.bundle.chance_cut import check_budget
from obfnet.core.errors import BundleError, UsageError
from obfnet.core.spec import InputSpec, as_unit
from obfnet.data.case import Dataset
from obfnet.edge import ObfuscationSession
from obfnet.export import obfuscation_onnx
from obfnet.fitting import Schedule
from obfnet.nets.channels import NoisyLevels
from obfnet.training.classifier import answers
from obfnet.training.coded import coded_network
from obfnet.training.gaussian import Gaussian
from obfnet.training.inference import InferenceNetwork
from obfnet.training.obfuscation import PoolSettings, train_obfuscation
from obfnet.training.protections import PROTECTIONS, Purpose

BITS, NOISE = 12, 0.5


@pytest.fixture(scope="module")
def pool(digits: Dataset, inference: InferenceNetwork, tmp_path_factory: pytest.TempPathFactory) -> Pool:
    home = tmp_path_factory.mktemp("pool")
    key = load_or_create_coordinator_key(home / "key")
    settings = PoolSettings(
        architecture="mlp",
        protection="gaussian",
        bits=BITS,
        noise=NOISE,
        count=1,
        schedule=Schedule(epochs=15),
    )
    trained = train_obfuscation(digits, inference, out=home / "pool", key=key, settings=settings, place="cpu")
    return read_pool(trained.folder, trust=Trust(explicit=(public_key_text(key),)))


def test_a_bundle_carries_its_noise_and_the_ceiling_that_follows_from_it(pool: Pool) -> None:
    (bundle,) = pool.bundles
    assert (bundle.manifest.protection, bundle.manifest.noise) == ("gaussian", NOISE)
    one = math.log2(1 + 2 / (NOISE * math.sqrt(2 * math.pi)))
    assert bundle.manifest.budget_bits == pytest.approx(math.floor(BITS / one) * one, abs=1e-6)


def test_verify_shows_the_noise_and_no_check_that_it_does_not_make(pool: Pool) -> None:
    found = verify(pool.folder, trust=Trust(explicit=(pool.public_key,)))
    assert found.bundles[0].noise == NOISE
    made = {check.step for check in found.checks if check.made}
    assert "budget-cut" in made
    assert "budget-exact" not in made


def test_no_two_requests_of_a_sample_are_the_same_and_their_mean_is_what_noise_hides(
    pool: Pool, digits: Dataset
) -> None:
    (bundle,) = pool.bundles
    raw = np.repeat(digits.test.samples[:1], 2_000, axis=0)
    sent = as_unit(ObfuscationSession(bundle).obfuscate(raw)).reshape(2_000, -1)
    assert len(np.unique(sent, axis=0)) > 1_900
    known = KnownNetwork(bundle.graph, chance=bundle.manifest.chance)
    by_attacker = known.obfuscate(as_unit(raw)).reshape(2_000, -1)
    error = sent.std(axis=0).max() * math.sqrt(2 / 2_000)
    assert np.abs(sent.mean(axis=0) - by_attacker.mean(axis=0)).max() < 6 * error
    with torch.no_grad():
        still = known.differentiable()(torch.from_numpy(as_unit(raw[:2]))).numpy()
    assert np.array_equal(still[0], still[1])


def test_the_answer_survives_the_noise(pool: Pool, digits: Dataset, inference: InferenceNetwork) -> None:
    session = ObfuscationSession(pool.bundles[0])
    right = answers(inference.network, digits.test.samples, through=session.obfuscate) == digits.test.labels
    assert right.mean() > 0.6


def test_the_channel_adds_the_noise_that_it_is_given_to_whole_levels() -> None:
    torch.manual_seed(0)
    channel = NoisyLevels(0.5).eval()
    decided = torch.tensor([[0.0, 0.5, -9.0, math.nan, math.inf]])
    noise = torch.tensor([[3.0, -2.0, 0.0, 1.0, 0.0]])
    expected = torch.tensor([[3.0, round(64 * math.tanh(0.5)) - 2, -64.0, -63.0, 64.0]]) / 64
    assert torch.equal(channel(decided, noise), expected)
    drawn = channel(torch.zeros(4_000, 2)) * 64
    assert torch.equal(drawn, drawn.round())
    assert drawn.std() == pytest.approx(32, rel=0.05)


@pytest.mark.parametrize("noise", [None, 0.0, -1.0, 0.1, 9.0, math.nan])
def test_an_impossible_noise_is_refused(noise: float | None) -> None:
    with pytest.raises(UsageError, match=r"a noise of 0\.25 to 8 for protection gaussian"):
        Gaussian(8, noise=noise)


def test_noise_with_which_not_one_number_keeps_to_the_budget_is_refused() -> None:
    with pytest.raises(UsageError, match=r"one number keeps to 1 bits, got 1\.38 bits; raise --noise"):
        Gaussian(1, noise=0.5)


@pytest.mark.parametrize("name", ["published", "coded", "adversarial", "randomised"])
def test_noise_with_another_protection_is_refused(name: str) -> None:
    bits = None if name in ("published", "adversarial") else 8
    with pytest.raises(UsageError, match=f"no --noise with protection {name}, got 2"):
        PROTECTIONS.get(name)(bits, noise=2.0)


def test_many_numbers_of_a_photograph_are_laid_out_and_proved() -> None:
    shape, noise = (3, 32, 32), 0.5
    spec = InputSpec(shape=shape, dtype="uint8", low=0, high=255, layout="CHW", preprocessing="none")
    protection = Gaussian(353, noise=noise)
    torch.manual_seed(0)
    network = protection.build(Purpose(shape=shape, architecture="conv", hidden=24, classes=10)).eval()
    assert protection.width == 256
    graph = obfuscation_onnx(network, spec, chance=Noise(noise), width=256)
    one = math.log2(1 + 2 / (noise * math.sqrt(2 * math.pi)))
    cut = check_budget(graph, spec, 256 * one + 1e-6, Noise(noise))
    assert cut.bits == pytest.approx(256 * one, abs=1e-6)
    with pytest.raises(BundleError, match="350 bits"):
        check_budget(graph, spec, 350.0, Noise(noise))


def test_the_noise_of_a_number_stays_near_its_place() -> None:
    torch.manual_seed(0)
    purpose = Purpose(shape=(3, 32, 32), architecture="conv", hidden=24, classes=10)
    network = coded_network(Gaussian(353, noise=0.5).build(purpose)).eval()
    numbers = torch.zeros(2, 256)
    numbers[1, 8 * 3 + 5] = 1.0
    with torch.no_grad():
        first, other = network.generator(numbers)
    rows, columns = torch.where((first != other).any(0))
    assert 8 <= rows.min() <= rows.max() < 20
    assert 16 <= columns.min() <= columns.max() < 28


@pytest.mark.parametrize(("bits", "noise", "wanted"), [(400, 0.5, (353, 441)), (1_024, 0.5, (970, 1_057))])
def test_budgets_that_cannot_be_laid_out_are_refused_with_those_that_can(
    bits: int, noise: float, wanted: tuple[int, int]
) -> None:
    purpose = Purpose(shape=(3, 32, 32), architecture="conv", hidden=24, classes=10)
    with pytest.raises(UsageError, match=f"(?s)a multiple of 64 numbers.*--bits {wanted[0]} or {wanted[1]}"):
        Gaussian(bits, noise=noise).build(purpose)
    for fitting in wanted:
        assert Gaussian(fitting, noise=noise).width % 64 == 0
        Gaussian(fitting, noise=noise).build(purpose)
