"""A graph under attack gives what ONNX Runtime gives, and a gradient where it has none of its own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from obfnet.attacks.graph import OnnxGraph
from obfnet.core.errors import AttackError
from obfnet.core.spec import InputSpec
from obfnet.export import inference_onnx, obfuscation_onnx
from obfnet.nets import INFERENCE_ARCHITECTURES, OBFUSCATION_ARCHITECTURES
from tests.unit.attacks.hand_made import BOOL, I64, U8, F, Operation, graph
from tests.unit.models.graphs import graph_bytes

Array = np.ndarray[Any, Any]
RANDOM = np.random.default_rng(5)


def runtime(data: bytes, samples: Array) -> Array:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    result: Array = session.run(None, {session.get_inputs()[0].name: samples})[0]
    return result


def ours(data: bytes, samples: Array) -> Array:
    with torch.no_grad():
        result: Array = OnnxGraph(data)(torch.from_numpy(samples.astype(np.float32))).numpy()
    return result


def gradient(data: bytes, samples: Array) -> Array:
    given = torch.from_numpy(samples.astype(np.float32)).requires_grad_()
    weights = torch.linspace(1, 2, OnnxGraph(data)(given)[0].numel()).reshape(OnnxGraph(data)(given)[0].shape)
    (OnnxGraph(data)(given) * weights).sum().backward()
    assert given.grad is not None
    result: Array = given.grad.numpy()
    return result


def agitated(network: torch.nn.Module) -> torch.nn.Module:
    """Fresh networks normalise by 0 and 1: that would hide a batch normalisation that is left out."""
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            torch.nn.init.uniform_(part.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(part.running_var, 0.3, 2)
            torch.nn.init.uniform_(part.bias, -0.5, 0.5)
    return network


@pytest.mark.parametrize(
    ("name", "dtype", "shape"),
    [
        *((name, "float32", (1, 16, 16)) for name in OBFUSCATION_ARCHITECTURES.names()),
        ("mlp", "uint8", (3, 11, 13)),
        ("conv", "uint8", (3, 11, 13)),
    ],
)
def test_every_obfuscation_architecture_as_in_onnx_runtime(
    name: str, dtype: str, shape: tuple[int, int, int]
) -> None:
    torch.manual_seed(1)
    spec = InputSpec(
        shape=shape, dtype=dtype, low=0, high=255 if dtype == "uint8" else 1, layout="CHW", preprocessing="no"
    )
    data = obfuscation_onnx(agitated(OBFUSCATION_ARCHITECTURES.get(name)(shape, 12)), spec)
    samples: Array = RANDOM.random((5, *shape), dtype=np.float32)
    if dtype == "uint8":
        samples = (samples * 255).astype(np.uint8)
    expected, got = runtime(data, samples).astype(np.float32), ours(data, samples)
    # A value halfway between two levels may fall to either.
    tolerance = 1e-4 if dtype == "float32" else 1.0
    np.testing.assert_allclose(got, expected, atol=tolerance)
    assert (np.abs(got - expected) > 1e-4).mean() < 0.01
    assert np.abs(gradient(data, samples)).max() > 0


@pytest.mark.parametrize("name", ["cnn"])
def test_inference_networks_too(name: str) -> None:
    torch.manual_seed(1)
    spec = InputSpec(shape=(1, 16, 16), dtype="float32", low=0, high=1, layout="CHW", preprocessing="no")
    data = inference_onnx(agitated(INFERENCE_ARCHITECTURES.get(name)((1, 16, 16), 4)), spec)
    samples = RANDOM.random((3, 1, 16, 16), dtype=np.float32)
    np.testing.assert_allclose(ours(data, samples), runtime(data, samples), atol=1e-4)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def floats(*shape: int) -> Array:
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


# Each operator alone is a row of the contract; here is what only several together show.
CHAINS: dict[str, tuple[list[Operation], dict[str, Array]]] = {
    "Cast and Gather": (
        [("Cast", ["x"], {"to": I64}), ("Clip", ["x", "low", "high"], {}), ("Gather", ["w", "x"], {})],
        {"low": np.array(-2, np.int64), "high": np.array(2, np.int64), "w": floats(5, 2)},
    ),
    "ArgMax and Gather": (
        [("ArgMax", ["x"], {"axis": 2, "keepdims": 0}), ("Gather", ["w", "x"], {"axis": 1})],
        {"w": floats(3, 6, 2)},
    ),
    "ArgMin, Squeeze and OneHot": (
        [
            ("ArgMin", ["x"], {"axis": 1}),
            ("Squeeze", ["x", "axis"], {}),
            ("OneHot", ["x", "depth", "values"], {"axis": 1}),
        ],
        {"axis": ints(1), "depth": np.array(2, np.int64), "values": floats(2)},
    ),
    "Where": (
        [("Greater", ["x", "w"], {}), ("Where", ["x", "w", "b"], {})],
        {"w": floats(1, 2, 6, 6), "b": floats(1, 2, 6, 6)},
    ),
    "And, Or, Xor, Not": (
        [
            ("Cast", ["x"], {"to": BOOL}),
            ("And", ["x", "a"], {}),
            ("Or", ["x", "b"], {}),
            ("Xor", ["x", "a"], {}),
            ("Not", ["x"], {}),
            ("Cast", ["x"], {"to": F}),
        ],
        {"a": np.array([True, False] * 3), "b": np.array([False, False, True] * 2)},
    ),
    "division of whole numbers": (
        [
            ("Cast", ["x"], {"to": I64}),
            ("Div", ["x", "w"], {}),
            ("Cast", ["x"], {"to": F}),
        ],
        {"w": np.array(2, np.int64)},
    ),
    "Mod": (
        [("Cast", ["x"], {"to": I64}), ("Mod", ["x", "w"], {}), ("Cast", ["x"], {"to": F})],
        {"w": np.array(3, np.int64)},
    ),
    "8 bits": (
        [("QuantizeLinear", ["x", "s", "z"], {}), ("DequantizeLinear", ["x", "s", "z"], {})],
        {"s": np.array(0.03, np.float32), "z": np.array(100, np.uint8)},
    ),
    "8 signed bits a channel": (
        [
            ("QuantizeLinear", ["x", "s", "z"], {"axis": 1}),
            ("DequantizeLinear", ["x", "s", "z"], {"axis": 1}),
        ],
        {"s": np.array([0.03, 0.01], np.float32), "z": np.array([-5, 0], np.int8)},
    ),
    "constants of 8 bits that would wrap": (
        [
            ("Cast", ["w"], {"to": TensorProto.INT32}),
            ("Sub", ["x", "zero"], {}),
            ("Cast", ["x"], {"to": F}),
            ("MatMul", ["input", "x"], {}),
        ],
        {"w": np.arange(6, dtype=np.uint8)[:, None], "zero": np.array(3, np.int32)},
    ),
    "chosen whole numbers of 8 bits": (
        [
            ("Greater", ["x", "half"], {}),
            ("Where", ["x", "less", "more"], {}),
            ("Cast", ["x"], {"to": TensorProto.INT32}),
            ("Sub", ["x", "zero"], {}),
            ("Cast", ["x"], {"to": F}),
        ],
        {
            "half": np.array(0.5, np.float32),
            "less": np.array(1, np.uint8),
            "more": np.array(250, np.uint8),
            "zero": np.array(9, np.int32),
        },
    ),
    "double precision": (
        [("Cast", ["x"], {"to": TensorProto.DOUBLE}), ("MatMul", ["x", "w"], {}), ("Cast", ["x"], {"to": F})],
        {"w": floats(6, 4).astype(np.float64)},
    ),
    "a shape computed in floats": (
        [
            ("Shape", ["input"], {}),
            ("Cast", ["x"], {"to": F}),
            ("Mul", ["x", "by"], {}),
            ("Cast", ["x"], {"to": I64}),
            ("Reshape", ["input", "x"], {}),
        ],
        {"by": np.array([1, 0.5, 2, 1], np.float32)},
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_operators_in_a_row_as_in_onnx_runtime(name: str) -> None:
    operations, weights = CHAINS[name]
    samples = RANDOM.normal(size=(3, 2, 6, 6)).astype(np.float32) * 2
    data = graph(operations, **weights)
    expected = runtime(data, samples)
    given = torch.from_numpy(samples).requires_grad_()
    for got in (ours(data, samples), OnnxGraph(data)(given).detach().numpy()):
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-4)


STRAIGHT: dict[str, list[Operation]] = {
    "Round": [("Round", ["x"], {})],
    "Floor": [("Floor", ["x"], {})],
    "Ceil": [("Ceil", ["x"], {})],
    "Sign": [("Sign", ["x"], {})],
    "Cast": [("Cast", ["x"], {"to": I64}), ("Cast", ["x"], {"to": F})],
    "CastLike": [("CastLike", ["x", "whole"], {}), ("CastLike", ["x", "half"], {})],
    "Greater": [("Greater", ["x", "half"], {}), ("Cast", ["x"], {"to": F})],
}


@pytest.mark.parametrize("name", STRAIGHT)
def test_what_has_no_gradient_passes_it_through(name: str) -> None:
    samples = RANDOM.random((3, 2, 6, 6), dtype=np.float32)
    slope = gradient(graph(STRAIGHT[name], half=np.array(0.5, np.float32), whole=ints(1)), samples)
    np.testing.assert_allclose(slope[0], np.linspace(1, 2, 72).reshape(2, 6, 6), rtol=1e-5)


def test_a_smaller_comparison_pulls_the_other_way() -> None:
    data = graph([("Less", ["x", "half"], {}), ("Cast", ["x"], {"to": F})], half=np.array(0.5, np.float32))
    assert (gradient(data, RANDOM.random((1, 2, 6, 6), dtype=np.float32)) < 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize(
    ("table", "sign"), [(np.arange(5.0), 1), (np.arange(5.0)[::-1], -1)], ids=["rising", "falling"]
)
def test_a_table_passes_its_slope(table: Array, sign: int, dtype: Any) -> None:
    data = graph(
        [
            ("Mul", ["x", "four"], {}),
            ("Cast", ["x"], {"to": I64}),
            ("Gather", ["w", "x"], {}),
            ("Cast", ["x"], {"to": F}),
        ],
        four=np.array(4, np.float32),
        w=np.ascontiguousarray(table, dtype),
    )
    slope = gradient(data, RANDOM.uniform(0.3, 0.9, (3, 2, 6, 6)))
    assert (sign * slope > 0).all()


def test_a_condition_pulls_towards_the_larger_of_two_whole_numbers() -> None:
    choice: list[Operation] = [("Greater", ["x", "half"], {}), ("Where", ["x", "more", "less"], {})]
    data = graph(
        [*choice, ("Cast", ["x"], {"to": F})],
        half=np.array(0.5, np.float32),
        more=np.array(0, np.uint8),
        less=np.array(200, np.uint8),
    )
    assert (gradient(data, RANDOM.random((1, 2, 6, 6), dtype=np.float32)) < 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_a_choice_pulls_towards_the_entry_that_is_wanted(dtype: Any) -> None:
    # Codes in no order: the slope of the index would tell nothing.
    codes = np.array([[3], [-1], [2], [0]], dtype)
    data = graph(
        [
            ("ArgMax", ["x"], {"axis": 1}),
            ("Squeeze", ["x", "axis"], {}),
            ("Gather", ["w", "x"], {}),
            ("Cast", ["x"], {"to": F}),
        ],
        (4,),
        axis=ints(1),
        w=codes,
    )
    slope = gradient(data, np.array([[0.1, 0.4, 0.2, 0.3]]))
    assert slope[0, 0] > 0 > slope[0, 1]


def test_gradients_of_ordinary_operators_are_those_of_differences() -> None:
    torch.manual_seed(0)
    spec = InputSpec(shape=(1, 8, 8), dtype="float32", low=0, high=1, layout="CHW", preprocessing="no")
    network = OnnxGraph(obfuscation_onnx(OBFUSCATION_ARCHITECTURES.get("conv")((1, 8, 8), 4), spec)).double()
    samples = torch.rand(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)

    def squares(given: torch.Tensor) -> torch.Tensor:
        return network(given).square().sum()

    (slope,) = torch.autograd.grad(squares(samples), samples)
    direction = torch.rand_like(samples) - 0.5
    with torch.no_grad():
        difference = (squares(samples + 1e-5 * direction) - squares(samples - 1e-5 * direction)) / 2e-5
    assert float((slope * direction).sum()) == pytest.approx(float(difference), rel=1e-5)


def test_what_goes_in_and_comes_out_is_said() -> None:
    data = graph([("Cast", ["x"], {"to": F})], kinds=(U8, F))
    assert (OnnxGraph(data).input_dtype, OnnxGraph(data).output_dtype) == ("uint8", "float32")


def node(kind: str, *inputs: str, out: str = "y") -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), [out])


def floating(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, F, ["N", 4])


def drawn(name: str, kind: str) -> bytes:
    return graph_bytes([node(kind, "x", name)], inputs=[floating(name)])


def flipping() -> bytes:
    flips = helper.make_tensor_value_info("flips", BOOL, ["N", 4])
    return graph_bytes([node("Neg", "x", out="n"), node("Where", "flips", "n", "x")], inputs=[flips])


@pytest.mark.parametrize(
    "data",
    [flipping(), drawn("noise", "Add"), drawn("leave", "Mul")],
    ids=["no bit inverted", "no noise", "leave given"],
)
def test_what_a_device_decides_is_taken_as_its_likeliest_outcome(data: bytes) -> None:
    samples = torch.rand(3, 4) + 1
    torch.testing.assert_close(OnnxGraph(data)(samples), samples)


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "another operator": (
        lambda: graph([("Relu", ["x"], {}), ("Hardmax", ["x"], {})]),
        "can run with gradients, got Hardmax .node 'n1'",
    ),
    "another setting": (
        lambda: graph([("QuantizeLinear", ["x", "s"], {"block_size": 2})], s=np.ones(6, np.float32)),
        "can run with gradients, got QuantizeLinear .node 'n0'. with block_size 2",
    ),
    "another way to resize": (
        lambda: graph([("Resize", ["x", "", "by"], {"mode": "cubic"})], by=np.ones(4, np.float32)),
        "Resize .node 'n0'. with mode 'cubic'",
    ),
    "another type": (
        lambda: graph([("Cast", ["x"], {"to": I64})], kinds=(F, I64)),
        "a graph of float32 or uint8 samples, got int64",
    ),
    "another input": (lambda: drawn("drawn", "Add"), "a model of one input, got 2: 'x', 'drawn'"),
    "another output": (
        lambda: graph_bytes(
            [node("Relu", "x"), node("Shape", "x", out="z")],
            outputs=[floating("y"), helper.make_tensor_value_info("z", I64, [2])],
        ),
        "a graph of one output, got 2",
    ),
    "weights of text": (
        lambda: graph([("Reshape", ["x", "to"], {})], to=np.array(["6"], object)),
        "weights of ordinary number types, got string in 'to'",
    ),
    "no graph": (lambda: b"nothing", "a whole ONNX file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_is_refused_by_name(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(AttackError, match=message):
        OnnxGraph(make())(torch.zeros(1, 2, 6, 6))


def test_samples_of_another_shape_are_refused_with_the_operator() -> None:
    data = graph([("MatMul", ["x", "w"], {})], w=floats(6, 4))
    with pytest.raises(AttackError, match=r"operator MatMul \(node 'n0'\) to run on .*, got RuntimeError"):
        OnnxGraph(data)(torch.zeros(1, 2, 6, 5))
