"""Exported networks answer as torch does, at any batch size, for both wire types.

A network is exported once for each row; Hypothesis then draws samples and batch sizes.
"""

from functools import cache
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from obfnet.core.spec import InputSpec
from obfnet.export import inference_onnx, obfuscation_onnx
from obfnet.nets import INFERENCE_ARCHITECTURES, OBFUSCATION_ARCHITECTURES

SHAPE = (1, 8, 8)
ROWS = [
    (role, name, dtype) for role in ("I", "O") for name in ("cnn", "mlp") for dtype in ("float32", "uint8")
]
KINDS = st.sampled_from(["noise", "sparse", "zeros", "ones", "edge"])


def spec_of(dtype: str) -> InputSpec:
    high = 255.0 if dtype == "uint8" else 1.0
    return InputSpec(shape=SHAPE, dtype=dtype, low=0.0, high=high, layout="CHW", preprocessing="none")


@cache
def exported(role: str, name: str, dtype: str) -> tuple[nn.Module, Any]:
    torch.manual_seed(len(name))
    if role == "I":
        network = INFERENCE_ARCHITECTURES.get(name)(SHAPE, 10)
        graph = inference_onnx(network, spec_of(dtype))
    else:
        network = OBFUSCATION_ARCHITECTURES.get(name)(SHAPE, 12)
        graph = obfuscation_onnx(network, spec_of(dtype))
    return network.eval(), onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


def drawn(kind: str, count: int, seed: int) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(seed)
    noise = random.random((count, *SHAPE), dtype=np.float32)
    edge = (noise > 0.5) * np.float32(np.nextafter(np.float32(1), np.float32(0)))
    return {
        "noise": noise,
        "sparse": noise * (noise > 0.9),
        "zeros": np.zeros_like(noise),
        "ones": np.ones_like(noise),
        "edge": edge.astype(np.float32),
    }[kind]


@pytest.mark.parametrize(("role", "name", "dtype"), ROWS)
@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 7), kind=KINDS, seed=st.integers(0, 2**32 - 1))
def test_onnx_runtime_answers_as_torch_does(
    role: str, name: str, dtype: str, count: int, kind: str, seed: int
) -> None:
    network, session = exported(role, name, dtype)
    samples = drawn(kind, count, seed)
    sent = np.round(samples * 255).astype(np.uint8) if dtype == "uint8" else samples
    unit = torch.from_numpy(sent.astype(np.float32) / 255 if dtype == "uint8" else samples)
    (answer,) = session.run(None, {session.get_inputs()[0].name: sent})
    with torch.no_grad():
        expected = network(unit).softmax(1).numpy() if role == "I" else network(unit).numpy()
    assert answer.shape == expected.shape
    if role == "I":
        np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-4)
    elif dtype == "uint8":
        assert answer.dtype == np.uint8
        # Half a grey level for rounding, and what float arithmetic may differ by.
        assert np.abs(answer / 255 - expected).max() <= 0.5 / 255 + 1e-4
    else:
        spec_of(dtype).check(answer, name="obfuscated")
        np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-4)
