import pytest
import torch
from torch import nn

from obfnet.nets.mode import borrowed, evaluating


def network() -> nn.Sequential:
    made = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(), nn.Linear(2, 2)))
    made[1].eval()
    made[1][1].bias.requires_grad_(False)
    return made


def modes(made: nn.Module) -> list[bool]:
    return [module.training for module in made.modules()]


def wanted(made: nn.Module) -> list[bool]:
    return [parameter.requires_grad for parameter in made.parameters()]


def test_each_module_gets_its_own_mode_back() -> None:
    made = network()
    before = modes(made)
    with evaluating(made):
        assert not any(modes(made))
    assert modes(made) == before == [True, True, False, False, False]


def test_a_borrowed_network_learns_nothing_and_is_given_back_as_it_came() -> None:
    made = network()
    samples = torch.ones(1, 2, requires_grad=True)
    with borrowed(made):
        assert not any(modes(made))
        assert not any(wanted(made))
        made(samples).sum().backward()
    assert samples.grad is not None
    assert all(parameter.grad is None for parameter in made.parameters())
    assert modes(made) == [True, True, False, False, False]
    assert wanted(made) == [True, True, True, False]


def test_it_is_given_back_after_an_error_too() -> None:
    made = network()
    with pytest.raises(ZeroDivisionError), borrowed(made):
        raise ZeroDivisionError
    assert modes(made) == [True, True, False, False, False]
    assert wanted(made) == [True, True, True, False]


def test_loans_may_be_nested() -> None:
    made = network()
    with borrowed(made):
        with borrowed(made):
            pass
        assert not any(wanted(made))
    assert wanted(made) == [True, True, True, False]
