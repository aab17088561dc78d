"""The protection `adversarial`: opponents that learn, a reversed gradient, and what a device gets."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from obfnet.core.errors import UsageError
from obfnet.nets.cost import count_parameters
from obfnet.training.adversarial import _REFRESHED, Adversarial, _Opposed
from obfnet.training.opponents import ConnectedOpponent, ConvolutionalOpponent
from obfnet.training.protections import Batch, Purpose
from obfnet.training.published import Published

SHAPE = (1, 8, 8)


def purpose(shape: tuple[int, int, int] = SHAPE, values: int = 2) -> Purpose:
    return Purpose(shape=shape, architecture="mlp", hidden=32, classes=4, attribute_values=values)


def samples(count: int = 64, shape: tuple[int, int, int] = SHAPE) -> Batch:
    """The label is in the first row of a sample, the attribute in the last."""
    generator = torch.Generator().manual_seed(0)
    labels, attribute = torch.arange(count) % 4, (torch.arange(count) // 4) % 2
    raw = torch.rand(count, *shape, generator=generator) * 0.2
    raw[:, :, 0] += 0.2 * labels[:, None, None]
    raw[:, :, -1] += 0.6 * attribute[:, None, None]
    return Batch(raw=raw, labels=labels, attribute=attribute)


def answer(sent: torch.Tensor) -> torch.Tensor:
    """A frozen network that reads the label off the first row."""
    level = sent[:, :, 0].mean((1, 2))[:, None]
    return -200 * (level - torch.tensor([0.1, 0.3, 0.5, 0.7])) ** 2


def trained(protection: Adversarial | Published, steps: int = 400) -> nn.Module:
    torch.manual_seed(0)
    network, batch = protection.build(purpose()), samples()
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        protection.outcome(network, answer, batch).loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return protection.obfuscation_of(network).eval()


def recognised(network: nn.Module) -> float:
    """How well a fresh recogniser names the attribute from what is sent."""
    batch = samples()
    with torch.no_grad():
        sent = network(batch.raw).flatten(1)
    torch.manual_seed(1)
    probe = nn.Linear(sent.shape[1], 2)
    optimiser = torch.optim.Adam(probe.parameters(), lr=1e-2)
    for _ in range(300):
        optimiser.zero_grad()
        assert batch.attribute is not None
        nn.functional.cross_entropy(probe(sent), batch.attribute).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return float((probe(sent).argmax(1) == batch.attribute).float().mean())


def test_a_device_gets_the_network_without_its_opponents() -> None:
    protection = Adversarial()
    network = protection.build(purpose())
    sent = protection.obfuscation_of(network)
    assert count_parameters(sent) == count_parameters(Published().build(purpose()))
    assert count_parameters(network) > count_parameters(sent)


def test_opponents_learn_and_the_network_is_pushed_the_other_way() -> None:
    protection = Adversarial()
    torch.manual_seed(0)
    network = protection.build(purpose())
    assert isinstance(network, _Opposed)
    batch = samples()
    outcome = protection.outcome(network, answer, batch)
    own = Published().outcome(network.obfuscation, answer, batch)
    first = network.obfuscation.get_parameter(
        next(name for name, _ in network.obfuscation.named_parameters())
    )
    (with_opponents,) = torch.autograd.grad(outcome.loss, first, retain_graph=True)
    (without,) = torch.autograd.grad(own.loss, first)
    pushed = with_opponents - without
    # One step along what O is pushed to makes the opponents' loss larger.
    opponent = network.opponents[0]
    with torch.no_grad():
        before = float(opponent.loss(network(batch.raw), batch))  # type: ignore[operator]
        first -= 0.05 * pushed / pushed.norm()
        after = float(opponent.loss(network(batch.raw), batch))  # type: ignore[operator]
    assert after > before


def test_the_attribute_is_harder_to_name_than_from_published() -> None:
    published, adversarial = trained(Published()), trained(Adversarial())
    assert recognised(published) > 0.95
    assert recognised(adversarial) < recognised(published)


def test_opponents_start_afresh_in_turns() -> None:
    protection = Adversarial()
    network = protection.build(purpose())
    assert isinstance(network, _Opposed)
    before = [opponent.rebuild.weight.clone() for opponent in network.opponents]  # type: ignore[union-attr]
    for expected in ([True, False], [True, True]):
        network.steps += _REFRESHED - 1
        network.refresh()
        same = [
            torch.equal(opponent.rebuild.weight, old)  # type: ignore[union-attr, arg-type]
            for opponent, old in zip(network.opponents, before, strict=True)
        ]
        assert sum(same) == 2 - sum(expected)


def test_with_bits_it_has_the_ceiling_of_the_code() -> None:
    protection = Adversarial(6)
    assert protection.budget_bits == 6
    assert Adversarial().budget_bits is None
    network = protection.build(purpose((1, 28, 28))).train()
    assert protection.outcome(network, answer, samples(shape=(1, 28, 28))).seen.shape == (64, 6)
    assert protection.warning(100, np.arange(100)) is not None
    with pytest.raises(UsageError, match="a code of 1 to 4096 bits"):
        Adversarial(0)


def test_large_samples_and_cases_without_an_attribute_do_too() -> None:
    protection = Adversarial()
    large = Purpose(shape=(3, 70, 90), architecture="conv", hidden=4, classes=4)
    network = protection.build(large)
    batch = Batch(raw=torch.rand(2, 3, 70, 90), labels=torch.tensor([0, 1]))
    assert protection.outcome(network, answer, batch).loss.isfinite()


@pytest.mark.parametrize(
    ("bits", "share", "seen", "places"),
    [
        (None, None, (3, 32, 32), (3, 32, 32)),
        (256, None, (256,), (4, 8, 8)),
        (273, 0.3, (273,), (4, 8, 8)),
        (8, None, (8,), None),
    ],
)
def test_photographs_are_opposed_by_convolutions_too(
    bits: int | None, share: float | None, seen: tuple[int, ...], places: tuple[int, ...] | None
) -> None:
    photographs = Purpose(shape=(3, 32, 32), architecture="conv", hidden=24, classes=4)
    network = Adversarial(bits, rich_share=share).build(photographs)
    assert isinstance(network, _Opposed)
    kinds = [type(opponent) for opponent in network.opponents]
    assert kinds == [ConnectedOpponent, ConvolutionalOpponent if places else ConnectedOpponent]
    batch = Batch(raw=torch.rand(8, 3, 32, 32), labels=torch.arange(8) % 4)
    for opponent in network.opponents:
        loss = opponent.loss(torch.rand(8, *seen), batch)  # type: ignore[operator]
        assert loss.shape == ()
        assert loss.isfinite()
    if places:
        assert network.opponents[1].seen == places  # type: ignore[union-attr]


def test_a_convolutional_opponent_sees_each_pixel_and_each_placed_bit() -> None:
    torch.manual_seed(0)
    for seen, raw in (
        ((3, 33, 32), (3, 33, 32)),
        ((4, 8, 8), (3, 32, 32)),
        ((4, 32, 32), (3, 128, 128)),
        ((2, 45, 45), (3, 180, 180)),
    ):
        opponent, values = ConvolutionalOpponent(seen=seen, raw=raw, values=0), math.prod(seen)
        # What comes before has no place, and is left out.
        before = 0 if seen == raw else 5
        view = torch.rand(2, before + values, requires_grad=True)
        guess, _ = opponent.eval()(view if before else view.reshape(2, *seen))
        guess.square().sum().backward()
        assert view.grad is not None
        touched = view.grad.abs().sum(0) > 0
        assert touched[before:].all()
        assert not touched[:before].any()


def test_what_has_stayed_in_its_place_is_rebuilt_by_convolutions() -> None:
    torch.manual_seed(0)
    opponent = ConvolutionalOpponent(seen=(3, 32, 32), raw=(3, 32, 32), values=0)
    optimiser = torch.optim.Adam(opponent.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        batch = Batch(raw=torch.rand(16, 3, 32, 32), labels=torch.zeros(16, dtype=torch.int64))
        loss = opponent.loss(1 - batch.raw, batch)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    opponent.restart()
    assert opponent.loss(1 - batch.raw, batch).item() > 0.9


def test_a_share_of_rich_requests_makes_it_selective() -> None:
    protection = Adversarial(9, rich_share=0.25)
    assert (protection.budget_bits, protection.poor_bits, protection.rich_share) == (9, 4, 0.25)
    assert protection.width == 1
    torch.manual_seed(0)
    network = protection.build(purpose()).train()
    assert protection.outcome(network, answer, samples()).seen.shape == (64, 9)
    protection.settle(network.eval(), samples().raw)
    sent = protection.obfuscation_of(network)
    assert float(sent.encoder.border) < 1  # type: ignore[arg-type, union-attr]
    for bits, share in ((None, 0.25), (5_000, None), (8, 1.5)):
        with pytest.raises(UsageError, match="under adversarial, got"):
            Adversarial(bits, rich_share=share)


def test_fresh_weights_do_not_depend_on_what_is_trained_beside() -> None:
    def restarted(together: int) -> list[torch.Tensor]:
        torch.manual_seed(0)
        opponents = [ConvolutionalOpponent(seen=(3, 8, 8), raw=(3, 8, 8), values=0) for _ in range(3)]
        with ThreadPoolExecutor(together) as pool:
            for _ in range(3):
                list(pool.map(lambda one: one.restart(), opponents))
        return [opponent.rebuild.weight.detach() for opponent in opponents]

    alone, beside = restarted(1), restarted(3)
    assert all(torch.equal(one, other) for one, other in zip(alone, beside, strict=True))
    assert not torch.equal(alone[0], alone[1])


def test_fresh_weights_are_drawn_as_torch_draws_them() -> None:
    torch.manual_seed(0)
    opponent = ConnectedOpponent(seen=(1, 20, 20), raw=(1, 20, 20), values=3)
    new = {name: value.detach().clone() for name, value in opponent.named_parameters()}
    opponent.restart()
    for name, value in opponent.named_parameters():
        assert not torch.equal(value, new[name])
        if value.numel() > 1_000:
            assert value.abs().max().item() == pytest.approx(new[name].abs().max().item(), rel=0.02)
            assert value.std().item() == pytest.approx(new[name].std().item(), rel=0.05)
