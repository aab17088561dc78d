"""An attacker's copy of a network answers as the device does, in the attacker's unit, and has gradients."""

import pickle

import numpy as np
import pytest
import torch

from obfnet.attacks.known_network import KnownNetwork
from obfnet.core.errors import AttackError
from obfnet.core.spec import InputSpec, as_unit
from obfnet.export import obfuscation_onnx
from obfnet.nets.obfuscation import ObfuscationMLP

SHAPE = (1, 8, 8)
RAW = np.random.default_rng(0).random((300, *SHAPE), dtype=np.float32)


def network() -> ObfuscationMLP:
    torch.manual_seed(3)
    return ObfuscationMLP(SHAPE, 12)


def exported(dtype: str) -> bytes:
    high = 255 if dtype == "uint8" else 1
    spec = InputSpec(shape=SHAPE, dtype=dtype, low=0, high=high, layout="CHW", preprocessing="none")
    return obfuscation_onnx(network(), spec)


@pytest.fixture(scope="module")
def known() -> dict[str, KnownNetwork]:
    return {dtype: KnownNetwork(exported(dtype)) for dtype in ("float32", "uint8")}


def test_it_answers_as_the_network_itself(known: dict[str, KnownNetwork]) -> None:
    with torch.no_grad():
        expected = network()(torch.from_numpy(RAW)).numpy()
    np.testing.assert_allclose(known["float32"].obfuscate(RAW), expected, atol=1e-5)
    # Levels of 255 in, levels of 255 out.
    got = known["uint8"].obfuscate(RAW)
    np.testing.assert_allclose(got, expected, atol=3 / 255)
    np.testing.assert_allclose(got * 255, np.rint(got * 255), atol=1e-4)
    assert (got.shape, got.dtype) == (RAW.shape, np.float32)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_with_gradients_it_is_the_same_function(known: dict[str, KnownNetwork], dtype: str) -> None:
    given = torch.from_numpy(RAW).requires_grad_()
    result = known[dtype].differentiable()(given)
    difference = np.abs(result.detach().numpy() - known[dtype].obfuscate(RAW))
    assert (difference > 1e-4).mean() < (0.001 if dtype == "float32" else 0.01)
    result.sum().backward()
    assert given.grad is not None
    # In one unit: the two wire types have the same slopes, but where a cut falls to the other side.
    other = torch.from_numpy(as_unit(RAW)).requires_grad_()
    network()(other).sum().backward()
    assert other.grad is not None
    assert float((given.grad - other.grad).abs().mean()) < 0.1 * float(other.grad.abs().mean())


def test_no_sample_and_one_sample(known: dict[str, KnownNetwork]) -> None:
    assert known["float32"].obfuscate(RAW[:0]).shape == (0, *SHAPE)
    assert known["float32"].obfuscate(RAW[:1]).shape == (1, *SHAPE)


def test_in_another_process_it_answers_the_same(known: dict[str, KnownNetwork]) -> None:
    for one in known.values():
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(one)).obfuscate(RAW), one.obfuscate(RAW))


def test_samples_of_another_shape_are_refused(known: dict[str, KnownNetwork]) -> None:
    with pytest.raises(AttackError, match=r"samples that the graph runs on, got .* on \(2, 3\)"):
        known["float32"].obfuscate(np.zeros((2, 3), np.float32))


def test_bytes_that_are_no_graph_are_refused() -> None:
    with pytest.raises(AttackError, match="a graph that ONNX Runtime loads"):
        KnownNetwork(b"nothing")
