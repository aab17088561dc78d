"""A graph run in torch gives what ONNX Runtime gives, and a gradient where it has none of its own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import helper

from obfnet.attacks.graph import OnnxGraph
from obfnet.core.errors import AttackError
from obfnet.core.spec import InputSpec
from obfnet.export import inference_onnx, obfuscation_onnx
from obfnet.nets import INFERENCE_ARCHITECTURES, OBFUSCATION_ARCHITECTURES
from tests.unit.attacks.hand_made import BOOL, I64, U8, F, Operation, graph

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


SCALAR = np.array(0.4, np.float32)
UNARY = """
    Abs Ceil Erf Exp Floor HardSigmoid HardSwish Identity Elu LeakyRelu LogSoftmax Neg Reciprocal Relu Round
    Sigmoid Sign Softmax Softplus Softsign Tanh GlobalAveragePool GlobalMaxPool Transpose Flatten Gelu
    ReduceMax ReduceMean ReduceMin ReduceSum ReduceL2 ReduceSumSquare
"""
CHAINS: dict[str, tuple[list[Operation], dict[str, Array]]] = {
    **{name: ([(name, ["x"], {})], {}) for name in UNARY.split()},
    **{
        f"{name} of two": ([(name, ["x", "w"], {})], {"w": floats(1, 1, 6)})
        for name in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "PRelu")
    },
    **{
        name: ([(name, ["x", "w"], {}), ("Cast", ["x"], {"to": F})], {"w": floats(1, 1, 6)})
        for name in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")
    },
    "Log and Sqrt": ([("Abs", ["x"], {}), ("Sqrt", ["x"], {}), ("Log", ["x"], {})], {}),
    "Pow": ([("Abs", ["x"], {}), ("Pow", ["x", "w"], {})], {"w": SCALAR}),
    "MatMul": ([("MatMul", ["x", "w"], {})], {"w": floats(6, 4)}),
    "Gemm": (
        [("Flatten", ["x"], {}), ("Gemm", ["x", "w", "b"], {"transB": 1, "alpha": 0.5, "beta": 2.0})],
        {"w": floats(5, 72), "b": floats(5)},
    ),
    "Gemm transposed": (
        [("Flatten", ["x"], {}), ("Gemm", ["x", "w"], {"transA": 1})],
        {"w": floats(4, 3)},
    ),
    "Clip": ([("Clip", ["x", "low", "high"], {})], {"low": -SCALAR, "high": SCALAR}),
    "Clip above": ([("Clip", ["x", "", "high"], {})], {"high": SCALAR}),
    "Conv": (
        [("Conv", ["x", "w", "b"], {"pads": [0, 1, 2, 0], "strides": [2, 1], "dilations": [1, 2]})],
        {"w": floats(4, 2, 3, 2), "b": floats(4)},
    ),
    "Conv same": (
        [("Conv", ["x", "w"], {"auto_pad": "SAME_UPPER", "strides": [2, 2], "group": 2})],
        {"w": floats(4, 1, 3, 3)},
    ),
    "ConvTranspose": (
        [
            (
                "ConvTranspose",
                ["x", "w", "b"],
                {"strides": [2, 3], "pads": [1, 0, 0, 2], "output_padding": [1, 1]},
            )
        ],
        {"w": floats(2, 3, 3, 2), "b": floats(3)},
    ),
    "MaxPool": ([("MaxPool", ["x"], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]})], {}),
    "AveragePool": (
        [("AveragePool", ["x"], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 0, 1]})],
        {},
    ),
    "AveragePool with a last window that sticks out": (
        [("AveragePool", ["x"], {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1})],
        {},
    ),
    "AveragePool with pads": (
        [
            (
                "AveragePool",
                ["x"],
                {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 0, 1], "count_include_pad": 1},
            )
        ],
        {},
    ),
    "BatchNormalization": (
        [("BatchNormalization", ["x", "s", "b", "m", "v"], {"epsilon": 0.01})],
        {"s": floats(2), "b": floats(2) + 1, "m": floats(2) - 1, "v": floats(2) ** 2},
    ),
    "Reshape": ([("Reshape", ["x", "to"], {})], {"to": ints(0, -1, 3)}),
    "Squeeze": (
        [("Unsqueeze", ["x", "out"], {}), ("Squeeze", ["x", "out"], {})],
        {"out": ints(1, -1)},
    ),
    "Expand": (
        [("Unsqueeze", ["x", "axis"], {}), ("Expand", ["x", "to"], {})],
        {"axis": ints(1), "to": ints(1, 3, 1, 1, 1)},
    ),
    "Tile": ([("Tile", ["x", "repeats"], {})], {"repeats": ints(1, 2, 1, 3)}),
    "Concat": ([("Concat", ["x", "x"], {"axis": -1})], {}),
    "Slice": (
        [("Slice", ["x", "start", "end", "axes", "steps"], {})],
        {"start": ints(1, -1), "end": ints(2**31, -(2**31)), "axes": ints(2, -1), "steps": ints(2, -1)},
    ),
    "Split": ([("Split", ["x", "sizes"], {"axis": 2})], {"sizes": ints(6)}),
    "Pad": (
        [("Pad", ["x", "pads", "fill"], {})],
        {"pads": ints(0, 1, 0, 2, 0, 0, 1, 0), "fill": SCALAR},
    ),
    "Pad edge": ([("Pad", ["x", "pads"], {"mode": "edge"})], {"pads": ints(0, 0, 1, 2, 0, 0, 1, 0)}),
    "Pad reflect": ([("Pad", ["x", "pads"], {"mode": "reflect"})], {"pads": ints(0, 0, 1, 2, 0, 0, 1, 0)}),
    "Resize": ([("Resize", ["x", "", "by"], {})], {"by": np.array([1, 1, 2, 1.5], np.float32)}),
    "Resize asymmetric": (
        [
            (
                "Resize",
                ["x", "", "", "to"],
                {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
            )
        ],
        {"to": ints(3, 2, 9, 4)},
    ),
    "DepthToSpace": (
        [("Concat", ["x", "x"], {"axis": 1}), ("DepthToSpace", ["x"], {"blocksize": 2})],
        {},
    ),
    "PixelShuffle": (
        [("Concat", ["x", "x"], {"axis": 1}), ("DepthToSpace", ["x"], {"blocksize": 2, "mode": "CRD"})],
        {},
    ),
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
    "GatherElements": (
        [("GatherElements", ["x", "at"], {"axis": 3})],
        {"at": np.tile(ints(0, -1), (3, 2, 6, 1))},
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
    "Shape": ([("Shape", ["x"], {"start": 1}), ("Cast", ["x"], {"to": F})], {}),
    "Constant": ([("Constant", [], {"value_floats": [0.5, 1.5]})], {}),
    "ConstantOfShape": (
        [("ConstantOfShape", ["w"], {"value": helper.make_tensor("v", F, [1], [0.5])})],
        {"w": ints(2, 3)},
    ),
    "Dropout": ([("Dropout", ["x"], {})], {}),
}


@pytest.mark.parametrize("name", CHAINS)
def test_operators_as_in_onnx_runtime(name: str) -> None:
    operations, weights = CHAINS[name]
    first = operations[-1][0]
    kind = BOOL if first in ("Not", "Greater") else F
    samples = RANDOM.normal(size=(4 if "transposed" in name else 3, 2, 6, 6)).astype(np.float32) * 2
    data = graph(operations, kinds=(F, kind), **weights)
    expected = runtime(data, samples)
    got = ours(data, samples)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-4)


STRAIGHT: dict[str, list[Operation]] = {
    "Round": [("Round", ["x"], {})],
    "Floor": [("Floor", ["x"], {})],
    "Ceil": [("Ceil", ["x"], {})],
    "Sign": [("Sign", ["x"], {})],
    "Cast": [("Cast", ["x"], {"to": I64}), ("Cast", ["x"], {"to": F})],
    "Greater": [("Greater", ["x", "half"], {}), ("Cast", ["x"], {"to": F})],
}


@pytest.mark.parametrize("name", STRAIGHT)
def test_what_has_no_gradient_passes_it_through(name: str) -> None:
    samples = RANDOM.random((3, 2, 6, 6), dtype=np.float32)
    slope = gradient(graph(STRAIGHT[name], half=np.array(0.5, np.float32)), samples)
    np.testing.assert_allclose(slope[0], np.linspace(1, 2, 72).reshape(2, 6, 6), rtol=1e-5)


def test_a_smaller_comparison_pulls_the_other_way() -> None:
    data = graph([("Less", ["x", "half"], {}), ("Cast", ["x"], {"to": F})], half=np.array(0.5, np.float32))
    assert (gradient(data, RANDOM.random((1, 2, 6, 6), dtype=np.float32)) < 0).all()


@pytest.mark.parametrize(
    ("table", "sign"), [(np.arange(5.0), 1), (np.arange(5.0)[::-1], -1)], ids=["rising", "falling"]
)
def test_a_table_passes_its_slope(table: Array, sign: int) -> None:
    data = graph(
        [("Mul", ["x", "four"], {}), ("Cast", ["x"], {"to": I64}), ("Gather", ["w", "x"], {})],
        four=np.array(4, np.float32),
        w=np.ascontiguousarray(table, np.float32),
    )
    slope = gradient(data, RANDOM.uniform(0.3, 0.9, (3, 2, 6, 6)))
    assert (sign * slope > 0).all()


def test_a_choice_pulls_towards_the_entry_that_is_wanted() -> None:
    # Codes in no order: the slope of the index would tell nothing.
    codes = np.array([[3.0], [-1.0], [2.0], [0.0]], np.float32)
    data = graph(
        [
            ("ArgMax", ["x"], {"axis": 1}),
            ("Squeeze", ["x", "axis"], {}),
            ("Gather", ["w", "x"], {}),
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


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "another operator": (
        lambda: graph([("Relu", ["x"], {}), ("Hardmax", ["x"], {})]),
        "known to this attack, got Hardmax .node 'n1'",
    ),
    "another setting": (
        lambda: graph([("QuantizeLinear", ["x", "s"], {"block_size": 2})], s=np.ones(6, np.float32)),
        "known to this attack, got QuantizeLinear .node 'n0'. with block_size 2",
    ),
    "another way to resize": (
        lambda: graph([("Resize", ["x", "", "by"], {"mode": "cubic"})], by=np.ones(4, np.float32)),
        "Resize .node 'n0'. with mode 'cubic'",
    ),
    "another type": (
        lambda: graph([("Cast", ["x"], {"to": I64})], kinds=(F, I64)),
        "a graph of float32 or uint8 samples, got int64",
    ),
    "no graph": (lambda: b"nothing", "a graph in ONNX format"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_is_refused_by_name(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(AttackError, match=message):
        OnnxGraph(make())(torch.zeros(1, 2, 6, 6))


def test_samples_of_another_shape_are_refused_with_the_operator() -> None:
    data = graph([("MatMul", ["x", "w"], {})], w=floats(6, 4))
    with pytest.raises(AttackError, match=r"operator MatMul \(node 'n0'\) works on, got RuntimeError on"):
        OnnxGraph(data)(torch.zeros(1, 2, 6, 5))
