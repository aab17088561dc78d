"""Small ONNX files of one or a few nodes, for the tests of the executor."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, np.dtype[Any]]


def graph_bytes(
    nodes: list[onnx.NodeProto],
    *,
    shape: tuple[int | str | None, ...] = ("N", 4),
    dtype: int = TensorProto.FLOAT,
    weights: dict[str, Array] | None = None,
    outputs: list[onnx.ValueInfoProto] | None = None,
    inputs: list[onnx.ValueInfoProto] | None = None,
    opset: int = 17,
    domains: dict[str, int] | None = None,
    functions: list[onnx.FunctionProto] | None = None,
) -> bytes:
    """A model from `x` to `y`."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", dtype, shape), *(inputs or [])],
        outputs or [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(domain, version) for domain, version in (domains or {}).items()]
    model = helper.make_model(
        graph, opset_imports=imports, ir_version=8 if opset < 21 else 10, functions=functions or []
    )
    return bytes(model.SerializeToString())
