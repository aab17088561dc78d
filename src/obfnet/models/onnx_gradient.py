"""Where a graph lets no gradient through, told from the graph alone.

A network that an obfuscation network is to learn from must hand a gradient from its scores to its input; an
operator that rounds or compares hands none. Differences between samples are not looked at: a gradient may be
there and still be zero everywhere, as behind a saturated activation.
"""

from typing import Final

from obfnet.bundle.operators import SHAPE_OPERATORS
from obfnet.models.onnx_file import OnnxFile
from obfnet.models.onnx_node import DTYPES, Node

_CUTTING: Final = """
    And ArgMax ArgMin Ceil Equal Floor Greater GreaterOrEqual Less LessOrEqual Not Or QuantizeLinear
    Round Sign Xor
"""
NO_GRADIENT: Final = frozenset(_CUTTING.split())
"""Operators whose result is a step of what they get, or a choice among it."""

# Values flow through their first input; the others say where, how far or how large.
_FIRST: Final = """
    CastLike Dropout Expand Gather GatherElements ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Reshape Resize Slice Split
    Squeeze Tile Unsqueeze Upsample
"""
# Inputs that values flow through: all of them where the operator is not named.
_VALUES: Final[dict[str, frozenset[int]]] = {
    **dict.fromkeys(_FIRST.split(), frozenset({0})),
    "ConstantOfShape": frozenset(),
    "OneHot": frozenset({2}),
    "Pad": frozenset({0, 2}),
    "Range": frozenset(),
    "Where": frozenset({1, 2}),
}
# They move whole numbers about, or end them: a float tensor that holds them gives the same.
_CARRYING: Final = """
    Cast CastLike Concat DepthToSpace DequantizeLinear Flatten Gather Identity Pad Reshape Slice
    SpaceToDepth Split Squeeze Transpose Unsqueeze
"""
_MOVING: Final = frozenset(_CARRYING.split())
_ENDING: Final = frozenset({"Cast", "CastLike", "DequantizeLinear"})


def reached_by_values(file: OnnxFile) -> frozenset[Node]:
    """Nodes that the values of an input reach; what its shape alone decides is not among them.

    Args:
        file: What to look at.
    """
    after, reached = {file.input_name, *file.others}, set()
    for node in file.nodes:
        if node.kind not in SHAPE_OPERATORS and after.intersection(node.inputs):
            reached.add(node)
            after.update(filter(None, node.outputs))
    return frozenset(reached)


def whole_number_arithmetic(file: OnnxFile) -> list[Node]:
    """Nodes that compute with the input while it is whole numbers; none for an input of floats.

    Args:
        file: What to look at.

    Returns:
        Nodes, none if a float tensor may stand for the input.
    """
    if file.input_type.is_floating_point:
        return []
    whole, found = {file.input_name}, []
    for node in file.nodes:
        if node.kind in SHAPE_OPERATORS or not whole.intersection(node.inputs):
            continue
        if node.kind not in _MOVING or whole.intersection(node.inputs[1:]) - _joined(node):
            found.append(node)
        if node.kind not in _ENDING:
            whole.update(filter(None, node.outputs))
    return found


def gradient_cuts(file: OnnxFile) -> list[str]:
    """What keeps every gradient of the output from the input.

    Args:
        file: What to look at.

    Returns:
        One text to a node, empty if a gradient gets through by any way.
    """
    integers = whole_number_arithmetic(file)
    live = set() if integers else {file.input_name}
    stops = list(integers)
    for node in file.nodes:
        if not live.intersection(node.inputs) or node.kind in SHAPE_OPERATORS:
            continue
        carried = _VALUES.get(node.kind, frozenset(range(len(node.inputs))))
        passed = any(name in live for place, name in enumerate(node.inputs) if place in carried)
        if passed and not _stops(node, file):
            live.update(filter(None, node.outputs))
        else:
            stops.append(node)
    if file.output_name in live:
        return []
    path = _between(file)
    cuts = [node for node in file.nodes if node in path and (node in stops or _stops(node, file))]
    if not cuts:
        return [f"output {file.output_name!r} does not depend on the values of input {file.input_name!r}"]
    return [_told(node, whole=node in integers) for node in cuts]


def _stops(node: Node, file: OnnxFile) -> bool:
    if node.kind == "Cast":
        return not DTYPES[node.needed("to")].is_floating_point
    if node.kind == "CastLike":
        like = file.weights.get(node.inputs[1])
        return like is not None and not like.is_floating_point()
    return node.kind in NO_GRADIENT


def _told(node: Node, *, whole: bool) -> str:
    if node.kind == "Cast" and not whole:
        target = str(DTYPES[node.needed("to")]).removeprefix("torch.")
        return f"{node}: no gradient, to {target}"
    return f"{node}: no gradient" + (", computes with whole numbers" if whole else "")


def _joined(node: Node) -> set[str]:
    return set(node.inputs) if node.kind == "Concat" else set()


def _between(file: OnnxFile) -> set[Node]:
    """Nodes on a way from the values of the input to the output."""
    reached, before, path = reached_by_values(file), {file.output_name}, set()
    for node in reversed(file.nodes):
        if node in reached and before.intersection(node.outputs):
            path.add(node)
            before.update(filter(None, node.inputs))
    return path
