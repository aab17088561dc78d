"""Small ONNX graphs, fair and hostile, as bytes; made with the `onnx` package, which no device has."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from obfnet.core.spec import InputSpec

SPEC = InputSpec(
    shape=(1, 8, 8), dtype="float32", low=0.0, high=1.0, layout="CHW", preprocessing="uint8 / 255"
)
BYTE_SPEC = InputSpec(shape=(1, 8, 8), dtype="uint8", low=0, high=255, layout="CHW", preprocessing="none")
DIGIT_SPEC = InputSpec(
    shape=(1, 28, 28), dtype="float32", low=0.0, high=1.0, layout="CHW", preprocessing="uint8 / 255"
)
ELEMENTS = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}


def graph_of(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    *,
    spec: InputSpec = SPEC,
    output_shape: tuple[int | str, ...] | None = None,
    batch: int | str = "N",
    opset: int = 20,
    further: Sequence[onnx.ValueInfoProto] = (),
) -> onnx.ModelProto:
    """A model from `input` to `output` with these nodes and constants, and perhaps further inputs."""
    element = ELEMENTS[spec.dtype]
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("input", element, [batch, *spec.shape]), *further],
        [helper.make_tensor_value_info("output", element, output_shape or [batch, *spec.shape])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def bytes_of(model: onnx.ModelProto) -> bytes:
    return model.SerializeToString(deterministic=True)


def node(op: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def i64(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def f32(*values: float) -> np.ndarray:
    return np.array(values if len(values) > 1 else values[0], dtype=np.float32)


def mlp_weights(spec: InputSpec, hidden: int, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    values = spec.values
    return {
        "w1": random.normal(0, values**-0.5, (values, hidden)).astype(np.float32),
        "b1": random.normal(0, 0.1, hidden).astype(np.float32),
        "w2": random.normal(0, hidden**-0.5, (hidden, values)).astype(np.float32),
        "b2": random.uniform(0.2, 0.5, values).astype(np.float32),
    }


def mlp_model(spec: InputSpec = SPEC, *, hidden: int = 12, seed: int = 0) -> onnx.ModelProto:
    """A fair published O: Gemm, ReLU, Gemm, ReLU and a cut at 1; for uint8 with conversions at its ends."""
    byte = spec.dtype == "uint8"
    constants = mlp_weights(spec, hidden, seed) | {
        "shape": i64(-1, *spec.shape),
        "zero": f32(0),
        "one": f32(1),
        "most": f32(255),
    }
    nodes = [node("Cast", "input", "as_float", to=TensorProto.FLOAT), node("Div", "as_float most", "unit")]
    if not byte:
        nodes, constants = (
            [node("Identity", "input", "unit")],
            {k: v for k, v in constants.items() if k != "most"},
        )
    nodes += [
        node("Flatten", "unit", "flat", axis=1),
        node("Gemm", "flat w1 b1", "hidden"),
        node("Relu", "hidden", "code"),
        node("Gemm", "code w2 b2", "decoded"),
        node("Clip", "decoded zero one", "cut"),
        node("Reshape", "cut shape", "scaled" if byte else "output"),
    ]
    if byte:
        nodes += [
            node("Mul", "scaled most", "large"),
            node("Round", "large", "whole"),
            node("Cast", "whole", "output", to=TensorProto.UINT8),
        ]
    return graph_of(nodes, constants, spec=spec)


def mlp(spec: InputSpec = SPEC, *, hidden: int = 12, seed: int = 0) -> bytes:
    return bytes_of(mlp_model(spec, hidden=hidden, seed=seed))


def _code(bits: int) -> dict[str, np.ndarray]:
    """Constants of a fair code: `w` (VALUES, bits) decides it, `g` (bits, VALUES) makes a sample of it."""
    random = np.random.default_rng(0)
    values = SPEC.values
    return {
        "w": random.normal(0, 1, (values, bits)).astype(np.float32),
        "g": (random.integers(-32, 33, (bits, values)) / 256).astype(np.float32),
        "half": np.full(values, 0.5, np.float32),
        "zero": f32(0),
        "one": f32(1),
        "minus": f32(-1),
        "shape": i64(-1, *SPEC.shape),
    }


def signed_code(*tail: onnx.NodeProto, bits: int = 6, **constants: np.ndarray) -> bytes:
    """A fair O with a code of signs: `code` of `logits`, and `generated` of `code`.

    Args:
        tail: Nodes from `flat`, `logits`, `code` or `generated` to `output`; none sends what was generated.
        bits: Length of the code.
        constants: Others than the fair ones: `w` (VALUES, bits), `g` (bits, VALUES), or further ones.
    """
    nodes = [
        node("Flatten", "input", "flat", axis=1),
        node("Gemm", "flat w", "logits"),
        node("Greater", "logits zero", "bits"),
        node("Where", "bits one minus", "code"),
        node("Gemm", "code g half", "values"),
        node("Clip", "values zero one", "generated"),
        *(tail or (node("Reshape", "generated shape", "output"),)),
    ]
    return bytes_of(graph_of(nodes, _code(bits) | constants))


def flipped_code(
    *join: onnx.NodeProto,
    bits: int = 6,
    flips: tuple[int | str, ...] | None = None,
    kind: int = TensorProto.BOOL,
    name: str = "flips",
    **constants: np.ndarray,
) -> bytes:
    """A fair randomised O: each of its `bits` meets a flip of its own, and `sent` is made into a sample.

    Args:
        join: Nodes from `bits` and `flips` to `sent`; none inverts each bit by its own flip.
        bits: Length of the code.
        flips: Shape of the second input.
        kind: Its element type.
        name: Its name.
        constants: Further ones.
    """
    nodes = [
        node("Flatten", "input", "flat", axis=1),
        node("Gemm", "flat w", "logits"),
        node("Greater", "logits zero", "bits"),
        *(join or (node("Xor", "bits flips", "sent"),)),
        node("Where", "sent one minus", "code"),
        node("Gemm", "code g half", "values"),
        node("Clip", "values zero one", "generated"),
        node("Reshape", "generated shape", "output"),
    ]
    given = helper.make_tensor_value_info(name, kind, list(flips or ("N", bits)))
    return bytes_of(graph_of(nodes, _code(bits) | constants, further=[given]))


def graded_code(
    *join: onnx.NodeProto, kind: int = TensorProto.BOOL, name: str = "leave", **constants: np.ndarray
) -> bytes:
    """A fair O of two levels: three bits of a word, one of doubt, and two details for where it may be rich.

    Args:
        join: Nodes from `word`, `doubt`, `more` and `leave` to `sent`; none lets details through by both.
        kind: Element type of the second input.
        name: Its name.
        constants: Further ones.
    """
    parts = (("word", 0, 3), ("doubt", 3, 4), ("more", 4, 6))
    places = {f"at{place}": i64(place) for place in (0, 3, 4, 6)} | {"second": i64(1)}
    split = [
        one
        for part, first, last in parts
        for one in (
            node("Slice", f"logits at{first} at{last} second", f"{part}_logits"),
            node("Greater", f"{part}_logits zero", part),
        )
    ]
    return flipped_code(
        *split,
        *(join or fair_levels()),
        flips=("N", 1),
        kind=kind,
        name=name,
        **places,
        **constants,
    )


def fair_levels(word: str = "word") -> tuple[onnx.NodeProto, ...]:
    """Details where the sample needs them and there is leave."""
    return (
        node("And", "doubt leave", "level"),
        node("And", "more level", "details"),
        node("Concat", f"{word} level details", "sent", axis=1),
    )


def noisy_code(
    *join: onnx.NodeProto, bits: int = 6, noise: tuple[int | str, ...] | None = None, **constants: np.ndarray
) -> bytes:
    """A fair O of noisy numbers: each meets noise of its own, and `sent` is made into a sample.

    Args:
        join: Nodes from `logits` and `noise` to `sent`; none clips whole numbers and adds the noise.
        bits: How many numbers.
        noise: Shape of the second input.
        constants: Others than the fair ones: `low`, `high`, or further ones.
    """
    code = _code(bits)
    # Numbers of the size that noise has, and a generator for them.
    fair = code | {
        "w": code["w"] * f32(30),
        "g": code["g"] / f32(64),
        "low": np.array(-64, np.int32),
        "high": np.array(64, np.int32),
    }
    nodes = [
        node("Flatten", "input", "flat", axis=1),
        node("Gemm", "flat w", "logits"),
        *(join or fair_noise()),
        node("Gemm", "sent g half", "values"),
        node("Clip", "values zero one", "generated"),
        node("Reshape", "generated shape", "output"),
    ]
    given = helper.make_tensor_value_info("noise", TensorProto.FLOAT, list(noise or ("N", bits)))
    return bytes_of(graph_of(nodes, fair | constants, further=[given]))


def fair_noise(sent: str = "sent") -> tuple[onnx.NodeProto, ...]:
    """Whole numbers in -64 ... 64, and noise on each."""
    return (
        node("Cast", "logits", "whole", to=TensorProto.INT32),
        node("Clip", "whole low high", "bounded"),
        node("Cast", "bounded", "numbers", to=TensorProto.FLOAT),
        node("Add", "numbers noise", sent),
    )


def cnn(spec: InputSpec = SPEC, *, seed: int = 0) -> bytes:
    """A fair convolutional O with batch normalisation and a sigmoid at its end."""
    random = np.random.default_rng(seed)
    half = spec.values // 4

    def normal(*shape: int) -> np.ndarray:
        return random.normal(0, shape[-1] ** -0.5, shape).astype(np.float32)

    constants = {
        "k": normal(3, spec.shape[0], 3, 3),
        "s": np.ones(3, np.float32),
        "z": np.zeros(3, np.float32),
        "w": normal(3 * half, 20),
        "v": normal(20, spec.values),
        "shape": i64(0, *spec.shape),
    }
    nodes = [
        node("Conv", "input k", "c", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c s z z s", "n"),
        node("LeakyRelu", "n", "r"),
        node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", "p", "f"),
        node("MatMul", "f w", "h"),
        node("Tanh", "h", "t"),
        node("MatMul", "t v", "d"),
        node("Sigmoid", "d", "q"),
        node("Reshape", "q shape", "output"),
    ]
    return bytes_of(graph_of(nodes, constants, spec=spec))


def coded(spec: InputSpec = SPEC, *, bits: int = 4, seed: int = 0) -> bytes:
    """A fair coded O: the nearest of 2^bits codewords, looked up and sent."""
    random = np.random.default_rng(seed)
    constants = {
        "w": random.normal(0, 1, (spec.values, 2**bits)).astype(np.float32),
        "book": random.uniform(0, 1, (2**bits, *spec.shape)).astype(np.float32),
    }
    nodes = [
        node("Flatten", "input", "f"),
        node("MatMul", "f w", "scores"),
        node("ArgMax", "scores", "index", axis=1, keepdims=0),
        node("Gather", "book index", "output"),
    ]
    return bytes_of(graph_of(nodes, constants, spec=spec))


def constant(spec: InputSpec = SPEC) -> bytes:
    """Sends zeros whatever comes in: useless, but it gives nothing away."""
    values = spec.values
    constants = {"w": np.zeros((values, values), np.float32), "shape": i64(-1, *spec.shape)}
    nodes = [node("Flatten", "input", "f"), node("MatMul", "f w", "m"), node("Reshape", "m shape", "output")]
    return bytes_of(graph_of(nodes, constants, spec=spec))


# Each of the following sends raw values.


def identity() -> bytes:
    return bytes_of(graph_of([node("Identity", "input", "output")], {}))


def identity_through_reshapes() -> bytes:
    constants = {"flat": i64(-1, 64), "shape": i64(-1, 1, 8, 8), "one": f32(1)}
    nodes = [
        node("Reshape", "input flat", "a"),
        node("Mul", "a one", "b"),
        node("Transpose", "b", "c", perm=[1, 0]),
        node("Transpose", "c", "d", perm=[1, 0]),
        node("Reshape", "d shape", "output"),
    ]
    return bytes_of(graph_of(nodes, constants))


def affine_copy() -> bytes:
    constants = {"scale": f32(-0.5), "shift": f32(0.75)}
    return bytes_of(graph_of([node("Mul", "input scale", "a"), node("Add", "a shift", "output")], constants))


def gathered_permutation() -> bytes:
    order = np.random.default_rng(1).permutation(64)
    constants = {"flat": i64(-1, 64), "order": order, "shape": i64(-1, 1, 8, 8)}
    nodes = [
        node("Reshape", "input flat", "a"),
        node("Gather", "a order", "b", axis=1),
        node("Reshape", "b shape", "output"),
    ]
    return bytes_of(graph_of(nodes, constants))


def pieces_put_together() -> bytes:
    nodes = [node("Split", "input", "a b", axis=2, num_outputs=2), node("Concat", "b a", "output", axis=2)]
    return bytes_of(graph_of(nodes, {}))


def linear(matrix: np.ndarray, shift: float = 0.0) -> bytes:
    """Flat sample times `matrix`, plus a constant, cut to the range."""
    constants = {
        "m": matrix.astype(np.float32),
        "b": np.full(64, shift, np.float32),
        "shape": i64(-1, 1, 8, 8),
        "zero": f32(0),
        "one": f32(1),
    }
    nodes = [
        node("Flatten", "input", "a"),
        node("Gemm", "a m b", "c"),
        node("Clip", "c zero one", "d"),
        node("Reshape", "d shape", "output"),
    ]
    return bytes_of(graph_of(nodes, constants))


def identity_matrix() -> bytes:
    return linear(np.eye(64))


def permutation_matrix() -> bytes:
    return linear(np.eye(64)[np.random.default_rng(2).permutation(64)])


def negative_matrix() -> bytes:
    return linear(-0.9 * np.eye(64), 0.95)


def mostly_identity_matrix() -> bytes:
    matrix = np.eye(64)
    matrix[:, :20] = np.random.default_rng(3).uniform(0, 1 / 32, (64, 20))
    return linear(matrix)


def identity_under_noise() -> bytes:
    return linear(0.8 * np.eye(64) + np.random.default_rng(4).normal(0, 0.005, (64, 64)), 0.1)


def delta_convolution() -> bytes:
    kernel = np.zeros((1, 1, 3, 3), np.float32)
    kernel[0, 0, 1, 1] = 1
    return bytes_of(graph_of([node("Conv", "input k", "output", pads=[1, 1, 1, 1])], {"k": kernel}))


def residual_without_rest() -> bytes:
    constants = {"m": np.zeros((8, 8), np.float32)}
    return bytes_of(graph_of([node("MatMul", "input m", "a"), node("Add", "input a", "output")], constants))


def copy_of_dark_samples() -> bytes:
    """Copies only where the mean is below 0.4, as in digits: plain noise would not notice."""
    weights = mlp_weights(SPEC, 12, 5)
    constants = weights | {"limit": f32(0.4), "shape": i64(-1, 1, 8, 8), "zero": f32(0), "one": f32(1)}
    nodes = [
        node("ReduceMean", "input axes", "mean", keepdims=1),
        node("Less", "mean limit", "dark"),
        node("Flatten", "input", "flat"),
        node("Gemm", "flat w1 b1", "hidden"),
        node("Relu", "hidden", "code"),
        node("Gemm", "code w2 b2", "decoded"),
        node("Clip", "decoded zero one", "cut"),
        node("Reshape", "cut shape", "fair"),
        node("Where", "dark input fair", "output"),
    ]
    return bytes_of(graph_of(nodes, constants | {"axes": i64(1, 2, 3)}))


def copy_in_batches_only() -> bytes:
    """Mixes the samples of a batch; a batch of one, as a device sends it, comes back as it was."""
    constants = {"axis": i64(0)}
    nodes = [node("ReduceMean", "input axis", "mean", keepdims=1), node("Mul", "input zero", "nothing")]
    nodes += [node("Add", "nothing mean", "output")]
    return bytes_of(graph_of(nodes, constants | {"zero": f32(0)}))


def coarse_copy_of_bytes() -> bytes:
    """Four levels of grey of the raw sample, through a matrix."""
    constants = {"m": np.eye(8, dtype=np.float32), "step": f32(85)}
    nodes = [
        node("Cast", "input", "a", to=TensorProto.FLOAT),
        node("MatMul", "a m", "b"),
        node("Div", "b step", "c"),
        node("Round", "c", "d"),
        node("Mul", "d step", "e"),
        node("Cast", "e", "output", to=TensorProto.UINT8),
    ]
    return bytes_of(graph_of(nodes, constants, spec=BYTE_SPEC))
