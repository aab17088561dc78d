"""Every ONNX operator that the executor knows gives what ONNX Runtime gives: a row or more to each.

So it does for an attacker, to whom all that depends on the input is a float, with a way backward.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, ValueInfoProto, helper
from onnx.reference import ReferenceEvaluator

from obfnet.attacks.graph_substitutes import substitutes
from obfnet.attacks.straight_through import Choice
from obfnet.models.onnx_file import file_of, model_of
from obfnet.models.onnx_gradient import NO_GRADIENT
from obfnet.models.onnx_network import OnnxNetwork
from obfnet.models.onnx_operators import DOMAINS, OPERATORS
from obfnet.models.onnx_program import OnnxProgram
from tests.unit.models.graphs import Array, graph_bytes

IMAGE = (2, 4, 7, 6)
SOUND = (2, 4, 11)
ROWS = (3, 4)
SEQUENCE = (5, 2, 4)


@dataclass(frozen=True, kw_only=True)
class Case:
    kind: str
    shape: tuple[int, ...]
    others: tuple[Array | None, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    opset: int = 17
    dtype: str = "float32"
    positive: bool = False
    first: bool = True
    outputs: int = 1
    # ONNX's own evaluator stands in for what ONNX Runtime has not.
    oracle: str = "onnxruntime"

    def __str__(self) -> str:
        long = ("value", "coefficients")
        told = "-".join(f"{name}={value}" for name, value in self.settings.items() if name not in long)
        return f"{self.kind}-{self.opset}-{'x'.join(map(str, self.shape))}-{told}".replace(" ", "")


def case(kind: str, shape: tuple[int, ...], *others: Array | None, **rest: Any) -> Case:
    own = {"opset", "dtype", "positive", "first", "outputs", "oracle"}
    settings = {name: value for name, value in rest.items() if name not in own}
    return Case(
        kind=kind,
        shape=shape,
        others=others,
        settings=settings,
        **{name: value for name, value in rest.items() if name in own},
    )


def some(*shape: int, low: float = -1.0, high: float = 1.0) -> Array:
    rng = np.random.default_rng(len(shape) + sum(shape))
    return rng.uniform(low, high, shape).astype(np.float32)


def whole(*numbers: int) -> Array:
    return np.array(numbers, dtype=np.int64)


def number(value: float, dtype: Any = np.float32) -> Array:
    return np.array(value, dtype=dtype)


def recurrent(gates: int, *, directions: int = 1, bias: bool = False) -> tuple[Array, ...]:
    """Weights for samples of four values and a state of three."""
    wide = 3 * gates
    weights = (some(directions, wide, 4), some(directions, wide, 3))
    return (*weights, some(directions, 2 * wide)) if bias else weights


K3 = some(6, 4, 3, 3)
K2 = some(6, 2, 2, 3)
SOUND_K = some(5, 4, 4)
UPWARD = some(4, 3, 3, 3)
CHANNELS = tuple(some(4, low=0.5, high=1.5) for _ in range(4))
SIMPLE = """
    Abs Ceil Celu Cos Elu Erf Exp Flatten Floor HardSigmoid HardSwish Identity LeakyRelu LogSoftmax Max
    Mean Min Neg Reciprocal Relu Round Selu Shape Sigmoid Sign Sin Size Softmax Softplus Softsign Sum
    Tanh ThresholdedRelu Transpose
"""
REDUCING = "ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSumSquare"
CASES = [
    *(case(kind, ROWS) for kind in SIMPLE.split()),
    case("Log", ROWS, positive=True),
    case("Sqrt", ROWS, positive=True),
    case("Mish", ROWS, opset=18),
    case("Gelu", ROWS, opset=20),
    case("Gelu", ROWS, opset=20, approximate="tanh"),
    case("Elu", ROWS, alpha=0.7),
    case("Celu", ROWS, alpha=0.7),
    case("Selu", ROWS, alpha=1.5, gamma=1.2),
    case("HardSigmoid", ROWS, alpha=0.4, beta=0.3),
    case("LeakyRelu", ROWS, alpha=0.3),
    case("ThresholdedRelu", ROWS, alpha=0.2),
    case("PRelu", IMAGE, some(4, 1, 1)),
    *(case(kind, IMAGE, some(4, 1, 6)) for kind in ("Add", "Sub", "Mul", "Div")),
    case("Div", ROWS, np.array([3, -2, 2, 5], dtype=np.int32), dtype="int32"),
    case("Mod", ROWS, np.array([3, -2, 2, 5], dtype=np.int32), dtype="int32"),
    case("Mod", ROWS, some(4, low=0.1), fmod=1),
    case("Pow", ROWS, number(2.0)),
    case("Pow", ROWS, number(3, np.int64)),
    *(case(kind, ROWS, some(4), some(3, 1)) for kind in ("Sum", "Max", "Min", "Mean")),
    *(case(kind, ROWS, some(4)) for kind in ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual")),
    *(case(kind, ROWS, np.array([True, False] * 2), dtype="bool") for kind in ("And", "Or", "Xor")),
    case("Not", ROWS, dtype="bool"),
    case("Where", ROWS, some(3, 4), some(4), dtype="bool"),
    case("Clip", ROWS, number(-0.3), number(0.4)),
    case("Clip", ROWS, None, number(0.4)),
    case("Clip", ROWS),
    case("Clip", ROWS, opset=7, min=-0.2, max=0.5),
    case("Cast", ROWS, to=TensorProto.INT64),
    case("Cast", ROWS, to=TensorProto.BOOL),
    case("Cast", ROWS, to=TensorProto.DOUBLE),
    case("Cast", ROWS, to=TensorProto.FLOAT, dtype="uint8"),
    case("CastLike", ROWS, whole(1)),
    case("Dropout", ROWS, opset=10, ratio=0.4),
    case("Dropout", ROWS, number(0.4)),
    case("Dropout", ROWS, number(0.4), np.array(False)),
    case("Constant", ROWS, value_floats=[1.0, 2.0], first=False),
    case("Constant", ROWS, value_int=3, first=False),
    case("ConstantOfShape", ROWS, whole(2, 3), first=False),
    case(
        "ConstantOfShape",
        ROWS,
        whole(2, 3),
        first=False,
        value=helper.make_tensor("value", TensorProto.INT64, [1], [7]),
    ),
    case("Range", ROWS, *(number(value, np.int64) for value in (2, 11, 3)), first=False),
    case("Range", ROWS, *(number(value) for value in (1.0, -1.0, -0.5)), first=False),
    case("Shape", IMAGE, start=1, end=-1),
    case("Reshape", IMAGE, whole(0, -1)),
    case("Reshape", IMAGE, whole(0, 2, 2, -1)),
    case("Reshape", IMAGE, whole(-1, 6), allowzero=1),
    case("Flatten", IMAGE, axis=2),
    case("Flatten", IMAGE, axis=-1),
    case("Flatten", IMAGE, axis=0),
    case("Transpose", IMAGE, perm=[0, 2, 3, 1]),
    case("Squeeze", (2, 1, 3, 1), whole(1, -1)),
    case("Squeeze", (2, 1, 3, 1)),
    case("Squeeze", (2, 1, 3, 1), opset=11, axes=[1]),
    case("Unsqueeze", ROWS, whole(0, -1)),
    case("Unsqueeze", ROWS, opset=11, axes=[1, 3]),
    case("Concat", ROWS, some(3, 2), some(3, 1), axis=1),
    case("Concat", ROWS, some(2, 4), axis=-2),
    case("Split", IMAGE, outputs=2, axis=1),
    case("Split", IMAGE, whole(1, 3), outputs=2, axis=1),
    case("Split", IMAGE, opset=11, outputs=2, axis=1, split=[3, 1]),
    case("Split", IMAGE, opset=18, outputs=3, axis=2, num_outputs=3),
    case("Slice", IMAGE, whole(1, 0), whole(-1, 2**63 - 1), whole(2, -1)),
    case("Slice", IMAGE, whole(1, 0), whole(2**31, 3)),
    case("Slice", IMAGE, whole(-1), whole(-(2**63)), whole(2), whole(-2)),
    case("Slice", IMAGE, whole(0, 1), whole(7, 6), whole(2, 3), whole(3, 2)),
    case("Slice", IMAGE, opset=9, starts=[0, 1], ends=[3, 100], axes=[1, 2]),
    case("Slice", IMAGE, opset=7, starts=[1], ends=[2]),
    case("Gather", IMAGE, number(-1, np.int64), axis=2),
    case("Gather", IMAGE, np.array([[0, 2], [-1, 1]], dtype=np.int64), axis=1),
    case("Gather", ROWS, whole(2, 0)),
    case("Gather", (3,), number(-1, np.int64)),
    case("GatherElements", ROWS, np.array([[0, -1], [1, 2], [3, 3]], dtype=np.int64), axis=1),
    case("OneHot", ROWS, number(4, np.int64), some(2), dtype="int64"),
    case("OneHot", ROWS, number(20, np.int64), whole(3, -7), axis=1, dtype="int64"),
    case("Expand", (3, 1, 4), whole(2, 1, 5, 1)),
    case("Tile", ROWS, whole(2, 3)),
    case("DepthToSpace", (2, 8, 3, 2), blocksize=2),
    case("DepthToSpace", (2, 8, 3, 2), blocksize=2, mode="CRD"),
    case("SpaceToDepth", (2, 3, 4, 6), blocksize=2),
    case("Einsum", (2, 3, 4), some(2, 5, 4), equation="b i d , b j d -> b i j"),
    case("Einsum", ROWS, equation="...ij->...ji"),
    *(
        case("Pad", IMAGE, whole(0, 0, 1, 2, 0, 0, 3, 1), mode=mode)
        for mode in ("constant", "reflect", "edge")
    ),
    case("Pad", IMAGE, whole(0, 1, -1, 2, 1, 0, 3, -2), number(0.5)),
    case("Pad", IMAGE, whole(1, 2, 0, 3), None, whole(2, -1), opset=18, mode="edge"),
    case("Pad", IMAGE, whole(1, 2, 3, 1), None, whole(2, 3), opset=19, mode="wrap"),
    case("Pad", IMAGE, opset=10, pads=[0, 0, 1, 2, 0, 0, 3, 1], value=0.25),
    *(
        case(kind, IMAGE, opset=13, axes=axes, keepdims=keep)
        for kind in REDUCING.split()
        for axes, keep in (([2, 3], 0), ([-1], 1))
    ),
    case("ReduceLogSum", IMAGE, axes=[1], positive=True),
    case("ReduceMean", IMAGE, whole(1, 3), opset=18, keepdims=0),
    case("ReduceMean", IMAGE),
    case("ReduceProd", ROWS, keepdims=0),
    case("ReduceSum", IMAGE, whole(2, 3), keepdims=0),
    case("ReduceSum", IMAGE, whole(), noop_with_empty_axes=1),
    case("ReduceSum", IMAGE, opset=11, axes=[1]),
    case("ReduceMax", IMAGE, whole(1), opset=20),
    *(
        case(kind, IMAGE, axis=axis, keepdims=keep, select_last_index=last, dtype="int32")
        for kind in ("ArgMax", "ArgMin")
        for axis, keep, last in ((1, 1, 0), (-1, 0, 1))
    ),
    case("ArgMax", IMAGE),
    case("Softmax", IMAGE, axis=1),
    case("Softmax", IMAGE, opset=11),
    case("Softmax", IMAGE, opset=11, axis=2),
    case("LogSoftmax", IMAGE, opset=7),
    case("LogSoftmax", IMAGE, axis=-2),
    case("MatMul", ROWS, some(4, 5)),
    case("MatMul", (2, 3, 4), some(2, 4, 5)),
    case("MatMul", ROWS, some(4)),
    case("Gemm", ROWS, some(4, 5), some(5)),
    case("Gemm", ROWS, some(5, 4), transB=1, alpha=0.5),
    case("Gemm", ROWS, some(5, 3), some(4, 1), transA=1, transB=1, alpha=0.5, beta=0.3),
    case("BatchNormalization", IMAGE, *CHANNELS, epsilon=1e-3),
    case("BatchNormalization", ROWS, *CHANNELS, opset=9),
    case("BatchNormalization", IMAGE, *CHANNELS, opset=7),
    case("InstanceNormalization", IMAGE, some(4), some(4), epsilon=1e-3),
    case("LayerNormalization", (2, 3, 4), some(4), some(4)),
    case("LayerNormalization", (2, 3, 4), some(3, 4), axis=1, epsilon=1e-3),
    case("GroupNormalization", IMAGE, some(4), some(4), opset=21, num_groups=2),
    case("LRN", IMAGE, size=3, alpha=0.3, beta=0.6, bias=1.5),
    # ONNX's evaluator takes the number of samples for that of channels.
    case("LRN", (4, 4, 2, 3), size=2, alpha=0.9, oracle="onnx"),
    case("LpNormalization", ROWS),
    case("LpNormalization", ROWS, p=1, axis=0),
    case("GlobalAveragePool", IMAGE),
    case("GlobalAveragePool", SOUND),
    case("GlobalMaxPool", IMAGE),
    case("Conv", IMAGE, K3, some(6)),
    case("Conv", IMAGE, K3, pads=[1, 1, 1, 1], strides=[2, 1]),
    case("Conv", IMAGE, K3, pads=[0, 1, 2, 0], dilations=[2, 1]),
    case("Conv", IMAGE, K2, some(6), group=2, strides=[2, 2]),
    case("Conv", IMAGE, some(4, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    *(
        case("Conv", IMAGE, K2, group=2, auto_pad=mode, strides=[2, 1])
        for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")
    ),
    case("Conv", SOUND, SOUND_K, some(5), pads=[1, 2], strides=[3]),
    case("Conv", SOUND, SOUND_K, auto_pad="SAME_UPPER", strides=[2]),
    case("Conv", (1, 2, 4, 5, 4), some(3, 2, 2, 2, 3)),
    case("ConvTranspose", IMAGE, UPWARD, some(3)),
    case("ConvTranspose", IMAGE, UPWARD, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
    case("ConvTranspose", IMAGE, UPWARD, strides=[2, 3], pads=[0, 1, 2, 0]),
    case("ConvTranspose", IMAGE, UPWARD, some(3), strides=[2, 2], output_shape=[14, 13]),
    case("ConvTranspose", IMAGE, UPWARD, strides=[2, 2], auto_pad="SAME_UPPER"),
    case("ConvTranspose", IMAGE, UPWARD, strides=[2, 2], auto_pad="SAME_LOWER"),
    case("ConvTranspose", IMAGE, some(4, 2, 3, 3), some(4), group=2, dilations=[2, 1]),
    case("ConvTranspose", SOUND, some(4, 3, 4), strides=[2], pads=[1, 1]),
    *(
        case(kind, IMAGE, kernel_shape=[3, 2], **rest)
        for kind in ("MaxPool", "AveragePool")
        for rest in (
            {},
            {"strides": [2, 2], "ceil_mode": 1},
            {"strides": [3, 3], "ceil_mode": 1, "pads": [1, 1, 1, 1]},
            {"strides": [2, 1], "pads": [2, 0, 1, 1]},
            {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
            {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
            {"auto_pad": "VALID", "strides": [2, 2]},
        )
    ),
    case("MaxPool", IMAGE, kernel_shape=[3, 2], dilations=[2, 2], pads=[1, 1, 1, 1]),
    case("MaxPool", SOUND, kernel_shape=[4], strides=[3], opset=8),
    case("AveragePool", SOUND, kernel_shape=[4], strides=[3], opset=7),
    case("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 2, 0], count_include_pad=1),
    case(
        "AveragePool",
        IMAGE,
        kernel_shape=[3, 3],
        pads=[1, 1, 1, 1],
        strides=[3, 3],
        ceil_mode=1,
        count_include_pad=1,
    ),
    case("AveragePool", IMAGE, kernel_shape=[3, 2], dilations=[2, 2], pads=[1, 1, 1, 1], opset=19),
    *(
        case("Resize", IMAGE, None, some(0), whole(2, 4, *goal), mode=mode, **rest)
        for mode, rest, goal in (
            ("nearest", {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, (14, 12)),
            ("nearest", {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "ceil"}, (10, 4)),
            ("nearest", {"coordinate_transformation_mode": "half_pixel"}, (15, 4)),
            ("nearest", {"nearest_mode": "round_prefer_ceil"}, (4, 13)),
            ("linear", {"coordinate_transformation_mode": "half_pixel"}, (15, 4)),
            ("linear", {"coordinate_transformation_mode": "align_corners"}, (15, 4)),
            ("linear", {"coordinate_transformation_mode": "asymmetric"}, (14, 13)),
            ("linear", {"coordinate_transformation_mode": "pytorch_half_pixel"}, (15, 1)),
        )
    ),
    case("Resize", IMAGE, None, number([1, 1, 2.5, 0.6]), mode="linear"),
    case("Resize", IMAGE, None, number([1, 1, 2, 3])),
    case("Resize", IMAGE, None, None, whole(9, 8), opset=18, axes=[2, 3], mode="linear"),
    case(
        "Resize",
        IMAGE,
        None,
        number([1, 1, 1.3, 0.8]),
        opset=19,
        mode="linear",
        coordinate_transformation_mode="half_pixel_symmetric",
    ),
    case("Resize", IMAGE, number([1, 1, 2, 2]), opset=10),
    case("Resize", IMAGE, number([1, 1, 2, 2]), opset=10, mode="linear"),
    case("Upsample", IMAGE, number([1, 1, 2, 3]), opset=9),
    case("Upsample", IMAGE, opset=7, scales=[1.0, 1.0, 2.0, 2.0], mode="linear"),
    case("QuantizeLinear", ROWS, number(0.0625), np.array(120, dtype=np.uint8)),
    case("QuantizeLinear", ROWS, number(0.001953125), np.array(3, dtype=np.int8)),
    case("QuantizeLinear", IMAGE, some(4, low=0.1), np.arange(4, dtype=np.int8)),
    case("QuantizeLinear", ROWS, number(0.0625)),
    case("QuantizeLinear", ROWS, number(0.0001), np.array(30000, dtype=np.uint16), opset=21),
    case("DequantizeLinear", ROWS, number(0.05), np.array(7, dtype=np.uint8), dtype="uint8"),
    case("DequantizeLinear", ROWS, number(0.05), dtype="int32"),
    case("DequantizeLinear", IMAGE, some(7, low=0.1), np.arange(7, dtype=np.int8), axis=2, dtype="int8"),
    case("Swish", ROWS, opset=24, alpha=1.5, oracle="onnx"),
    case("Scaler", ROWS, offset=[0.5], scale=[2.0]),
    case("Scaler", ROWS, offset=[0.5, -1.0, 0.0, 2.0], scale=[2.0, 0.5, 1.0, 3.0]),
    *(case("Normalizer", ROWS, norm=norm) for norm in ("L1", "L2")),
    *(
        case(
            "LinearClassifier",
            ROWS,
            outputs=2,
            coefficients=some(3, 4).ravel().tolist(),
            intercepts=[0.5, -0.5, 0.1],
            classlabels_ints=[7, 3, 5],
            **rest,
        )
        for rest in ({}, {"post_transform": "SOFTMAX"}, {"post_transform": "LOGISTIC", "multi_class": 1})
    ),
    *(
        case(kind, SEQUENCE, *recurrent(gates), outputs=outputs, hidden_size=3)
        for kind, gates, outputs in (("RNN", 1, 2), ("GRU", 3, 2), ("LSTM", 4, 3))
    ),
    *(
        case(
            kind,
            SEQUENCE,
            *recurrent(gates, directions=2, bias=True),
            None,
            *[some(2, 2, 3)] * (outputs - 1),
            outputs=outputs,
            hidden_size=3,
            direction="bidirectional",
        )
        for kind, gates, outputs in (("RNN", 1, 2), ("GRU", 3, 2), ("LSTM", 4, 3))
    ),
    case("RNN", SEQUENCE, *recurrent(1), hidden_size=3, direction="reverse", activations=["Relu"]),
    case("GRU", SEQUENCE, *recurrent(3, bias=True), hidden_size=3, linear_before_reset=1),
    case("GRU", SEQUENCE, *recurrent(3), hidden_size=3, activations=["Sigmoid", "relu"], opset=7),
    case("LSTM", SEQUENCE, *recurrent(4, bias=True), hidden_size=3, activations=["Sigmoid", "Relu", "Tanh"]),
    case("LSTM", SEQUENCE, *recurrent(4, bias=True), np.array([5, 5], np.int32), hidden_size=3, opset=14),
]


def file_of_row(row: Case) -> tuple[bytes, list[str]]:
    names = [f"w{place}" if other is not None else "" for place, other in enumerate(row.others)]
    outputs = [f"y{place}" for place in range(row.outputs)]
    domain = DOMAINS.get(row.kind, "")
    given = ["x", *names] if row.first else names
    node = helper.make_node(row.kind, given, outputs, name="n", domain=domain, **row.settings)
    if row.kind == "Pad" and row.dtype == "float32" and names[1:2] == [""] and len(names) == 2:
        node.input.pop()
    element = helper.np_dtype_to_tensor_dtype(np.dtype(row.dtype))
    data = graph_bytes(
        [node],
        shape=("N", *row.shape[1:]),
        dtype=element,
        weights={name: other for name, other in zip(names, row.others, strict=True) if other is not None},
        outputs=[ValueInfoProto(name=name) for name in outputs],
        opset=row.opset,
        domains={domain: 1} if domain else {},
    )
    return data, outputs


def samples_of(row: Case) -> Array:
    rng = np.random.default_rng(3)
    if row.dtype == "bool":
        return rng.integers(0, 2, row.shape).astype(bool)
    if row.dtype != "float32":
        return rng.integers(0 if row.dtype == "uint8" else -9, 10, row.shape).astype(row.dtype)
    return rng.uniform(0.1 if row.positive else -4, 4, row.shape).astype(np.float32)


def test_every_operator_has_a_row() -> None:
    assert {row.kind for row in CASES} == set(OPERATORS)


@pytest.mark.parametrize("row", CASES, ids=str)
def test_an_operator_gives_what_the_reference_gives(row: Case) -> None:
    data, names = file_of_row(row)
    samples = samples_of(row)
    for name, wanted in zip(names, reference(row, data, names, samples), strict=True):
        found = OnnxNetwork(data, output=name)(torch.from_numpy(samples)).numpy()
        assert found.shape == wanted.shape
        assert found.dtype == wanted.dtype or wanted.dtype == np.uint16
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("row", CASES, ids=str)
def test_an_attacker_gets_the_same(row: Case) -> None:
    data, names = file_of_row(row)
    samples = samples_of(row)
    given = torch.from_numpy(samples.astype(np.float32)).requires_grad_()
    model = onnx.shape_inference.infer_shapes(model_of(data))
    types = {
        value.name: value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)
    }
    for name, wanted in zip(names, reference(row, data, names, samples), strict=True):
        program = OnnxProgram(file_of(model, output=name), substitutes=substitutes(types))
        found = program({"x": given})
        values = (found.index if isinstance(found, Choice) else found).detach().numpy()
        assert values.shape == wanted.shape
        np.testing.assert_allclose(values.astype(wanted.dtype), wanted, rtol=1e-5, atol=1e-5)
        # Whether two values are equal has no neighbour that says more.
        if row.kind in NO_GRADIENT - {"Equal"} | {"Cast", "CastLike"}:
            assert isinstance(found, Choice) or found.requires_grad


def reference(row: Case, data: bytes, names: list[str], samples: Array) -> list[Array]:
    if row.oracle == "onnx":
        return list(ReferenceEvaluator(onnx.load_model_from_string(data)).run(names, {"x": samples}))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return list(session.run(names, {"x": samples}))
