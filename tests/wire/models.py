"""Small ONNX models, and bundles and pools made of them without a reader, so that faults can be built in."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from obfnet.bundle.manifest import Manifest
from obfnet.bundle.pool import Pool
from obfnet.bundle.reader import Bundle
from obfnet.core.files import sha256_hex
from obfnet.core.spec import InputSpec

SHAPE = (1, 4, 4)
CLASSES = 3
SPEC = InputSpec(shape=SHAPE, dtype="float32", low=0.0, high=1.0, layout="CHW", preprocessing="uint8 / 255")
SPEC_UINT8 = InputSpec(shape=SHAPE, dtype="uint8", low=0, high=255, layout="CHW", preprocessing="none")


def model_bytes(
    nodes, initializers=(), *, output_shape, input_type=TensorProto.FLOAT, output_type=None, inputs=("x",)
):
    """A model of input(s) `x` (N, 1, 4, 4) and output `y`."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, input_type, ["N", *SHAPE]) for name in inputs],
        [helper.make_tensor_value_info("y", output_type or TensorProto.FLOAT, output_shape)],
        list(initializers),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def classifier_bytes(*, dtype="float32", seed=0):
    """A linear classifier of 16 values into 3 classes."""
    weights = np.random.default_rng(seed).normal(size=(16, CLASSES)).astype(np.float32)
    uint8 = dtype == "uint8"
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    return model_bytes(
        nodes,
        [numpy_helper.from_array(weights, "w")],
        output_shape=["N", CLASSES],
        input_type=TensorProto.UINT8 if uint8 else TensorProto.FLOAT,
    )


def obfuscator_bytes(*nodes, seed=0):
    """Mixes the 16 values and squashes them into (0, 1); or just `nodes`, to build in a fault."""
    if nodes:
        return model_bytes(list(nodes), output_shape=["N", *SHAPE])
    weights = np.random.default_rng(seed).normal(size=(16, 16)).astype(np.float32)
    return model_bytes(
        [
            helper.make_node("Flatten", ["x"], ["f"]),
            helper.make_node("MatMul", ["f", "w"], ["m"]),
            helper.make_node("Sigmoid", ["m"], ["s"]),
            helper.make_node("Reshape", ["s", "shape"], ["y"]),
        ],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.array([-1, *SHAPE], np.int64), "shape"),
        ],
        output_shape=["N", *SHAPE],
    )


def faulty_obfuscators():
    """Graphs that a device must never send the output of, by the check that stops them."""
    reshaped = model_bytes(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [numpy_helper.from_array(np.array([-1, 1, 2, 8], np.int64), "shape")],
        output_shape=["N", 1, 2, 8],
    )
    doubled = model_bytes([helper.make_node("Concat", ["x", "x"], ["y"], axis=0)], output_shape=["M", *SHAPE])
    failing = model_bytes(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [numpy_helper.from_array(np.array([5, 7], np.int64), "shape")],
        output_shape=["N", *SHAPE],
    )
    return {
        "not-a-number": (
            "outputs",
            obfuscator_bytes(
                helper.make_node("Sub", ["x", "x"], ["z"]), helper.make_node("Div", ["z", "z"], ["y"])
            ),
        ),
        "out-of-range": (
            "outputs",
            obfuscator_bytes(
                helper.make_node("Exp", ["x"], ["e"]), helper.make_node("Add", ["e", "e"], ["y"])
            ),
        ),
        "copy": ("pass-through", obfuscator_bytes(helper.make_node("Identity", ["x"], ["y"]))),
        "wrong-shape": ("outputs", reshaped),
        "wrong-count": ("outputs", doubled),
        "fails": ("runs", failing),
    }


def bundle_of(graph, *, name="bundle-0", spec=SPEC, budget_bits=None):
    """A bundle that no reader has seen."""
    manifest = Manifest(
        name=name,
        case="test",
        input=spec,
        protection="published",
        architecture="mlp",
        hidden=None,
        parameters=1,
        macs=1,
        budget_bits=budget_bits,
        inference_network_id="0" * 64,
        members={"obfuscate.onnx": "0" * 64},
        public_key="ed25519:" + "0" * 64,
    )
    return Bundle(manifest=manifest, graph=graph, sha256=sha256_hex(graph), size_bytes=len(graph))


def pool_of(*graphs, spec=SPEC, budget_bits=None):
    """A pool that no reader has seen."""
    bundles = tuple(
        bundle_of(graph, name=f"bundle-{index}", spec=spec, budget_bits=budget_bits)
        for index, graph in enumerate(graphs)
    )
    return Pool(
        bundles=bundles,
        folder=Path("nowhere"),
        public_key="ed25519:" + "0" * 64,
        inference_network_id="0" * 64,
    )


def raw_samples(count=1, *, seed=0, dtype="float32"):
    """Raw samples of the spec."""
    values = np.random.default_rng(seed).integers(0, 256, (count, *SHAPE)).astype(np.uint8)
    return values if dtype == "uint8" else values.astype(np.float32) / np.float32(255)
