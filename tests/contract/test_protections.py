"""Every protection builds each architecture and trains O alone; one row a protection."""

import math
from typing import Any

import pytest
import torch

from obfnet.core.errors import UnknownNameError
from obfnet.nets import INFERENCE_ARCHITECTURES, OBFUSCATION_ARCHITECTURES
from obfnet.training.protections import PROTECTIONS, Batch, Protection, Purpose

SHAPE = (1, 20, 45)
# Name, limits asked for, ceiling of what a request can leak in bits.
ROWS: dict[str, tuple[dict[str, Any], float | None]] = {
    "published": ({}, None),
    "coded": ({"bits": 6}, 6.0),
    "adversarial": ({}, None),
    # Each bit is inverted one time in four.
    "randomised": ({"bits": 6, "epsilon": 6 * math.log(3)}, 6 * math.log2(1.5)),
    # Six numbers of 129 values.
    "gaussian": ({"bits": 9, "noise": 0.5}, 6 * math.log2(1 + 2 / (0.5 * math.sqrt(2 * math.pi)))),
    "selective": ({"bits": 9, "rich_share": 0.25}, 9.0),
}


def made(name: str) -> Protection:
    protection: Protection = PROTECTIONS.get(name)(**ROWS[name][0])
    return protection


def purpose(architecture: str) -> Purpose:
    return Purpose(shape=SHAPE, architecture=architecture, hidden=12, classes=10, attribute_values=3)


def batch(count: int) -> Batch:
    return Batch(
        raw=torch.rand(count, *SHAPE), labels=torch.arange(count) % 10, attribute=torch.arange(count) % 3
    )


def test_every_protection_has_a_row() -> None:
    assert PROTECTIONS.names() == list(ROWS)


def test_an_unknown_protection_lists_the_known_ones() -> None:
    with pytest.raises(
        UnknownNameError, match="known: published, coded, adversarial, randomised, gaussian, selective"
    ):
        PROTECTIONS.get("magic")


@pytest.mark.parametrize("name", ROWS)
def test_a_protection_says_its_name_and_its_ceiling(name: str) -> None:
    protection = made(name)
    limits, ceiling = ROWS[name]
    assert (protection.name, protection.epsilon) == (name, limits.get("epsilon"))
    assert protection.noise == limits.get("noise")
    assert protection.budget_bits == pytest.approx(ceiling, abs=1e-6)


@pytest.mark.parametrize("architecture", OBFUSCATION_ARCHITECTURES.names())
@pytest.mark.parametrize("name", ROWS)
def test_gradients_reach_O_and_never_I(name: str, architecture: str) -> None:  # noqa: N802
    torch.manual_seed(0)
    protection = made(name)
    inference = INFERENCE_ARCHITECTURES.get("cnn")(SHAPE, 10).eval().requires_grad_(False)
    network = protection.build(purpose(architecture))
    some = batch(16)
    obfuscated = protection.obfuscation_of(network)(some.raw)
    assert obfuscated.shape == some.raw.shape
    assert 0 <= obfuscated.min() <= obfuscated.max() <= 1
    outcome = protection.outcome(network, inference, some)
    loss = outcome.loss
    assert len(outcome.seen) == 16
    assert loss.shape == ()
    assert loss.isfinite()
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(value.grad is not None and value.grad.isfinite().all() for value in network.parameters())
    assert any(value.grad.abs().max() > 0 for value in network.parameters() if value.grad is not None)
    assert all(value.grad is None for value in inference.parameters())


@pytest.mark.parametrize("name", ROWS)
def test_the_random_state_decides_the_network(name: str) -> None:
    def built(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        network = made(name).build(purpose("mlp"))
        return torch.cat([value.flatten() for value in network.parameters()])

    assert torch.equal(built(1), built(1))
    assert not torch.equal(built(1), built(2))


@pytest.mark.parametrize("name", ROWS)
def test_a_few_steps_make_the_loss_smaller(name: str) -> None:
    torch.manual_seed(0)
    protection = made(name)
    inference = INFERENCE_ARCHITECTURES.get("mlp")(SHAPE, 10).eval().requires_grad_(False)
    network = protection.build(purpose("mlp"))
    some = batch(32)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = protection.outcome(network, inference, some).loss
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.99 * losses[0]
