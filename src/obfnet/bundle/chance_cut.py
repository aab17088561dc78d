"""Proves that a graph uses its second input as it must: flips of bits, noise on numbers, leave to send more.

What comes behind is made of the outcome alone. With the distribution that the device draws from, the ceiling
in bits follows. Which bits or numbers there are, and that nothing gets past them, is `cut`'s.
"""

from typing import Any, Final

import numpy as np

from obfnet.bundle.chance import Chance, Flips, Leave, Noise
from obfnet.bundle.constants import constants_of
from obfnet.bundle.cut import Cut, find_cut, shapes_of, walk
from obfnet.bundle.onnx_schema import parse_model
from obfnet.bundle.steps import refused, shown
from obfnet.core.errors import BundleError
from obfnet.core.spec import InputSpec
from obfnet.guarantees.discrete_gaussian import LEVELS, noisy_bits
from obfnet.guarantees.randomised_response import code_bits, flip_probability

_TOLERANCE: Final = 1e-9


def check_budget(data: bytes, spec: InputSpec, claimed: float, chance: Chance | None = None) -> Cut:
    """Raises unless the graph proves the budget that its manifest claims.

    Args:
        data: ONNX bytes that passed `check_graph` and `check_outputs`.
        spec: What goes in.
        claimed: Bits.
        chance: What the device draws for each sample; None where it draws nothing.

    Returns:
        The cut that proves it.

    Raises:
        BundleError: at `budget-cut`.
    """
    if isinstance(chance, Noise):
        cut = _noisy_cut(data, spec, chance)
        bits = cut.bits
    else:
        cut = find_cut(data, spec)
        bits = _flipped_bits(data, spec, cut, chance) if isinstance(chance, Flips) else cut.bits
    if isinstance(chance, Leave):
        poor = find_cut(data, spec, false=chance.name)
        _refuse_above(chance.poor_bits, poor.bits, poor, " of a request without leave")
    _refuse_above(claimed, bits, cut)
    return cut


def _refuse_above(claimed: float, bits: float, cut: Cut, where: str = "") -> None:
    if bits > claimed + _TOLERANCE:
        raise refused(
            "budget-cut",
            f"at most the {claimed:g} bits{where} that the manifest claims",
            f"{bits:g} bits in {', '.join(map(shown, cut.tensors))}",
            "do not use it: its claim of a budget is false; tell its coordinator",
        )


def _flipped_bits(data: bytes, spec: InputSpec, cut: Cut, chance: Flips) -> float:
    graph = parse_model(data).graph
    width = _width(graph)
    together = {graph.input[1].name, *cut.tensors}
    takers = _takers(graph, together)
    if (
        len(cut.tensors) != 1
        or len(takers) != 1
        or not _is("Xor", takers[0])
        or set(takers[0].input) != together
        # Of any other shape, one bit could meet several flips, and their outcomes would tell it.
        or shapes_of(data, spec, list(cut.tensors)) != [(1, width)]
    ):
        raise _misused("a code of which every bit is inverted by a flip of its own, and used nowhere else")
    return code_bits(flip_probability(chance.epsilon, width), width)


def _noisy_cut(data: bytes, spec: InputSpec, chance: Noise) -> Cut:
    graph = parse_model(data).graph
    noise, width, constants = graph.input[1].name, _width(graph), constants_of(graph)
    error = _misused(
        f"whole numbers in -{LEVELS} ... {LEVELS}, each with noise of its own, and used nowhere else"
    )
    maker = {name: node for node in graph.node for name in node.output}
    adding = _takers(graph, {noise})
    if len(adding) != 1 or not _is("Add", adding[0]) or len(set(adding[0].input)) != 2:
        raise error
    (number,) = set(adding[0].input) - {noise}
    casting = maker.get(number)
    clipping = maker.get(casting.input[0]) if casting is not None and _is("Cast", casting) else None
    if clipping is None or not _is("Clip", clipping) or len(_takers(graph, {number})) != 1:
        raise error
    ends = [constants.get(name) if name else None for name in clipping.input[1:3]]
    if not _are(ends, (-LEVELS, LEVELS)) or shapes_of(data, spec, [number]) != [(1, width)]:
        raise error
    outcome = adding[0].output[0]
    return walk(
        data,
        is_cut=lambda node, _: node.output[0] == outcome,
        bits=lambda tensors, _: noisy_bits(width, LEVELS, chance.scale * LEVELS) if tensors else 0.0,
    )


def _width(graph: Any) -> int:
    return int(graph.input[1].type.tensor_type.shape.dim[1].dim_value)


def _are(ends: list[Any], wanted: tuple[int, int]) -> bool:
    # Of a whole-numbered type, and then so is what is clipped: among floats NaN would get past both ends.
    whole = all(end is not None and end.size == 1 and np.issubdtype(end.dtype, np.integer) for end in ends)
    return whole and tuple(int(end.reshape(())) for end in ends) == wanted


def _takers(graph: Any, names: set[str]) -> list[Any]:
    """Whatever takes one of these; the graph's output takes the last value."""
    sent = [graph.output[0]] if graph.output[0].name in names else []
    return [node for node in graph.node if names & set(node.input)] + sent


def _is(operator: str, node: Any) -> bool:
    return getattr(node, "op_type", "") == operator


def _misused(expected: str) -> BundleError:
    return refused(
        "budget-cut",
        expected,
        "chance that is used otherwise",
        "do not use it: its claim of differential privacy is false; tell its coordinator",
    )
