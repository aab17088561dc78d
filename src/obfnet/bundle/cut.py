"""Proves a budget from the graph itself: what comes out can take only so many values, whatever goes in.

Between the sample and the output there must be values that the graph's own operators force into a set of
known size (the outcome of a comparison, the index of a largest value, a quantised number), and nothing of
the sample may get past them. This needs no training code and trusts no claim; it reads the graph, and asks
ONNX Runtime for nothing but the sizes of these values.
"""

import math
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from obfnet.bundle.chance import no_chance
from obfnet.bundle.constants import attribute, constants_of
from obfnet.bundle.engine import start_limited_session
from obfnet.bundle.onnx_schema import parse_model
from obfnet.bundle.operators import SHAPE_OPERATORS
from obfnet.bundle.steps import refused
from obfnet.core.spec import InputSpec

_COMPARISONS: Final = frozenset({"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"})
_PICKS: Final = frozenset({"ArgMax", "ArgMin"})
_QUANTISED_BITS: Final = 8
_BOOL: Final = 9
_INTEGERS: Final = {np.dtype(np.uint8), np.dtype(np.int8)}
# Operators and their inputs that decide a shape or a place: none may depend on the sample, or the number of
# values behind a cut would.
_STEERING: Final[dict[str, tuple[int, ...]]] = {
    "ConstantOfShape": (0,),
    "CumSum": (1,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
    **dict.fromkeys(
        (f"Reduce{name}" for name in ("L1", "L2", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")),
        (1,),
    ),
}


# Operators and their inputs that make them fail for some values: places out of range, a whole divisor of 0.
_FAILING: Final[dict[str, tuple[int, ...]]] = {
    **dict.fromkeys(("Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND"), (1,)),
    **dict.fromkeys(("Div", "Mod"), (1,)),
}


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Where a graph's output is cut off from the sample.

    Args:
        bits: Most bits that one obfuscated sample can carry: log2 of the number of its possible values.
        tensors: Names of the tensors of the cut.
        after: Names of all tensors that depend on the sample through the cut alone, these included.
    """

    bits: float
    tensors: tuple[str, ...]
    after: frozenset[str]


def find_cut(data: bytes, spec: InputSpec, *, false: str = "") -> Cut:
    """Finds the tensors through which all of the sample must pass, and counts their values.

    Args:
        data: ONNX bytes that passed `check_graph` and `check_outputs`.
        spec: What goes in.
        false: Name of a further input, a bool, that is taken to be false; empty for none.

    Raises:
        BundleError: at `budget-cut`: something of the sample reaches the output past every cut.

    Does not guarantee: anything about a run on several samples at once, in which a graph may do otherwise: a
        device runs such a graph on one sample at a time. Nor that the same code always gives the same bytes,
        which is `exact`'s.
    """
    return walk(
        data, is_cut=_is_cut, bits=lambda tensors, cuts: _bits(data, spec, tensors, cuts), false=false
    )


def walk(
    data: bytes,
    *,
    is_cut: Callable[[Any, dict[str, Any]], bool],
    bits: Callable[[tuple[str, ...], dict[str, Any]], float],
    false: str = "",
) -> Cut:
    """Follows the sample through a graph, to the operators behind which no more than their outcome is known.

    Args:
        data: ONNX bytes, with operators in the order in which they run.
        is_cut: Whether an operator, which takes something of the sample, is one of these; of the node and the
            graph's constants.
        bits: Most bits in the tensors of the cut; of their names, and of a node for each.
        false: Name of a bool that is taken to be false throughout; empty for none.

    Raises:
        BundleError: at `budget-cut`: something of the sample reaches the output past every cut.
    """
    graph = parse_model(data).graph
    raw, finite = {graph.input[0].name}, dict[str, frozenset[str]]()
    cuts: dict[str, Any] = {}
    failing: list[tuple[str, Set[str]]] = []
    constants = constants_of(graph)
    all_false = {false} if false else set[str]()
    for node in graph.node:
        if node.op_type in SHAPE_OPERATORS:
            continue
        if node.op_type == "And" and all_false & set(node.input):
            # Whatever the other side is, nothing of it is left.
            all_false.add(node.output[0])
            continue
        _refuse_steering(node, raw, finite)
        for name in _may_fail_by(node):
            # Behind the cut, that it fails is one more thing that is made of the code.
            failing.append((node.op_type, {name} if name in raw else finite.get(name, frozenset())))
        from_raw = any(name in raw for name in node.input)
        from_finite = [name for name in node.input if name in finite]
        if not from_raw and not from_finite:
            continue
        if from_raw and is_cut(node, constants):
            cuts[node.output[0]] = node
            finite[node.output[0]] = frozenset({node.output[0]})
        elif from_raw:
            raw.update(node.output)
        else:
            finite.update(
                dict.fromkeys(node.output, frozenset().union(*(finite[name] for name in from_finite)))
            )
    result = graph.output[0].name
    if result in raw:
        raise refused(
            "budget-cut",
            "values of known number between the sample and the output",
            "something of the sample that gets past them",
            "do not use it: its claim of a budget is false; tell its coordinator",
        )
    through = finite.get(result, frozenset())
    for operator, by in failing:
        if not by <= through:
            raise refused(
                "budget-cut",
                "operators that run on every sample",
                f"operator {operator}, which may fail by what the sample gives it",
                "do not use it: whether a request is sent would tell of the sample; tell its coordinator",
            )
    tensors = tuple(sorted(through))
    return Cut(bits=bits(tensors, cuts), tensors=tensors, after=frozenset(finite))


def _is_cut(node: Any, constants: dict[str, Any]) -> bool:
    if node.op_type in _COMPARISONS or node.op_type in _PICKS:
        return True
    if node.op_type == "Cast":
        return bool(attribute(node, "to") == _BOOL)
    if node.op_type == "QuantizeLinear":
        # Without a zero point the output is uint8; with one it has the zero point's type.
        if len(node.input) < 3 or not node.input[2]:
            return attribute(node, "output_dtype", 0) in (0, 2)
        zero = constants.get(node.input[2])
        return zero is not None and zero.dtype in _INTEGERS
    return False


def _refuse_steering(node: Any, raw: set[str], finite: dict[str, frozenset[str]]) -> None:
    for place in _STEERING.get(node.op_type, ()):
        if place < len(node.input) and (node.input[place] in raw or node.input[place] in finite):
            raise refused(
                "budget-cut",
                "shapes that do not depend on the sample",
                f"operator {node.op_type} steered by it",
                "do not use it: its budget cannot be proved; tell its coordinator",
            )


def _may_fail_by(node: Any) -> list[str]:
    """Inputs that make an operator fail for some of their values."""
    return [node.input[place] for place in _FAILING.get(node.op_type, ()) if place < len(node.input)]


def _bits(data: bytes, spec: InputSpec, tensors: tuple[str, ...], cuts: dict[str, Any]) -> float:
    if not tensors:
        return 0.0
    wanted = [name for tensor in tensors for name in _looked_at(tensor, cuts[tensor])]
    shapes = dict(zip(wanted, shapes_of(data, spec, wanted), strict=True))
    bits = 0.0
    for tensor in tensors:
        node = cuts[tensor]
        elements = math.prod(shapes[tensor])
        if node.op_type in _PICKS:
            choices = shapes[node.input[0]][attribute(node, "axis", 0)]
            bits += elements * math.log2(max(1, choices))
        else:
            bits += elements * (_QUANTISED_BITS if node.op_type == "QuantizeLinear" else 1)
    return bits


def _looked_at(tensor: str, node: Any) -> tuple[str, ...]:
    return (tensor, node.input[0]) if node.op_type in _PICKS else (tensor,)


def shapes_of(data: bytes, spec: InputSpec, names: list[str]) -> list[tuple[int, ...]]:
    """Shapes of these values when one sample is given, by one run of the graph."""
    # No shape depends on the sample, as was seen: one run on any sample shows them all.
    model = parse_model(data)
    given = {value.name for value in (*model.graph.output, *model.graph.input)}
    for name in dict.fromkeys(names):
        if name not in given:
            model.graph.output.add(name=name)
    try:
        session = start_limited_session(model.SerializeToString())
        sample = np.zeros((1, *spec.shape), spec.dtype)
        outputs = session.run(names, {session.get_inputs()[0].name: sample, **no_chance(session, 1)})
    except Exception as exc:  # the engine's errors share no base of their own
        raise refused("budget-cut", "a cut that ONNX Runtime runs", type(exc).__name__) from exc
    return [tuple(np.shape(output)) for output in outputs]
