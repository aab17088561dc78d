"""The white-box search undoes what can be undone, steps and signs included, and finds nothing in nothing."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from obfnet.attacks import WhiteBox
from obfnet.attacks.inversion import Inversion
from obfnet.attacks.known_network import KnownNetwork
from obfnet.core.errors import AttackError
from obfnet.core.progress import Silent
from obfnet.core.spec import InputSpec
from obfnet.export import obfuscation_onnx
from obfnet.nets.obfuscation import ObfuscationMLP
from tests.unit.attacks.hand_made import I64, F, graph
from tests.unit.attacks.small_pairs import ANSWERED, LABELS, RAW, SCORED, mean_mse, mean_ssim

Samples = np.ndarray[Any, Any]
SHAPE = (1, 16, 16)
ASKED = 60
EFFORT = 0.12


def number(value: float) -> Samples:
    return np.array(value, np.float32)


def published() -> bytes:
    torch.manual_seed(0)
    spec = InputSpec(shape=SHAPE, dtype="float32", low=0, high=1, layout="CHW", preprocessing="none")
    return obfuscation_onnx(ObfuscationMLP(SHAPE, 32), spec)


NETWORKS: dict[str, Callable[[], bytes]] = {
    "identity": lambda: graph([("Identity", ["x"], {})], SHAPE),
    "16 levels": lambda: graph(
        [("Mul", ["x", "a"], {}), ("Round", ["x"], {}), ("Div", ["x", "a"], {})], SHAPE, a=number(15)
    ),
    "16 levels by table": lambda: graph(
        [("Mul", ["x", "a"], {}), ("Cast", ["x"], {"to": I64}), ("Gather", ["w", "x"], {})],
        SHAPE,
        a=number(15.99),
        w=np.linspace(0.9, 0.1, 16).astype(np.float32),
    ),
    "sign": lambda: graph(
        [("Sub", ["x", "a"], {}), ("Sign", ["x"], {}), ("Mul", ["x", "a"], {}), ("Add", ["x", "a"], {})],
        SHAPE,
        a=number(0.5),
    ),
    "comparison": lambda: graph(
        [("Greater", ["x", "a"], {}), ("Cast", ["x"], {"to": F})], SHAPE, a=number(0.5)
    ),
    "signs of a projection": lambda: graph(
        [("Sub", ["x", "a"], {}), ("Flatten", ["x"], {}), ("MatMul", ["x", "w"], {}), ("Sign", ["x"], {})],
        SHAPE,
        a=number(0.3),
        w=np.random.default_rng(0).normal(size=(256, 128)).astype(np.float32),
    ),
    "published": published,
    "constant": lambda: graph(
        [("Mul", ["x", "a"], {}), ("Add", ["x", "b"], {})], SHAPE, a=number(0), b=number(0.5)
    ),
}


@cache
def network_of(name: str) -> KnownNetwork:
    return KnownNetwork(NETWORKS[name]())


def inverted(name: str, *, seed: int = 0, count: int | None = None, effort: float = EFFORT) -> Samples:
    network = network_of(name)
    raw, labels = RAW[:count], LABELS[:count]
    known = WhiteBox(received=network.obfuscate(raw), raw=raw, labels=labels, network=network)
    known.forbid_overlap(SCORED)
    attacker = Inversion(effort=effort).fit(known, seed=seed, progress=Silent())
    return attacker(network.obfuscate(SCORED[:ASKED]), ANSWERED[:ASKED])


def padded(guess: Samples) -> Samples:
    # The scores are of all scored samples: the others count as exact.
    return np.concatenate([guess, SCORED[len(guess) :]])


def label_means() -> Samples:
    return np.stack([RAW[label == LABELS].mean(axis=0) for label in ANSWERED[:ASKED]])


def error(guess: Samples) -> float:
    return mean_mse(padded(guess)) * len(SCORED) / ASKED


def likeness(guess: Samples) -> float:
    return 1 - (1 - mean_ssim(padded(guess))) * len(SCORED) / ASKED


# The name, and at most this share of the label mean's squared error.
@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("identity", 0.001),
        ("16 levels", 0.02),
        ("16 levels by table", 0.02),
        ("sign", 0.5),
        ("comparison", 0.5),
        ("signs of a projection", 0.5),
        ("published", 0.5),
    ],
)
def test_it_undoes_what_steps_do_not_hide(name: str, share: float) -> None:
    guess = inverted(name)
    assert (guess.shape, guess.dtype) == ((ASKED, *SHAPE), np.float32)
    assert 0 <= guess.min() <= guess.max() <= 1
    assert error(guess) < share * error(label_means())
    assert likeness(guess) > likeness(label_means()) + 0.1


def test_on_a_constant_it_answers_the_mean_of_the_label() -> None:
    guess = inverted("constant")
    assert likeness(guess) < likeness(label_means()) + 0.01
    for label in np.unique(ANSWERED[:ASKED]):
        assert np.ptp(guess[ANSWERED[:ASKED] == label], axis=0).max() < 1e-5


def test_the_seed_decides_and_more_effort_does_not_harm() -> None:
    guess = inverted("published", count=300)
    np.testing.assert_array_equal(guess, inverted("published", count=300))
    assert not np.array_equal(guess, inverted("published", count=300, seed=1))
    assert error(guess) < error(inverted("published", count=300, effort=0.02)) + 0.001


def test_vectors_are_samples_too_and_an_unknown_label_is_no_obstacle() -> None:
    rng = np.random.default_rng(0)
    raw = rng.random((200, 12), dtype=np.float32)
    network = KnownNetwork(
        graph([("MatMul", ["x", "w"], {})], (12,), w=rng.normal(size=(12, 9)).astype(np.float32))
    )
    known = WhiteBox(received=network.obfuscate(raw), raw=raw, labels=np.arange(200) % 2, network=network)
    attacker = Inversion(effort=EFFORT).fit(known, seed=0, progress=Silent())
    asked = rng.random((9, 12), dtype=np.float32)
    guess = attacker(network.obfuscate(asked), np.array([0, 1, 7] * 3))
    assert guess.shape == (9, 12)
    assert ((guess - asked) ** 2).mean() < 0.6 * asked.var()
    assert attacker(network.obfuscate(asked[:0]), np.empty(0, np.int64)).shape == (0, 12)


def test_pairs_alone_are_not_enough() -> None:
    known = WhiteBox(received=RAW, raw=RAW, labels=LABELS)
    with pytest.raises(AttackError, match="the obfuscation network itself, got pairs only"):
        Inversion().fit(known, seed=0, progress=Silent())


def test_too_few_pairs_are_refused() -> None:
    network = network_of("identity")
    known = WhiteBox(received=RAW[:19], raw=RAW[:19], labels=LABELS[:19], network=network)
    with pytest.raises(AttackError, match="at least 20 pairs, got 19"):
        Inversion().fit(known, seed=0, progress=Silent())


def test_another_networks_output_is_refused() -> None:
    network = network_of("signs of a projection")
    known = WhiteBox(received=RAW, raw=RAW, labels=LABELS, network=network)
    with pytest.raises(AttackError, match=r"the network's own shape \(128,\), got \(1, 16, 16\)"):
        Inversion(effort=EFFORT).fit(known, seed=0, progress=Silent())
