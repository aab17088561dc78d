"""Constants of a graph as NumPy arrays: its initialisers and the outputs of Constant nodes.

Only reads; whether a tensor may be there at all was decided before (`graph`).
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# ONNX's number of an element type: NumPy's, and the field of values where raw_data does not hold them.
_TYPES: Final = {
    1: (np.float32, "float_data"),
    2: (np.uint8, "int32_data"),
    3: (np.int8, "int32_data"),
    6: (np.int32, "int32_data"),
    7: (np.int64, "int64_data"),
    9: (np.bool_, "int32_data"),
    11: (np.float64, "double_data"),
}


def constants_of(graph: Any) -> dict[str, Array]:
    """Name to value of every constant that the graph holds and that this reader knows how to read.

    Args:
        graph: A parsed graph that passed `check_graph`.
    """
    found = {tensor.name: value for tensor in graph.initializer if (value := _array(tensor)) is not None}
    for node in graph.node:
        if node.op_type == "Constant" and (value := _constant(node)) is not None:
            found[node.output[0]] = value
    return found


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """The value of a node's attribute: a number, a list of numbers, or bytes.

    Args:
        node: A node.
        name: Of the attribute.
        default: Where there is none.
    """
    for one in node.attribute:
        if one.name == name:
            for field in ("i", "f", "s"):
                if one.HasField(field):
                    return getattr(one, field)
            return list(one.ints) or list(one.floats)
    return default


def _constant(node: Any) -> Array | None:
    for one in node.attribute:
        if one.name == "value":
            return _array(one.t)
        if one.name == "value_float":
            return np.array(one.f, np.float32)
        if one.name == "value_int":
            return np.array(one.i, np.int64)
        if one.name == "value_floats":
            return np.array(one.floats, np.float32)
        if one.name == "value_ints":
            return np.array(one.ints, np.int64)
    return None


def _array(tensor: Any) -> Array | None:
    if tensor.data_type not in _TYPES:
        return None
    dtype, field = _TYPES[tensor.data_type]
    shape = tuple(tensor.dims)
    if tensor.HasField("raw_data"):
        return np.frombuffer(tensor.raw_data, np.dtype(dtype).newbyteorder("<")).reshape(shape)
    return np.array(getattr(tensor, field)).astype(dtype).reshape(shape)
