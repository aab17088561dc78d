"""Makes a classifier node by node: `PYTHONPATH=src python -m tests.classifiers.make_by_hand`.

Made with onnx 1.23.2. It is trained for nothing: it asks which training samples are near.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from obfnet import load_case

HERE = Path(__file__).parent
KEPT = 400


def main() -> None:
    """Soft nearest neighbours: each kept sample votes for its label, the nearer the more."""
    digits = load_case("digits").train
    kept, labels = digits.samples[:KEPT].reshape(KEPT, 64), np.array(digits.labels)[:KEPT]
    node = helper.make_node
    nodes = [
        node("Flatten", ["pictures"], ["rows"], name="flatten"),
        node("Einsum", ["rows", "kept"], ["likeness"], equation="nd,kd->nk", name="likeness"),
        # The square of a row is the same for all that are kept: the votes do not need it.
        node("Sub", ["likeness", "halves"], ["nearness"], name="nearness"),
        node("Mul", ["nearness", "sharpness"], ["sharp"], name="sharpen"),
        node("Softmax", ["sharp"], ["votes"], axis=1, name="votes"),
        node("MatMul", ["votes", "labels"], ["chances"], name="count"),
    ]
    weights = {
        "kept": kept,
        "halves": (kept**2).sum(1) / 2,
        "sharpness": np.array(5.0, np.float32),
        "labels": np.eye(10, dtype=np.float32)[labels],
    }
    graph = helper.make_graph(
        nodes,
        "neighbours",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("chances", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=7)
    onnx.checker.check_model(model)
    onnx.save(model, HERE / "neighbours-by-hand.onnx")


if __name__ == "__main__":
    main()
