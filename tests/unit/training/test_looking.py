"""What is compared of raw and obfuscated samples: what the inference network sees, and what it answers."""

import pytest
import torch
from torch import nn

from obfnet.training.frozen import FrozenNetwork
from obfnet.training.looking import at_size, sight_of, unlike

SHAPE = (1, 4, 4)


def frozen(network: nn.Module) -> FrozenNetwork:
    place = torch.device("cpu")
    return FrozenNetwork(network.eval(), SHAPE, integer=False, precision="float32", place=place)


def test_it_is_what_a_slow_one_counts() -> None:
    torch.manual_seed(0)
    first, last = nn.Linear(16, 6), nn.Linear(6, 3)
    raw, sent = torch.rand(5, *SHAPE), torch.rand(5, *SHAPE)
    with frozen(nn.Sequential(nn.Flatten(), first, last)) as network:
        found = unlike(network, sent, sight_of(network, raw))
    wanted = 0.0
    for row in range(5):
        want, have = last(first(raw[row].flatten())).softmax(0), last(first(sent[row].flatten()))
        wanted -= float((want * have.log_softmax(0)).sum().detach()) / 5
    for layer in (nn.Flatten(), nn.Sequential(nn.Flatten(), first)):
        want, have = layer(raw), layer(sent)
        wanted += float(((want - have) ** 2).mean().detach() / want.var().detach())
    assert float(found.detach()) == pytest.approx(wanted, rel=1e-5)


def test_the_sample_itself_is_least_unlike() -> None:
    torch.manual_seed(0)
    raw = torch.rand(5, *SHAPE)
    with frozen(nn.Sequential(nn.Flatten(), nn.Linear(16, 3))) as network:
        wanted = sight_of(network, raw)
        assert not wanted.answers.requires_grad
        assert unlike(network, raw, wanted).item() < unlike(network, 1 - raw, wanted).item()


def test_of_a_network_without_layers_only_the_answers_are_compared() -> None:
    class Means(nn.Module):
        def forward(self, samples: torch.Tensor) -> torch.Tensor:
            return samples.mean((1, 2))

    raw = torch.rand(5, *SHAPE)
    with frozen(Means()) as network:
        wanted = sight_of(network, raw)
        assert wanted.features == []
        assert float(unlike(network, raw, wanted)) == pytest.approx(
            float(-(wanted.answers * wanted.answers.log()).sum(1).mean())
        )


def test_a_smaller_size_averages_what_is_finer() -> None:
    board = (torch.arange(16)[:, None] + torch.arange(16)) % 2
    samples = board.float().expand(2, 3, 16, 16)
    smaller = at_size(samples, (8, 8))
    assert smaller.shape == (2, 3, 8, 8)
    torch.testing.assert_close(smaller[:, :, 1:-1, 1:-1], torch.full((2, 3, 6, 6), 0.5))
    assert at_size(samples, None) is samples
