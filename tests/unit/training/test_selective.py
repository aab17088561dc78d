"""The protection `selective`: two levels, both proved, and a share of rich requests that the device keeps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from obfnet.attacks.known_network import KnownNetwork
from obfnet.bench.parity import measure_parity
from obfnet.bundle import Bundle, Trust, load_or_create_coordinator_key, public_key_text, read_pool, verify
from obfnet.bundle.chance import Leave
from obfnet.bundle.chance_cut import check_budget
from obfnet.bundle.exact import check_exact
from obfnet.core.errors import BackendError, BundleError, UsageError
from obfnet.core.spec import InputSpec, as_unit
from obfnet.data.case import Dataset
from obfnet.edge import Device, ObfuscationSession
from obfnet.edge.graded import obfuscate_graded
from obfnet.edge.meter import BudgetMeter
from obfnet.export import obfuscation_onnx
from obfnet.fitting import Schedule
from obfnet.guarantees.nested_levels import most_bits, poor_cost, rich_cost
from obfnet.nets.coded import CodedObfuscation
from obfnet.nets.convolutional_obfuscation import ConvolutionalObfuscation
from obfnet.nets.cost import count_macs
from obfnet.nets.residual import ResidualNetwork
from obfnet.training.classifier import answers
from obfnet.training.frozen import FrozenNetwork
from obfnet.training.inference import InferenceNetwork
from obfnet.training.obfuscation import PoolSettings, train_obfuscation
from obfnet.training.protections import PROTECTIONS, Batch, Purpose
from obfnet.training.selective import Selective

BITS, SHARE, WORD = 17, 0.2, 8


@pytest.fixture(scope="module")
def folder(digits: Dataset, inference: InferenceNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("selective")
    settings = PoolSettings(
        architecture="mlp",
        hidden=64,
        protection="selective",
        bits=BITS,
        rich_share=SHARE,
        count=1,
        schedule=Schedule(epochs=20),
    )
    key = load_or_create_coordinator_key(home / "key")
    train_obfuscation(digits, inference, out=home / "pool", key=key, settings=settings, place="cpu")
    return home / "pool"


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    key = load_or_create_coordinator_key(folder.parent / "key")
    return read_pool(folder, trust=Trust(explicit=(public_key_text(key),))).bundles[0]


def test_both_ceilings_are_in_the_bundle_and_proved(folder: Path, bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert (manifest.budget_bits, manifest.poor_bits, manifest.rich_share) == (BITS, WORD, SHARE)
    key = load_or_create_coordinator_key(folder.parent / "key")
    found = verify(folder, trust=Trust(explicit=(public_key_text(key),)))
    assert {"budget-cut", "budget-exact"} <= {check.step for check in found.checks if check.made}
    assert found.to_dict()["bundles"][0]["poor_bits"] == WORD


def test_about_the_share_of_samples_is_unsure_and_the_answer_survives(
    bundle: Bundle, digits: Dataset, inference: InferenceNetwork
) -> None:
    session = ObfuscationSession(bundle)
    rich, poor = (session.obfuscate(digits.test.samples, rich=leave) for leave in (True, False))
    differing = (rich != poor).reshape(len(rich), -1).any(axis=1).mean()
    assert SHARE / 3 < differing < SHARE * 3
    assert len(np.unique(poor.reshape(len(poor), -1), axis=0)) <= 2**WORD
    right = answers(inference.network, digits.test.samples, through=session.obfuscate) == digits.test.labels
    assert right.mean() > 0.7


def test_without_a_word_an_audit_sees_the_rich_level_in_every_engine(bundle: Bundle, digits: Dataset) -> None:
    sent = as_unit(ObfuscationSession(bundle).obfuscate(digits.test.samples))
    known, raw = KnownNetwork.of(bundle), as_unit(digits.test.samples)
    with torch.no_grad():
        by_torch = known.differentiable()(torch.from_numpy(raw)).numpy()
    for other in (known.obfuscate(raw), by_torch):
        same = (np.abs(other - sent) < 1e-6).reshape(len(sent), -1).all(axis=1)
        assert same.mean() > 0.98


def test_an_audit_scores_what_a_device_sends_that_keeps_the_share(bundle: Bundle, digits: Dataset) -> None:
    session, meter = ObfuscationSession(bundle), BudgetMeter("pool")
    rich, poor = (session.obfuscate(digits.test.samples, rich=leave) for leave in (True, False))
    needed = (rich != poor).reshape(len(rich), -1).any(axis=1)
    # As many unsure samples as sure ones, which is more than the share allows; sorted, as in many files.
    unsure, sure = np.flatnonzero(needed), np.flatnonzero(~needed)
    samples = digits.test.samples[np.concatenate([unsure, sure[: len(unsure)]])]
    came = np.random.default_rng(0).permutation(len(samples))
    by_device = obfuscate_graded(samples[came], [(session, bundle.manifest)] * len(samples), meter)
    known = KnownNetwork.of(bundle)
    scored = known.in_turn(as_unit(samples))
    assert np.array_equal(scored[:][came], as_unit(by_device))
    assert np.array_equal(scored[7:9], scored[:][7:9])
    assert not np.array_equal(scored[:], known.obfuscate(as_unit(samples)))
    assert len(known.in_turn(as_unit(samples[:0]))) == 0


def test_engines_and_batches_agree_on_the_rich_level(bundle: Bundle, digits: Dataset) -> None:
    found = measure_parity(bundle, digits.test.samples)
    assert found["samples"] == len(digits.test.labels)
    # Rounding before a sign may turn a few; leave forgotten in one of them would be a fifth.
    assert max(found["in_batches"], found["torch"]) <= 0.02 * found["samples"]


def test_a_device_keeps_the_share_and_counts_what_it_sends(
    bundle: Bundle, digits: Dataset, tmp_path: Path
) -> None:
    session, samples = ObfuscationSession(bundle), digits.test.samples[:150]
    rich, poor = (session.obfuscate(samples, rich=leave) for leave in (True, False))
    needed = (rich != poor).reshape(len(rich), -1).any(axis=1)
    # Those that need it, all in a row: more than the share allows.
    samples = np.concatenate([samples[needed], samples[~needed]])
    expected_poor = np.concatenate([poor[needed], poor[~needed]])
    sent_rich = 0
    for start in range(0, len(samples), 10):
        # A meter made anew from its file goes on where it was.
        meter = BudgetMeter("pool", path=tmp_path / "meter.json")
        part = samples[start : start + 10]
        sent = obfuscate_graded(part, [(session, bundle.manifest)] * len(part), meter)
        sent_rich += int((sent != expected_poor[start : start + 10]).reshape(len(part), -1).any(axis=1).sum())
        assert meter.rich == sent_rich <= SHARE * meter.requests + 1
    assert 0 < sent_rich < needed.sum()
    poor_least, poor_most = (poor_cost(WORD, SHARE, permitted=leave) for leave in (False, True))
    paid = meter.spent_bits - sent_rich * rich_cost(BITS, SHARE)
    others = len(samples) - sent_rich
    assert others * poor_least - 1e-6 <= paid <= others * poor_most + 1e-6
    assert meter.spent_bits <= most_bits(WORD, BITS, SHARE, requests=len(samples)) + 1e-6


def test_a_device_counts_each_request_by_its_level_before_it_leaves(
    folder: Path, bundle: Bundle, digits: Dataset
) -> None:
    key = load_or_create_coordinator_key(folder.parent / "key")
    samples, meter = digits.test.samples[:12], BudgetMeter("pool")
    with Device(
        folder, "http://127.0.0.1:1", retries=0, trust=Trust(explicit=(public_key_text(key),))
    ) as device:
        for sample in samples:
            with pytest.raises(BackendError):
                device.infer(sample)
        session = ObfuscationSession(bundle)
        obfuscate_graded(samples, [(session, bundle.manifest)] * len(samples), meter)
        assert device.spent_bits == pytest.approx(meter.spent_bits)
        assert device.budget_bits == BITS


SHAPE, LAID_OUT = (3, 32, 32), 17 + 256
SPEC = InputSpec(shape=SHAPE, dtype="uint8", low=0, high=255, layout="CHW", preprocessing="none")


def laid_out(bits: int = LAID_OUT) -> CodedObfuscation:
    torch.manual_seed(0)
    purpose = Purpose(shape=SHAPE, architecture="conv", hidden=24, classes=10)
    network = Selective(bits, rich_share=SHARE).build(purpose)
    assert isinstance(network, CodedObfuscation)
    return network


def test_details_of_a_photograph_are_laid_out_and_both_levels_proved() -> None:
    network = laid_out().eval()
    assert count_macs(network, SHAPE) <= count_macs(ConvolutionalObfuscation(SHAPE, 24), SHAPE)
    graph = obfuscation_onnx(network, SPEC, chance=Leave(16.0, SHARE), width=1, exact=True)
    cut = check_budget(graph, SPEC, LAID_OUT, Leave(16.0, SHARE))
    check_exact(graph, cut)
    assert cut.bits == LAID_OUT
    with pytest.raises(
        BundleError, match="15 bits of a request without leave that the manifest claims, got 16"
    ):
        check_budget(graph, SPEC, LAID_OUT, Leave(15.0, SHARE))


def test_levels_of_a_photograph_give_the_same_bytes_in_any_batch_and_only_one_shows() -> None:
    generator = laid_out().generator
    codes = torch.randint(2, (200, LAID_OUT), generator=torch.Generator().manual_seed(0)).float() * 2 - 1
    codes[:, 16] = torch.where(torch.arange(200) % 2 == 0, 1.0, -1.0)
    codes[1::2, 17:] = -1
    with torch.no_grad():
        whole = generator(codes)
        for size in (1, 7, 100):
            parts = torch.cat([generator(some) for some in codes.split(size)])
            assert parts.numpy().tobytes() == whole.numpy().tobytes()
        assert torch.equal(generator.double()(codes.double()).float(), whole)
        other = codes.clone()
        other[::2, :16] *= -1
        assert torch.equal(generator(other.double()).float(), whole)
        other = codes.clone()
        other[1::2, 17:] = 1
        assert torch.equal(generator(other.double()).float(), whole)


def test_words_and_laid_out_details_are_learnt_together() -> None:
    torch.manual_seed(1)
    asked = ResidualNetwork(SHAPE, 10, widths=(4, 8, 8)).eval().requires_grad_(False)
    protection, network = Selective(LAID_OUT, rich_share=SHARE), laid_out().train()
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    batch = Batch(
        raw=torch.rand(20, 3, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3),
        labels=torch.arange(20) % 10,
    )
    losses = []
    with FrozenNetwork(asked, SHAPE, integer=True, precision="float32", place=torch.device("cpu")) as frozen:
        for _ in range(60):
            outcome = protection.outcome(network, frozen, batch)
            optimiser.zero_grad()
            outcome.loss.backward()
            optimiser.step()
            losses.append(outcome.loss.item())
    assert losses[-1] < 0.7 * losses[0]
    protection.settle(network.eval(), batch.raw)
    with torch.no_grad():
        doubt = network.decide(batch.raw)[:, 16] > 0
    assert 0 < doubt.float().mean() <= 2 * SHARE


def test_details_that_cannot_be_laid_out_are_refused_with_what_can() -> None:
    with pytest.raises(UsageError, match=r"(?s)64 bits.*and 17 besides.*--bits 273 or 337"):
        laid_out(300)


@pytest.mark.parametrize("share", [None, 0.0, 1.0, -0.5, float("nan")])
def test_impossible_shares_are_refused(share: float | None) -> None:
    with pytest.raises(UsageError, match="--rich-share"):
        Selective(16, rich_share=share)


@pytest.mark.parametrize("bits", [None, 0, 2, 5_000])
def test_too_few_bits_and_too_many_are_refused(bits: int | None) -> None:
    with pytest.raises(UsageError):
        Selective(bits, rich_share=0.1)


def test_what_names_the_class_is_the_word_and_not_the_whole_code() -> None:
    labels = np.arange(10)
    assert Selective(33, rich_share=0.1).warning(10, labels) is None
    assert "3 bits name 8 of 10 classes" in str(Selective(8, rich_share=0.1).warning(10, labels))


@pytest.mark.parametrize("name", ["published", "coded", "randomised", "gaussian"])
def test_no_other_protection_takes_a_share(name: str) -> None:
    with pytest.raises(UsageError, match="choose selective or adversarial"):
        PROTECTIONS.get(name)(None if name == "published" else 8, rich_share=0.1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"protection": "selective", "bits": 16, "rich_share": float("nan")},
        {"protection": "randomised", "bits": 16, "epsilon": float("nan")},
        {"protection": "gaussian", "bits": 16, "noise": float("nan")},
    ],
    ids=lambda wrong: str(wrong["protection"]),
)
def test_what_is_no_number_ends_in_one_line_and_leaves_nothing(
    digits: Dataset, inference: InferenceNetwork, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    key = load_or_create_coordinator_key(tmp_path / "key")
    with pytest.raises(UsageError, match="got nan"):
        train_obfuscation(digits, inference, out=tmp_path / "pool", key=key, settings=PoolSettings(**wrong))
    assert not (tmp_path / "pool").exists()
