"""Operators of a graph as an attacker runs them: with a way backward where there is no gradient.

Forward each is `models.onnx_operators`'; backward it is what `straight_through` has. What depends on the
input stays a float whatever its type in the graph (truth values 0 and 1), or it would have no gradient.
"""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from obfnet.attacks.straight_through import (
    Choice,
    choose,
    lookup_by_number,
    picked,
    stepped,
    straight_through,
)
from obfnet.models.onnx_node import DTYPES, Node
from obfnet.models.onnx_operators import OPERATORS, Operator, by_axis


def substitutes(types: Mapping[str, int]) -> dict[str, Operator]:
    """An operator to each kind that the executor knows, for `OnnxProgram`.

    Args:
        types: ONNX's number of the element type of each value, as far as it is known; float32 otherwise.
    """

    def dtype(node: Node) -> torch.dtype:
        return DTYPES.get(types.get(node.outputs[0], 0), torch.float32)

    def divide(node: Node, a: Tensor, b: Tensor) -> Tensor:
        if dtype(node).is_floating_point:
            return a / b
        return straight_through(torch.div(a, b, rounding_mode="trunc"), a / b)

    typed: dict[str, Operator] = {
        "Cast": lambda node, value: _cast(value, DTYPES[node.needed("to")]),
        "CastLike": lambda node, value, _like: _cast(value, dtype(node)),
        "Div": divide,
    }
    return {kind: _eased(kind, function) for kind, function in {**OPERATORS, **_OWN, **typed}.items()}


def _eased(kind: str, function: Operator) -> Operator:
    def run(node: Node, *given: Any) -> Any:
        inputs = list(given)
        for place, value in enumerate(given):
            if isinstance(value, Choice) and _CHOSEN.get(kind) != place:
                inputs[place] = value.index
            elif isinstance(value, Tensor) and value.dtype == torch.bool:
                inputs[place] = value.float()
        result = function(node, *inputs)
        if kind in _REARRANGING and isinstance(given[0], Choice):
            return given[0].rearranged(result)
        return result

    return run


def _cast(value: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype is torch.bool:
        exact = (value != 0).float()
        return straight_through(exact, value) if value.is_floating_point() else exact
    if dtype.is_floating_point or not value.is_floating_point():
        return value.to(dtype)
    return straight_through(value.trunc(), value)


def _through(kind: str) -> Operator:
    return lambda node, value: straight_through(OPERATORS[kind](node, value), value)


def _compared(kind: str, sign: int) -> Operator:
    return lambda node, a, b: stepped(sign * (a - b).float(), exact=OPERATORS[kind](node, a, b))


def _chosen(kind: str, sign: int) -> Operator:
    return lambda node, value: choose(sign * value, node.get("axis", 0), exact=OPERATORS[kind](node, value))


def _gather(node: Node, table: Tensor, index: Tensor | Choice) -> Tensor:
    axis = node.get("axis", 0)
    if isinstance(index, Choice):
        return index.lookup(table, axis)
    return lookup_by_number(table, index, axis)


def _one_hot(node: Node, index: Tensor | Choice, depth: Tensor, values: Tensor) -> Tensor:
    number = index.index if isinstance(index, Choice) else index
    exact: Tensor = OPERATORS["OneHot"](node, number, depth, values)
    if not isinstance(index, Choice) or index.weights.shape[-1] != int(depth):
        return exact
    soft = index.weights.movedim(-1, node.get("axis", -1))
    return straight_through(exact, values[0] + (values[1] - values[0]) * soft)


def _quantise(node: Node, value: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    exact = OPERATORS["QuantizeLinear"](node, value, scale, zero)
    return straight_through(exact, value / by_axis(node, scale, value))


_OWN: Final[dict[str, Operator]] = {
    "And": lambda _node, a, b: a * b,
    "ArgMax": _chosen("ArgMax", 1),
    "ArgMin": _chosen("ArgMin", -1),
    "Ceil": _through("Ceil"),
    "Equal": lambda _node, a, b: (a == b).float(),
    "Floor": _through("Floor"),
    "Gather": _gather,
    "Greater": _compared("Greater", 1),
    "GreaterOrEqual": _compared("GreaterOrEqual", 1),
    "Less": _compared("Less", -1),
    "LessOrEqual": _compared("LessOrEqual", -1),
    "Not": lambda _node, value: 1 - value,
    "OneHot": _one_hot,
    "Or": lambda _node, a, b: a + b - a * b,
    "QuantizeLinear": _quantise,
    "Round": _through("Round"),
    "Sign": _through("Sign"),
    "Where": lambda _node, condition, yes, no: picked(condition, yes, no),
    "Xor": lambda _node, a, b: a + b - 2 * a * b,
}
# The input that they take as a `Choice`; all others get its index.
_CHOSEN: Final = {"Gather": 1, "OneHot": 0}
# They leave the order of what they get, so that a `Choice` stays one.
_REARRANGING: Final = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
