"""The ends of a network in torch do what the spec does in NumPy, with gradients and in ONNX's operators."""

import numpy as np
import pytest
import torch

from obfnet.core.spec import InputSpec
from obfnet.export.wire import WireEnds
from tests.unit.core.test_spec import WIRES, unit_samples

# Scales and offsets are rounded to multiples of 1/4096.
CONSTANTS = 1 / 4096


@pytest.mark.parametrize("spec", WIRES.values(), ids=WIRES)
def test_it_agrees_with_the_spec(spec: InputSpec) -> None:
    unit, ends = unit_samples(spec), WireEnds(spec)
    sent = ends.as_wire(torch.from_numpy(unit)).numpy()
    spec.check(sent)
    np.testing.assert_allclose(sent, spec.to_wire(unit), atol=CONSTANTS, rtol=1e-6)
    back = ends.as_unit(torch.from_numpy(spec.to_wire(unit)))
    assert back.dtype == torch.float32
    np.testing.assert_allclose(back.numpy(), spec.from_wire(spec.to_wire(unit)), atol=CONSTANTS, rtol=1e-6)


@pytest.mark.parametrize("spec", WIRES.values(), ids=WIRES)
def test_it_undoes_itself(spec: InputSpec) -> None:
    unit, ends = torch.from_numpy(unit_samples(spec)), WireEnds(spec)
    torch.testing.assert_close(
        ends.as_unit(ends.as_wire(unit)), unit, rtol=0, atol=0.502 / 255 if spec.dtype == "uint8" else 5e-5
    )


@pytest.mark.parametrize("spec", WIRES.values(), ids=WIRES)
def test_gradients_go_straight_through(spec: InputSpec) -> None:
    unit = torch.full((2, *spec.unit_shape), 0.5, requires_grad=True)
    sent = WireEnds(spec).as_wire(unit, straight=True)
    assert sent.shape == (2, *spec.shape)
    assert sent.dtype == torch.float32
    if spec.dtype == "uint8":
        torch.testing.assert_close(sent.detach(), sent.detach().round(), rtol=0, atol=2e-5)
    (gradient,) = torch.autograd.grad(sent.sum(), unit)
    scale = torch.tensor(spec.channel_scales()[0]).reshape(-1, 1, 1)
    torch.testing.assert_close(gradient, scale.expand_as(gradient), rtol=0, atol=CONSTANTS)


@pytest.mark.parametrize("spec", WIRES.values(), ids=WIRES)
def test_an_exact_way_has_257_levels_and_does_not_round(spec: InputSpec) -> None:
    unit = torch.linspace(0, 1, 4001).reshape(-1, *(1,) * len(spec.unit_shape)).expand(-1, *spec.unit_shape)
    ends = WireEnds(spec, exact=True)
    sent = ends.as_wire(unit)
    spec.check(sent.numpy())
    if spec.is_unit or spec.dtype == "uint8":
        assert torch.equal(sent, WireEnds(spec).as_wire(unit))
        return
    assert len(sent.reshape(len(sent), -1).unique(dim=0)) == 257
    in_double = WireEnds(spec, exact=True).double().as_wire((unit.double() * 256).round() / 256)
    inside = (in_double > spec.low) & (in_double < spec.high)
    assert float(inside.double().mean()) > 0.95
    assert torch.equal(sent.double()[inside], in_double[inside])


def test_its_constants_are_not_saved_with_a_network() -> None:
    assert not WireEnds(WIRES["CHW ImageNet"]).state_dict()
