"""What can be said of a graph without running it: one plain, bounded ONNX graph of the right shape.

Runs before any engine sees the bytes, since loading a hostile model is already running something. What
can only be seen by running it is another module's (`probes`).
"""

import math
from collections.abc import Iterator
from typing import Any, Final

from obfnet.bundle.chance import Chance
from obfnet.bundle.onnx_schema import parse_model
from obfnet.bundle.operators import MIXING_OPERATORS, OPERATORS, SHAPE_OPERATORS
from obfnet.bundle.steps import refused, shown
from obfnet.core.spec import InputSpec

MAX_NODES: Final = 2000
MAX_TENSOR_BYTES: Final = 64 * 1024 * 1024
_MIN_IR_VERSION: Final = 4
_STANDARD_DOMAINS: Final = ("", "ai.onnx")
_MAX_AXES: Final = 16
# ONNX's number of an element type: bytes of one element, field that holds it where raw_data does not.
_ELEMENTS: Final = {
    1: (4, "float_data"),
    2: (1, "int32_data"),
    3: (1, "int32_data"),
    4: (2, "int32_data"),
    5: (2, "int32_data"),
    6: (4, "int32_data"),
    7: (8, "int64_data"),
    9: (1, "int32_data"),
    10: (2, "int32_data"),
    11: (8, "double_data"),
    12: (4, "uint64_data"),
    13: (8, "uint64_data"),
}
# ONNX's number of an attribute's type: the field that holds its value.
_SINGLE_FIELDS: Final = {1: "f", 2: "i", 3: "s", 4: "t"}
_LIST_FIELDS: Final = {6: "floats", 7: "ints", 8: "strings", 9: "tensors"}
_CONSTANT_KINDS: Final = {"value_float": 1, "value_int": 2, "value": 4, "value_floats": 6, "value_ints": 7}
_TYPED_FIELDS: Final = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
_WIDEST: Final = 4_096
_DTYPES: Final = {"float32": 1, "uint8": 2}


def check_graph(data: bytes, spec: InputSpec, *, chance: Chance | None = None) -> None:
    """Raises unless `data` is an ONNX graph that may be loaded for samples of `spec`.

    Args:
        data: The ONNX file's bytes.
        spec: What goes in and must come out.
        chance: What a second input, `(N, width)`, must be given; None for a graph of one input.

    Raises:
        BundleError: at one of the steps `graph-format` to `pass-through-structure`.

    Does not guarantee: that the graph hides anything. The structural check finds graphs in which no
    operator mixes raw values; a graph that mixes them and takes them apart again is for the probes and
    the audit to find.
    """
    # 17. graph-format
    model = parse_model(data)
    graph = model.graph
    standard = [entry for entry in model.opset_import if entry.domain in _STANDARD_DOMAINS]
    if model.ir_version < _MIN_IR_VERSION or len(standard) != 1:
        raise refused(
            "graph-format", f"IR version {_MIN_IR_VERSION} or later and one operator set", "another model"
        )
    if not 1 <= len(graph.node) <= MAX_NODES:
        raise refused("graph-format", f"1 to {MAX_NODES} operators", str(len(graph.node)))
    _check_order(graph)

    # 18. external-data
    for tensor in _tensors(graph):
        if tensor.data_location or len(tensor.external_data):
            raise refused(
                "external-data", "all weights in the file", f"tensor {shown(tensor.name)} elsewhere"
            )

    # 19. operators
    _check_operators(model)

    # 20. tensor-size
    for tensor in _tensors(graph):
        _check_tensor(tensor)

    # 21. graph-shape
    inputs = ("one input", 1) if chance is None else (f"a sample and its {chance.name} as inputs", 2)
    for (what, count), values in ((inputs, graph.input), (("one output", 1), graph.output)):
        if len(values) != count:
            raise refused("graph-shape", what, str(len(values)))
    if chance is not None:
        _check_chance(graph.input[1], chance)
    for kind, values in (("input", graph.input), ("output", graph.output)):
        if (got := _described(values[0])) != (wanted := (_DTYPES[spec.dtype], (None, *spec.shape))):
            raise refused("graph-shape", f"{kind} {_text(wanted)}, as the manifest says", _text(got))

    # 22. pass-through-structure
    if not _is_mixed(graph):
        raise refused(
            "pass-through-structure",
            "a graph that mixes raw values",
            "one that only moves or rescales them",
            "it would send raw data: do not use it, and tell its coordinator",
        )


def _check_chance(given: Any, chance: Chance) -> None:
    element, shape = _described(given)
    right = (given.name, element) == (chance.name, chance.element) and shape is not None
    if not right or shape is None or len(shape) != 2 or shape[0] is not None or not _is_width(shape[1]):
        raise refused(
            "graph-shape", f"a second input {chance.name}, (N, width)", f"another, {shown(given.name)}"
        )


def _is_width(axis: int | None) -> bool:
    return axis is not None and 1 <= axis <= _WIDEST


def _check_order(graph: Any) -> None:
    """Every value has one name and is made before it is used, as all that follow a graph in one pass assume.

    The engine sorts a graph by itself, so that one in another order would run and be misread here.
    """
    given = [tensor.name for tensor in graph.initializer]
    # In old files an initializer may stand among the inputs, as a default for the same name.
    known = set(given) | {value.name for value in graph.input}
    if len(known) != len(given) + len(graph.input) or "" in known:
        raise refused("graph-format", "one value of each name", "a constant named as an input or a constant")
    for node in graph.node:
        for name in node.input:
            if name and name not in known:
                raise refused(
                    "graph-format", "operators in the order in which they run", f"{shown(name)} used before"
                )
        for name in node.output:
            if name in known:
                raise refused("graph-format", "one value of each name", f"{shown(name)} made twice")
            if name:
                known.add(name)


def _check_operators(model: Any) -> None:
    if len(model.functions):
        raise refused("operators", "standard operators", "functions of the file's own")
    for node in model.graph.node:
        if node.domain not in _STANDARD_DOMAINS or node.overload or node.op_type not in OPERATORS:
            operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            raise refused("operators", "standard operators that are known here", shown(operator))
        for attribute in node.attribute:
            if attribute.HasField("g") or len(attribute.graphs) or attribute.ref_attr_name:
                raise refused("operators", "no control flow", f"a graph within operator {node.op_type}")
        _check_attributes(node)


def _check_attributes(node: Any) -> None:
    """One attribute of each name, and one value in it, of the type that it says.

    An engine may go by the type, by the name or by the first: where these differ it would see another graph.
    """
    kinds = {attribute.name: attribute.type for attribute in node.attribute}
    right = len(kinds) == len(node.attribute) and all(map(_holds_its_type, node.attribute))
    if node.op_type == "Constant":
        right = right and len(kinds) == 1 and kinds.items() <= _CONSTANT_KINDS.items()
    if not right:
        raise refused(
            "operators", "attributes of one name and one value each", f"others on operator {node.op_type}"
        )


def _holds_its_type(attribute: Any) -> bool:
    held = {kind for kind, field in _SINGLE_FIELDS.items() if attribute.HasField(field)}
    held |= {kind for kind, field in _LIST_FIELDS.items() if len(getattr(attribute, field))}
    # An empty list is a list.
    return held == {attribute.type} or (not held and attribute.type in _LIST_FIELDS)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _check_tensor(tensor: Any) -> None:
    name = shown(tensor.name)
    if tensor.data_type not in _ELEMENTS:
        raise refused("tensor-size", "tensors of numbers", f"another element type in {name}")
    size, field = _ELEMENTS[tensor.data_type]
    if len(tensor.dims) > _MAX_AXES or any(not 0 <= axis <= MAX_TENSOR_BYTES for axis in tensor.dims):
        raise refused("tensor-size", f"at most {_MAX_AXES} axes of possible size", f"others in {name}")
    values = math.prod(tensor.dims)
    if values * size > MAX_TENSOR_BYTES:
        raise refused(
            "tensor-size", f"tensors of at most {MAX_TENSOR_BYTES} bytes", f"{values * size} in {name}"
        )
    if tensor.HasField("raw_data"):
        held, used = len(tensor.raw_data) / size, {"raw_data"}
    else:
        held, used = len(getattr(tensor, field)), {field}
    if held != values or any(len(getattr(tensor, other)) for other in _TYPED_FIELDS if other not in used):
        raise refused("tensor-size", f"data for {values} values in {name}", "data of another length or type")


def _described(value: Any) -> tuple[int, tuple[int | None, ...] | None]:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return kind.elem_type, None
    return kind.elem_type, tuple(_axis(dimension) for dimension in kind.shape.dim)


def _axis(dimension: Any) -> int | None:
    if not dimension.HasField("dim_value"):
        return None
    # Both at once is ambiguous: no axis of a legal spec is 0.
    return 0 if dimension.HasField("dim_param") else int(dimension.dim_value)


def _text(described: tuple[int, tuple[int | None, ...] | None]) -> str:
    element, shape = described
    dtype = next((name for name, number in _DTYPES.items() if number == element), "another type")
    axes = (
        "without a shape"
        if shape is None
        else f"({', '.join('N' if a is None else str(a) for a in shape[:8])})"
    )
    return f"{dtype} {axes}"


def _is_mixed(graph: Any) -> bool:
    """Whether the output can depend on more than one raw value, or on none, by the operators on the way."""
    raw, mixed = {graph.input[0].name}, set[str]()
    for node in graph.node:
        if node.op_type in SHAPE_OPERATORS:
            continue
        touched = [name for name in node.input if name in raw]
        joins = len(touched) > 1 and node.op_type != "Concat"
        if any(name in mixed for name in node.input) or (
            touched and (joins or node.op_type in MIXING_OPERATORS)
        ):
            mixed.update(node.output)
        elif touched:
            raw.update(node.output)
    return graph.output[0].name not in raw
