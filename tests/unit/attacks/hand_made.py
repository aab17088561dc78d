"""Small ONNX graphs, made by hand: chains of operators."""

from typing import Any, Final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
Operation = tuple[str, list[str], dict[str, Any]]
F: Final = TensorProto.FLOAT
U8: Final = TensorProto.UINT8
I64: Final = TensorProto.INT64
BOOL: Final = TensorProto.BOOL


def graph(
    operations: list[Operation],
    shape: tuple[int, ...] = (2, 6, 6),
    *,
    kinds: tuple[int, int] = (F, F),
    **weights: Array,
) -> bytes:
    """A chain: every operator reads the value `x` before it, and the weights that it names."""
    nodes, value = [], "input"
    for number, (operator, others, settings) in enumerate(operations):
        inputs = [value if name == "x" else name for name in others]
        nodes.append(helper.make_node(operator, inputs, [f"v{number}"], name=f"n{number}", **settings))
        value = f"v{number}"
    made = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("input", kinds[0], ["N", *shape])],
        [helper.make_tensor_value_info(value, kinds[1], None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())
