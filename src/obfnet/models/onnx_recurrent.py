"""Recurrent operators: a plain one, GRU and LSTM, step by step over the first axis.

The steps are unrolled, so that gradients reach every part of a sequence. Left out, and refused by
`unsupported`: peepholes, clipped gates, coupled gates, sequences first by sample, and activations that are
rare.
"""

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

from obfnet.core.errors import ModelError
from obfnet.models.onnx_node import Node

Activation = Callable[[Tensor], Tensor]
State = tuple[Tensor, ...]
Step = Callable[[Tensor, State], State]

_ACTIVATIONS: Final[dict[str, Activation]] = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}
_DEFAULTS: Final[dict[str, tuple[str, ...]]] = {
    "GRU": ("sigmoid", "tanh"),
    "LSTM": ("sigmoid", "tanh", "tanh"),
    "RNN": ("tanh",),
}
_PEEPHOLES: Final = 7


def unsupported(node: Node) -> str:
    """How a recurrent node is used in a way that is not done here; empty if it is not, or is no such node."""
    if node.kind not in _DEFAULTS:
        return ""
    if rare := [name for name in _names(node) if name not in _ACTIVATIONS]:
        return f"activation {rare[0]!r}"
    return "peepholes" if any(node.inputs[_PEEPHOLES:]) else ""


def _names(node: Node) -> list[str]:
    """Activations of all directions, in lower case, as ONNX takes them in any."""
    given = node.get("activations", None) or _DEFAULTS[node.kind] * _directions(node)
    return [(name.decode(errors="replace") if isinstance(name, bytes) else name).lower() for name in given]


def _directions(node: Node) -> int:
    return 2 if node.get("direction", "forward") == "bidirectional" else 1


class _Weights:
    """Weights of one direction: of the input, of the state, and the biases of both."""

    def __init__(self, place: int, forward: Tensor, recurrent: Tensor, bias: Tensor | None) -> None:
        self.forward, self.recurrent = forward[place].mT, recurrent[place].mT
        wide = self.forward.shape[1]
        both = forward.new_zeros(2 * wide) if bias is None else bias[place]
        self.bias, self.recurrent_bias = both[:wide], both[wide:]


def _plain_step(_node: Node, weights: _Weights, activations: list[Activation]) -> Step:
    (activation,) = activations

    def step(given: Tensor, state: State) -> State:
        return (activation(given + state[0] @ weights.recurrent + weights.recurrent_bias),)

    return step


def _gru_step(node: Node, weights: _Weights, activations: list[Activation]) -> Step:
    gate, activation = activations
    size = weights.recurrent.shape[0]
    gates, candidate = torch.split(weights.recurrent, [2 * size, size], 1)
    gates_bias, candidate_bias = torch.split(weights.recurrent_bias, [2 * size, size])

    def step(given: Tensor, state: State) -> State:
        (hidden,) = state
        to_gates, to_candidate = torch.split(given, [2 * size, size], 1)
        kept, reset = torch.split(gate(to_gates + hidden @ gates + gates_bias), size, 1)
        if node.get("linear_before_reset", 0):
            recalled = reset * (hidden @ candidate + candidate_bias)
        else:
            recalled = (reset * hidden) @ candidate + candidate_bias
        return ((1 - kept) * activation(to_candidate + recalled) + kept * hidden,)

    return step


def _lstm_step(_node: Node, weights: _Weights, activations: list[Activation]) -> Step:
    gate, activation, out = activations
    size = weights.recurrent.shape[0]

    def step(given: Tensor, state: State) -> State:
        hidden, cell = state
        mixed = given + hidden @ weights.recurrent + weights.recurrent_bias
        # In ONNX's order: input, output, forget, cell.
        entered, left, kept, proposed = torch.split(mixed, size, 1)
        cell = gate(kept) * cell + gate(entered) * activation(proposed)
        return gate(left) * out(cell), cell

    return step


def _recurrent(make: Callable[[Node, _Weights, list[Activation]], Step], states: int) -> Callable[..., Any]:
    def run(
        node: Node,
        value: Tensor,
        forward: Tensor,
        recurrent: Tensor,
        bias: Tensor | None = None,
        lengths: Tensor | None = None,
        *initial: Tensor | None,
    ) -> tuple[Tensor, ...]:
        if lengths is not None and bool((lengths != len(value)).any()):
            raise ModelError(
                f"whole sequences at operator {node}", "shorter ones", "export the model without lengths"
            )
        functions = [_ACTIVATIONS[name] for name in _names(node)]
        each, count = len(_DEFAULTS[node.kind]), _directions(node)
        empty = value.new_zeros(count, value.shape[1], recurrent.shape[-1])
        begun = [empty if one is None else one for one in (*initial, None, None)[:states]]
        outputs, ends = [], []
        for place in range(count):
            weights = _Weights(place, forward, recurrent, bias)
            step = make(node, weights, functions[place * each : (place + 1) * each])
            backward = place == 1 or node.get("direction", "forward") == "reverse"
            given = (value @ weights.forward + weights.bias).unbind()
            state: State = tuple(one[place] for one in begun)
            hidden = []
            for one in given[::-1] if backward else given:
                state = step(one, state)
                hidden.append(state[0])
            outputs.append(torch.stack(hidden[::-1] if backward else hidden))
            ends.append(state)
        last = [torch.stack([end[place] for end in ends]) for place in range(states)]
        return torch.stack(outputs, 1), *last

    return run


OPERATORS: Final[dict[str, Callable[..., Any]]] = {
    "GRU": _recurrent(_gru_step, 1),
    "LSTM": _recurrent(_lstm_step, 2),
    "RNN": _recurrent(_plain_step, 1),
}
