"""An ONNX file as a frozen torch module: values and gradients of the original, and every refusal."""

import threading
import warnings
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.nn import functional

from obfnet.core.errors import DtypeError, ModelError, ShapeError
from obfnet.core.spec import InputSpec
from obfnet.export import inference_onnx
from obfnet.models.onnx_network import OnnxNetwork, gradient_faults
from tests.unit.models.graphs import graph_bytes

SHAPE = (3, 8, 8)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.block = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ELU(), nn.Conv2d(8, 8, 3, padding=1)
        )
        self.pool, self.head = nn.MaxPool2d(3, 2, 1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.pool(functional.relu(x + self.block(x)))
        return self.head(functional.adaptive_avg_pool2d(x, 1).flatten(1))


class Depthwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.Hardswish(),
            nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.BatchNorm2d(8),
            nn.ReLU6(),
            nn.Conv2d(8, 6, 1),
            nn.Hardsigmoid(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(24, 5),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.mixed, self.feed, self.head = nn.Linear(8, 24), nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        count, length, width = x.shape
        parts = self.mixed(self.norm(x)).reshape(count, length, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        q, k, v = parts[0], parts[1], parts[2]
        weights = (q @ k.transpose(-2, -1) / 2.0).softmax(-1)
        x = x + (weights @ v).transpose(1, 2).reshape(count, length, width)
        return self.head(functional.gelu(self.feed(x))[:, 0])


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.both = nn.LSTM(24, 6, 2, batch_first=True, bidirectional=True)
        self.one, self.plain = nn.GRU(12, 7, batch_first=True), nn.RNN(7, 6, nonlinearity="relu")
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.permute(0, 2, 1, 3).flatten(2)
        return self.head(self.plain(self.one(self.both(rows)[0])[0].transpose(0, 1))[1][0])


def torch_network(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(5)
    network = kind()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.3, 0.3)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
    return network.eval()


def exported(network: nn.Module, *, dynamo: bool) -> bytes:
    buffer = BytesIO()
    samples = torch.zeros(2, *SHAPE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not dynamo:
            free = {"input": {0: "N"}}
            torch.onnx.export(
                network, (samples,), buffer, dynamo=False, input_names=["input"], dynamic_axes=free
            )
            return buffer.getvalue()
        free = ({0: torch.export.Dim("N")},)
        program: Any = torch.onnx.export(
            network, (samples,), dynamo=True, dynamic_shapes=free, verbose=False, external_data=False
        )
    return bytes(program.model_proto.SerializeToString())


def value_and_gradient(network: Callable[[Tensor], Tensor], samples: Tensor) -> tuple[Tensor, Tensor]:
    given = samples.clone().requires_grad_()
    scores = network(given)
    (scores.log_softmax(1)[:, 1] * torch.linspace(1, 2, len(scores))).sum().backward()
    assert given.grad is not None
    return scores.detach(), given.grad


@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.parametrize("kind", [Residual, Depthwise, Attention, Recurrent])
def test_values_and_gradients_are_those_of_torch(kind: type[nn.Module], dynamo: bool) -> None:
    original = torch_network(kind)
    network = OnnxNetwork(exported(original, dynamo=dynamo))
    samples = torch.rand(5, *SHAPE)
    for found, wanted in zip(
        value_and_gradient(network, samples), value_and_gradient(original, samples), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert network.input_shape == (None, *SHAPE)
    assert (network.input_dtype, network.fixed_batch) == ("float32", None)
    assert gradient_faults(network) == []


def test_gradients_are_those_of_finite_differences() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["a"], auto_pad="SAME_UPPER"),
        helper.make_node("Softplus", ["a"], ["b"]),
        helper.make_node("AveragePool", ["b"], ["c"], kernel_shape=[2, 2], ceil_mode=1, strides=[2, 2]),
        helper.make_node("Pad", ["c"], ["d"], mode="reflect", pads=[0, 0, 1, 0, 0, 0, 0, 1]),
        helper.make_node("Upsample", ["d"], ["e"], mode="linear", scales=[1.0, 1.0, 2.0, 2.0]),
        helper.make_node("LpNormalization", ["e"], ["y"]),
    ]
    kernel = np.random.default_rng(1).normal(size=(2, 1, 2, 2))
    y = [helper.make_tensor_value_info("y", TensorProto.DOUBLE, None)]
    network = OnnxNetwork(
        graph_bytes(
            nodes,
            shape=(None, 1, 3, 3),
            dtype=TensorProto.DOUBLE,
            weights={"k": kernel},
            outputs=y,
            opset=8,
        )
    )
    samples = torch.rand(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, samples)


def test_weights_have_no_gradients_and_are_not_parameters() -> None:
    network = OnnxNetwork(linear())
    assert not list(network.parameters())
    assert network.state_dict()
    assert not network(torch.rand(2, 4)).requires_grad


def test_our_own_export_of_a_uint8_network_has_gradients_through_floats() -> None:
    original = torch_network(Depthwise)
    spec = InputSpec(shape=SHAPE, dtype="uint8", low=0.0, high=255.0, layout="CHW", preprocessing="none")
    network = OnnxNetwork(inference_onnx(original, spec))
    assert network.input_dtype == "uint8"
    assert gradient_faults(network) == []
    levels = torch.randint(0, 256, (3, *SHAPE), dtype=torch.uint8)
    found, gradient = value_and_gradient(network, levels.float())
    torch.testing.assert_close(found, network(levels))
    torch.testing.assert_close(found, original(levels / 255).softmax(1))
    assert bool(gradient.any())


def test_half_precision_is_computed_in_float32() -> None:
    weight = np.ones((4, 3), dtype=np.float16)
    nodes = [helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16), matmul("h", "w", "y")]
    network = OnnxNetwork(graph_bytes(nodes, dtype=TensorProto.FLOAT16, weights={"w": weight}))
    assert network.input_dtype == "float16"
    samples = torch.full((2, 4), 1 / 3)
    assert network(samples).dtype == torch.float32
    torch.testing.assert_close(network(samples), torch.full((2, 3), 4 / 3))
    assert network(samples.half()).dtype == torch.float32


def test_a_group_normalisation_of_opset_18_has_a_scale_to_a_group() -> None:
    node = helper.make_node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2)
    scale, offset = np.array([1.5, 0.5], dtype=np.float32), np.array([0.1, 0.2], dtype=np.float32)
    network = OnnxNetwork(
        graph_bytes([node], shape=("N", 4, 3, 3), weights={"s": scale, "b": offset}, opset=18)
    )
    samples = torch.rand(2, 4, 3, 3)
    wide = [torch.from_numpy(one.repeat(2)) for one in (scale, offset)]
    torch.testing.assert_close(network(samples), functional.group_norm(samples, 2, *wide))


def test_quantised_weights_are_unpacked_once() -> None:
    weights = {"q": np.arange(12, dtype=np.int8).reshape(4, 3), "s": np.array(0.5, dtype=np.float32)}
    nodes = [helper.make_node("DequantizeLinear", ["q", "s"], ["w"]), matmul("x", "w", "y")]
    network = OnnxNetwork(graph_bytes(nodes, weights=weights))
    assert [buffer.dtype for buffer in network.buffers()] == [torch.float32]
    wanted = torch.ones(1, 4) @ torch.from_numpy(weights["q"] * weights["s"])
    torch.testing.assert_close(network(torch.ones(1, 4)), wanted)


def test_several_threads_may_run_it_at_once() -> None:
    network = OnnxNetwork(exported(torch_network(Residual), dynamo=False))
    batches = [torch.rand(2, *SHAPE) for _ in range(4)]
    wanted = [network(batch) for batch in batches]
    equal = [True] * 4

    def repeat(place: int) -> None:
        for _ in range(10):
            equal[place] &= bool(torch.equal(network(batches[place]), wanted[place]))

    threads = [threading.Thread(target=repeat, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(equal)


def test_a_function_of_the_file_is_written_out() -> None:
    double = helper.make_function(
        "own", "Double", ["a"], ["b"], [node("Add", "a", "a", out="b")], [helper.make_opsetid("", 17)]
    )
    used = helper.make_node("Double", ["x"], ["y"], domain="own")
    network = OnnxNetwork(graph_bytes([used], domains={"own": 1}, functions=[double]))
    torch.testing.assert_close(network(torch.ones(1, 4)), torch.full((1, 4), 2.0))


def node(kind: str, *inputs: str, out: str = "y", name: str = "", **settings: Any) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), [out], name=name, **settings)


def matmul(a: str, b: str, out: str) -> onnx.NodeProto:
    return node("MatMul", a, b, out=out)


def linear(**rest: Any) -> bytes:
    return graph_bytes([matmul("x", "w", "y")], weights={"w": np.ones((4, 3), dtype=np.float32)}, **rest)


def labelled(**more: int) -> bytes:
    """As scikit-learn's convertors write it: a label by operators of another domain, and probabilities."""
    nodes = [
        node("Softmax", "x", out="probabilities"),
        node("ArgMax", "x", out="best", axis=1),
        helper.make_node("ArrayFeatureExtractor", ["classes", "best"], ["label"], domain="ai.onnx.ml"),
        *(node("Exp", "x", out=name) for name in more),
    ]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 4]),
        *(helper.make_tensor_value_info(name, kind, ["N", 4]) for name, kind in more.items()),
    ]
    classes = {"classes": np.arange(4)}
    return graph_bytes(nodes, weights=classes, outputs=outputs, domains={"ai.onnx.ml": 3})


def test_the_probabilities_beside_a_label_are_taken() -> None:
    network = OnnxNetwork(labelled())
    assert network.output_name == "probabilities"
    torch.testing.assert_close(network(torch.zeros(1, 4)), torch.full((1, 4), 0.25))


def test_an_output_can_be_named() -> None:
    assert OnnxNetwork(labelled(other=TensorProto.FLOAT), output="other").output_name == "other"


def test_a_batch_axis_that_the_file_fixes_is_told() -> None:
    network = OnnxNetwork(linear(shape=(1, 4)))
    assert (network.fixed_batch, network.input_shape) == (1, (1, 4))
    assert network(torch.zeros(3, 4)).shape == (3, 3)


def test_samples_of_another_shape_or_type_are_refused() -> None:
    network = OnnxNetwork(linear())
    with pytest.raises(ShapeError, match=r"samples of shape \('N', 4\), got \(2, 5\)"):
        network(torch.zeros(2, 5))
    with pytest.raises(ShapeError):
        network(torch.zeros(4))
    with pytest.raises(DtypeError, match=r"float32, got torch\.int64"):
        network(torch.zeros(2, 4, dtype=torch.int64))


def test_an_operator_that_fails_is_named() -> None:
    network = OnnxNetwork(
        graph_bytes([node("Reshape", "x", "to", name="r")], weights={"to": np.array([1, 4])}, shape=(1, 4))
    )
    assert network.fixed_batch == 1
    with pytest.raises(ModelError, match=r"Reshape \(node 'r'\) to run on \(2, 4\), \(2,\)"):
        network(torch.zeros(2, 4))


FAULTS: dict[str, tuple[list[onnx.NodeProto], list[str]]] = {
    "Round": ([node("Round", "x", name="r")], ["Round (node 'r'): no gradient"]),
    "Cast": (
        [node("Cast", "x", out="i", name="c", to=TensorProto.INT32), node("Cast", "i", to=TensorProto.FLOAT)],
        ["Cast (node 'c'): no gradient, to int32"],
    ),
    "two in a row": (
        [node("Sign", "x", out="a", name="s"), node("Exp", "a", out="b"), node("Floor", "b", name="f")],
        ["Sign (node 's'): no gradient", "Floor (node 'f'): no gradient"],
    ),
    "picked by index": (
        [node("ArgMax", "x", out="i", name="a", keepdims=0, axis=1), node("Gather", "table", "i")],
        ["ArgMax (node 'a'): no gradient"],
    ),
    "one of many": (
        [node("ArgMax", "x", out="i", name="a", axis=1, keepdims=0), node("OneHot", "i", "depth", "pair")],
        ["ArgMax (node 'a'): no gradient"],
    ),
    "quantised": (
        [node("QuantizeLinear", "x", "unit", out="q", name="q"), node("DequantizeLinear", "q", "unit")],
        ["QuantizeLinear (node 'q'): no gradient"],
    ),
    "compared and chosen from constants": (
        [node("Greater", "x", "unit", out="g", name="g"), node("Where", "g", "table", "table")],
        ["Greater (node 'g'): no gradient"],
    ),
    "only its shape": (
        [node("Shape", "x", out="s"), node("ConstantOfShape", "s")],
        ["output 'y' does not depend on the values of input 'x'"],
    ),
    "a relu by comparison": ([node("Greater", "x", "unit", out="g"), node("Where", "g", "x", "table")], []),
    "a mask": (
        [
            node("Greater", "x", "unit", out="g"),
            node("Cast", "g", out="m", to=TensorProto.FLOAT),
            node("Mul", "x", "m"),
        ],
        [],
    ),
    "a way around": ([node("Round", "x", out="r"), node("Add", "x", "r")], []),
    "beside the output": ([node("Exp", "x"), node("ArgMax", "x", out="label")], []),
    "shape arithmetic": (
        [
            node("Shape", "x", out="s"),
            node("Cast", "s", out="t", to=TensorProto.INT32),
            node("Reshape", "x", "s"),
        ],
        [],
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_operators_without_a_gradient_are_named(name: str) -> None:
    nodes, wanted = FAULTS[name]
    weights = {
        "unit": np.array(0.5, dtype=np.float32),
        "table": np.ones((4,), dtype=np.float32),
        "depth": np.array(4),
        "pair": np.array([0, 1], dtype=np.float32),
    }
    network = OnnxNetwork(graph_bytes(nodes, weights=weights))
    assert gradient_faults(network) == wanted
    samples = torch.rand(2, 4, requires_grad=True)
    scores = network(samples)
    if scores.requires_grad:
        scores.sum().backward()
    assert (samples.grad is not None and bool(samples.grad.any())) == (not wanted)


def test_arithmetic_on_whole_numbers_has_no_gradient() -> None:
    nodes = [node("Div", "x", "two", out="half", name="d"), node("Cast", "half", to=TensorProto.FLOAT)]
    network = OnnxNetwork(
        graph_bytes(nodes, dtype=TensorProto.UINT8, weights={"two": np.array(2, dtype=np.uint8)})
    )
    assert gradient_faults(network) == ["Div (node 'd'): no gradient, computes with whole numbers"]
    # As floats they would give halves.
    assert network(torch.full((1, 4), 7.0)).tolist() == [[3.0] * 4]
    with pytest.raises(DtypeError):
        network(torch.ones(1, 4, dtype=torch.int64))


def test_a_cast_to_the_type_of_another_value_is_named() -> None:
    network = OnnxNetwork(
        graph_bytes([node("CastLike", "x", "like", name="c")], weights={"like": np.array(1)})
    )
    assert gradient_faults(network) == ["CastLike (node 'c'): no gradient"]


def external() -> bytes:
    model = onnx.load_model_from_string(linear())
    weight = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(weight, "weights.bin")
    weight.data_location = TensorProto.EXTERNAL
    return bytes(model.SerializeToString())


def several() -> bytes:
    nodes = [node("GridSample", "x", "w", "w", out="v0", name="grid")]
    nodes += [
        helper.make_node(f"Odd{place}", [f"v{place}"], [f"v{place + 1}"], name=f"n{place}", domain="com.x")
        for place in range(6)
    ]
    return graph_bytes([*nodes, node("Exp", "v6")], weights={"w": np.ones(1)}, domains={"com.x": 1})


def branch() -> bytes:
    inner = helper.make_graph(
        [node("Exp", "x", out="z")], "inner", [], [helper.make_tensor_value_info("z", 1, None)]
    )
    weights = {"c": np.array(True)}
    return graph_bytes([node("If", "c", name="i", then_branch=inner, else_branch=inner)], weights=weights)


def with_output(value: onnx.ValueInfoProto) -> bytes:
    return graph_bytes([node("SequenceConstruct", "x")], outputs=[value])


SECOND = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 4])
SEQUENCE = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "expected a whole ONNX file, got one that is truncated"),
    "another format": (lambda: b"PK\x03\x04" * 9, "expected a whole ONNX file, got one that is truncated"),
    "truncated": (lambda: linear()[:-40], "expected a whole ONNX file, got one that is truncated"),
    "external": (external, r"weights inside, got 1 weights in other files; save a single file"),
    "old opset": (lambda: linear(opset=6), "opset from 7 to [0-9]+, got 6"),
    "new opset": (lambda: linear(opset=99), "opset from 7 to [0-9]+, got 99"),
    "several operators": (
        several,
        r"got GridSample \(node 'grid'\), com\.x\.Odd0 \(node 'n0'\), .*Odd3 \(node 'n3'\) and 2 more;",
    ),
    "control flow": (branch, r"got If \(node 'i'\), control flow"),
    "a mode": (
        lambda: graph_bytes(
            [node("Resize", "x", "", "s", name="r", mode="cubic")], weights={"s": np.ones(2)}
        ),
        r"got Resize \(node 'r'\) with mode 'cubic'",
    ),
    "a norm": (
        lambda: graph_bytes(
            [helper.make_node("Normalizer", ["x"], ["y"], name="n", domain="ai.onnx.ml", norm="MAX")],
            domains={"ai.onnx.ml": 1},
        ),
        r"got ai\.onnx\.ml\.Normalizer \(node 'n'\) with norm 'MAX'",
    ),
    "one score": (
        lambda: graph_bytes(
            [
                helper.make_node(
                    *("LinearClassifier", ["x"], ["l", "y"]),
                    **{"name": "n", "domain": "ai.onnx.ml", "coefficients": [1.0] * 4, "intercepts": [0.0]},
                )
            ],
            domains={"ai.onnx.ml": 1},
        ),
        r"got ai\.onnx\.ml\.LinearClassifier \(node 'n'\) with one score for two classes",
    ),
    "an operator of another domain": (
        lambda: graph_bytes([node("Normalizer", "x", name="n", norm="L1")]),
        r"got Normalizer \(node 'n'\)",
    ),
    "a coupled gate": (
        lambda: graph_bytes([node("LSTM", *"xww", name="l", hidden_size=4, input_forget=1)]),
        r"got LSTM \(node 'l'\) with input_forget 1",
    ),
    "peepholes": (
        lambda: graph_bytes([node("LSTM", *"xww", *[""] * 4, "w", name="l", hidden_size=4)]),
        r"got LSTM \(node 'l'\) with peepholes",
    ),
    "a rare activation": (
        lambda: graph_bytes([node("RNN", *"xww", name="r", hidden_size=4, activations=["Affine"])]),
        r"got RNN \(node 'r'\) with activation 'affine'",
    ),
    "sequences of several lengths": (
        lambda: graph_bytes(
            [node("RNN", *"vww", "", "n", out="z", name="r", hidden_size=2), node("Add", "x", "z")],
            weights={"v": np.ones((3, 2, 2)), "w": np.ones((1, 2, 2)), "n": np.array([3, 2])},
        ),
        r"whole sequences at operator RNN \(node 'r'\), got shorter ones",
    ),
    "a cast to text": (
        lambda: graph_bytes([node("Cast", "x", name="c", to=TensorProto.STRING)]),
        r"got Cast \(node 'c'\) with to string",
    ),
    "training": (
        lambda: graph_bytes([node("BatchNormalization", *"xwwww", name="b", training_mode=1)]),
        r"got BatchNormalization \(node 'b'\) with training_mode 1",
    ),
    "two inputs": (lambda: linear(inputs=[SECOND]), "expected a model of one input, got 2: 'x', 'z'"),
    "an undefined value": (
        lambda: graph_bytes([node("Add", "x", "w", name="a")]),
        r"Add \(node 'a'\).* no 'w'",
    ),
    "an output of nothing": (lambda: graph_bytes([node("Exp", "x", out="z")]), "computes its output 'y'"),
    "several outputs": (
        lambda: labelled(other=TensorProto.FLOAT),
        r"got 'label' \(int64, rank 1\), 'probabilities' \(float32, rank 2\), 'other' \(float32, rank 2\)",
    ),
    "a sequence": (lambda: with_output(SEQUENCE), r"an output that is a tensor, got 'y' \(no tensor\)"),
    "an input of text": (
        lambda: linear(dtype=TensorProto.STRING),
        "an input that is a tensor of numbers, its rank known, got 'x' of string",
    ),
    "a fold that fails": (
        lambda: graph_bytes(
            [node("Reshape", "w", "to", out="v", name="r"), node("Add", "x", "v")],
            weights={"w": np.ones(3), "to": np.array([2])},
        ),
        r"expected operator Reshape \(node 'r'\) to run on \(3,\), \(1,\), got RuntimeError",
    ),
    "an input that is left out": (
        lambda: graph_bytes(
            [node("Reshape", "w", "", out="v", name="r"), node("Add", "x", "v")], weights={"w": np.ones(3)}
        ),
        r"expected operator Reshape \(node 'r'\) to run on \(3,\), got AttributeError",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_run_is_refused_with_the_reason(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(ModelError, match=message) as caught:
        OnnxNetwork(make())
    assert "\n" not in str(caught.value)


def test_an_output_that_is_not_there_is_refused() -> None:
    with pytest.raises(ModelError, match=r"an output 'z', got 'y' \(float32, unknown rank\)"):
        OnnxNetwork(linear(), output="z")


def test_dropout_in_training_mode_is_refused() -> None:
    used = node("Dropout", "x", "", "on", name="d")
    with pytest.raises(ModelError, match=r"Dropout \(node 'd'\) as in inference, got its training mode"):
        OnnxNetwork(graph_bytes([used], weights={"on": np.array(True)}))(torch.zeros(1, 4))
