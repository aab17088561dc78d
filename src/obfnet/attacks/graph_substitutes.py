"""Operators of a graph as an attacker runs them: with a way backward where there is no gradient.

The operators themselves are `models.onnx_operators`'; here are those that round, compare, choose or compute
in whole numbers. What depends on the input stays float32 whatever its type in the graph (truth values 0 and
1), or it would have no gradient; forward each gives what the graph gives, backward what `straight_through`
has.
"""

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

from obfnet.attacks.straight_through import (
    Choice,
    choose,
    lookup_by_number,
    one_hot,
    picked,
    stepped,
    straight_through,
    through,
)
from obfnet.models.onnx_node import DTYPES, Node
from obfnet.models.onnx_operators import OPERATORS, by_axis, quantised_limits

Value = Tensor | Choice | None
Operator = Callable[..., Any]


def _plain(function: Callable[..., Tensor]) -> Operator:
    return lambda _node, *inputs: function(*inputs)


def smooth(constant: Tensor) -> Tensor:
    """A constant of a graph, truth values as 0 and 1."""
    return constant.float() if constant.dtype == torch.bool else constant


def divide_whole(_node: Node, a: Tensor, b: Tensor) -> Tensor:
    """Div of whole numbers, which a graph's types alone tell from any other."""
    exact = torch.div(a, b, rounding_mode="trunc")
    return straight_through(exact, a / b) if exact.is_floating_point() else exact


def _modulo(_node: Node, a: Tensor, b: Tensor) -> Tensor:
    return straight_through(torch.remainder(a.detach(), b.detach()), a) if a.is_floating_point() else a % b


def _cast(node: Node, value: Tensor, *_: Tensor) -> Tensor:
    kind = DTYPES[node.needed("to")]
    if kind is torch.bool:
        exact = (value != 0).float()
        return straight_through(exact, value) if value.is_floating_point() else exact
    return value.float() if kind.is_floating_point else through(torch.trunc)(value)


def _compared(exact: Callable[[Tensor, Tensor], Tensor], sign: int) -> Operator:
    return lambda _node, a, b: stepped(sign * (a - b).float(), exact=exact(a, b))


def _gather(node: Node, table: Tensor, index: Tensor | Choice) -> Tensor:
    axis = node.get("axis", 0)
    if isinstance(index, Choice):
        return index.lookup(table, axis)
    return lookup_by_number(table, index, axis)


def _one_hot(node: Node, index: Tensor | Choice, depth: Tensor, values: Tensor) -> Tensor:
    hot = one_hot(index, int(depth)).movedim(-1, node.get("axis", -1))
    return values[0] + (values[1] - values[0]) * hot


def _chosen(sign: int) -> Operator:
    return lambda node, value: choose(
        sign * value,
        node.get("axis", 0),
        keepdims=bool(node.get("keepdims", 1)),
        last=bool(node.get("select_last_index", 0)),
    )


def _quantise(node: Node, value: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    scaled = value / by_axis(node, scale, value)
    offset = 0.0 if zero is None else by_axis(node, zero.to(scale.dtype), value)
    return straight_through((scaled.round() + offset).clamp(*quantised_limits(node, zero)), scaled)


SUBSTITUTED: Final[dict[str, Operator]] = {
    **OPERATORS,
    "And": _plain(torch.mul),
    "ArgMax": _chosen(1),
    "ArgMin": _chosen(-1),
    "Cast": _cast,
    "Ceil": _plain(through(torch.ceil)),
    "Constant": lambda node: smooth(OPERATORS["Constant"](node)),
    "Equal": lambda _node, a, b: (a == b).float(),
    "Floor": _plain(through(torch.floor)),
    "Gather": _gather,
    "Greater": _compared(torch.gt, 1),
    "GreaterOrEqual": _compared(torch.ge, 1),
    "Less": _compared(torch.lt, -1),
    "LessOrEqual": _compared(torch.le, -1),
    "Mod": _modulo,
    "Not": _plain(lambda value: 1 - value),
    "OneHot": _one_hot,
    "Or": _plain(lambda a, b: a + b - a * b),
    "QuantizeLinear": _quantise,
    "Round": _plain(through(torch.round)),
    "Sign": _plain(through(torch.sign)),
    "Where": _plain(picked),
    "Xor": _plain(lambda a, b: a + b - 2 * a * b),
}
"""By their ONNX name."""

TAKES_CHOICES: Final = frozenset({"Gather", "OneHot"})
"""They make use of a `Choice`; all others get its index."""

REARRANGING: Final = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""They leave the order of what they get, so that a `Choice` stays one."""
