"""One node of an ONNX graph with its attributes decoded, and the number types that the executor knows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
import torch
from torch import Tensor

from obfnet.core.errors import ModelError

_TYPES: Final = onnx.TensorProto
# Half precision is computed in float32; torch has few operators for wide unsigned numbers.
DTYPES: Final[dict[int, torch.dtype]] = {
    _TYPES.FLOAT: torch.float32,
    _TYPES.FLOAT16: torch.float32,
    _TYPES.BFLOAT16: torch.float32,
    _TYPES.DOUBLE: torch.float64,
    _TYPES.UINT8: torch.uint8,
    _TYPES.INT8: torch.int8,
    _TYPES.UINT16: torch.int32,
    _TYPES.INT16: torch.int16,
    _TYPES.UINT32: torch.int64,
    _TYPES.INT32: torch.int32,
    _TYPES.UINT64: torch.int64,
    _TYPES.INT64: torch.int64,
    _TYPES.BOOL: torch.bool,
}
# Of whole numbers that a file may quantise to.
LIMITS: Final[dict[int, tuple[int, int]]] = {
    _TYPES.UINT8: (0, 255),
    _TYPES.INT8: (-128, 127),
    _TYPES.UINT16: (0, 65535),
    _TYPES.INT16: (-32768, 32767),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One operator as the file uses it.

    Args:
        kind: Operator type, as `Conv`.
        domain: Empty for ONNX's own operators.
        name: As in the file; its first output where it has none.
        inputs: Names of values; empty where one is left out.
        outputs: As `inputs`.
        settings: Attributes by name, tensors as torch's.
        opset: Version of ONNX's operators that the file uses.
    """

    kind: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: Mapping[str, Any]
    opset: int

    def __str__(self) -> str:
        kind = f"{self.domain}.{self.kind}" if self.domain else self.kind
        return f"{kind} (node {self.name!r})"

    def get(self, name: str, default: Any) -> Any:
        """The attribute of that name; `default` where the file leaves it out."""
        return self.settings.get(name, default)

    def needed(self, name: str) -> Any:
        """The attribute of that name, which must be there.

        Raises:
            ModelError: it is not.
        """
        if name not in self.settings:
            raise ModelError(f"attribute {name!r} of operator {self}", "none", "export the model again")
        return self.settings[name]


def node_of(proto: Any, opset: int) -> Node:
    """A node of the file's graph.

    Raises:
        ModelError: an attribute holds a tensor of a type that is not in `DTYPES`.
    """
    settings = {part.name: _setting(part) for part in proto.attribute}
    outputs = tuple(proto.output)
    return Node(
        kind=proto.op_type,
        domain="" if proto.domain == "ai.onnx" else proto.domain,
        name=proto.name or next(filter(None, outputs), ""),
        inputs=tuple(proto.input),
        outputs=outputs,
        settings=settings,
        opset=opset,
    )


def tensor_of(proto: Any) -> Tensor:
    """A tensor of the file, in the type that it is computed in.

    Raises:
        ModelError: its type is not in `DTYPES`, or its bytes do not fill its shape.
    """
    kind = proto.data_type
    if kind not in DTYPES:
        raise ModelError(
            "weights of ordinary number types",
            f"{type_name(kind)} in {proto.name!r}",
            "export with float or 8-bit weights",
        )
    try:
        array = onnx.numpy_helper.to_array(proto)
        wanted = torch.empty(0, dtype=DTYPES[kind]).numpy().dtype
        return torch.from_numpy(np.array(array, dtype=wanted))
    except (ValueError, TypeError) as exc:
        raise ModelError(
            "a whole ONNX file", f"a broken tensor {proto.name!r}", "get the file again"
        ) from exc


def type_name(kind: int) -> str:
    """Name of an ONNX number type, as `float32`."""
    named: dict[int, str] = {_TYPES.FLOAT: "float32", _TYPES.DOUBLE: "float64"}
    if kind in named:
        return named[kind]
    try:
        return str(_TYPES.DataType.Name(kind)).lower()
    except ValueError:
        return f"type {kind}"


def _setting(attribute: Any) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        # Text constants belong to operators that are refused by name.
        return None if value.data_type == _TYPES.STRING else tensor_of(value)
    return value.decode(errors="replace") if isinstance(value, bytes) else value
