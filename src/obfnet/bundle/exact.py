"""Proves that the same code gives the same bytes: behind the cut every operation is exact in float32.

Sums in floating point depend on their order, and an engine orders them by batch size, threads and place in
the batch: rounding would carry what the code does not. Where every number is a multiple of one power of two
and no sum can outgrow the 24 bits of a float32, nothing is ever rounded, in whatever order.
"""

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from obfnet.bundle.constants import attribute, constants_of
from obfnet.bundle.cut import Cut
from obfnet.bundle.onnx_schema import parse_model
from obfnet.bundle.steps import refused

_MANTISSA: Final = 24
_FINEST: Final = 60


class Span(NamedTuple):
    """What is known of a tensor's numbers: all multiples of 2^-`grid`, none larger in size than `most`.

    Numbers of an infinite `grid` may be moved about and chosen among, which rounds nothing, and no more.
    """

    grid: float
    most: float


def check_exact(data: bytes, cut: Cut) -> None:
    """Raises unless everything behind the cut is exact.

    Args:
        data: ONNX bytes in which `cut` was found.
        cut: Where the sample ends and the code begins.

    Raises:
        BundleError: at `budget-exact`; names the operator.

    Source: Goldberg 1991, *What Every Computer Scientist Should Know About Floating-Point Arithmetic*: sums
        of integers below 2^24 are exact in single precision.
    Does not guarantee: that near a threshold of the cut the same sample gives the same code on two machines;
        that is another code of the same budget.
    """
    graph = parse_model(data).graph
    values = constants_of(graph)
    constants = {name: _span_of(value) for name, value in values.items()}
    known: dict[str, Span | None] = {name: Span(0, 255.0) for name in cut.tensors}
    for node in graph.node:
        if node.output[0] not in cut.after or node.output[0] in known:
            continue
        rule = _RULES.get(node.op_type)
        spans = [known.get(name, constants.get(name)) for name in node.input]
        found = None if rule is None else rule(node, spans, values)
        if found is None:
            raise refused(
                "budget-exact",
                "operations behind the code that are exact in float32",
                f"operator {node.op_type}, whose rounding may depend on the batch",
                "do not use it: rounding may carry more than its budget; tell its coordinator",
            )
        known.update(dict.fromkeys(node.output, found))


def _exact(grid: float, most: float) -> Span | None:
    """The result of an operation that rounds unless its numbers fit into the 24 bits of a float32."""
    fits = most == 0 or grid + math.log2(most) <= _MANTISSA
    return Span(grid, most) if fits else None


def _span_of(value: npt.NDArray[Any]) -> Span | None:
    if value.size == 0:
        return Span(0, 0.0)
    numbers = value.astype(np.float64)
    if not np.isfinite(numbers).all():
        return None
    mantissa, exponent = np.frexp(numbers)
    # A float's mantissa has at most 53 bits: so many halvings of the unit show its last one.
    whole = (np.abs(mantissa) * 2.0**53).astype(np.int64)
    trailing = np.where(whole > 0, np.log2((whole & -whole).clip(min=1)).astype(np.int64), 53)
    finest = int(np.where(whole > 0, 53 - trailing - exponent, 0).max())
    return Span(max(0, finest) if finest <= _FINEST else math.inf, float(np.abs(numbers).max()))


Spans = list[Span | None]
Rule = Callable[[Any, Spans, dict[str, Any]], Span | None]


def _same(node: Any, spans: Spans, values: dict[str, Any]) -> Span | None:
    return spans[0]


def _nearest(node: Any, spans: Spans, values: dict[str, Any]) -> Span | None:
    # The default is nearest; anything else is a weighted mean.
    return spans[0] if attribute(node, "mode", b"nearest") == b"nearest" else None


def _any_of(first: int) -> Rule:
    def rule(node: Any, spans: Spans, values: dict[str, Any]) -> Span | None:
        chosen = spans[first:]
        if any(span is None for span in chosen):
            return None
        return Span(max(span.grid for span in chosen if span), max(span.most for span in chosen if span))

    return rule


def _truth(node: Any, spans: Spans, values: dict[str, Any]) -> Span | None:
    return Span(0, 1.0)


def _clip(node: Any, spans: Spans, values: dict[str, Any]) -> Span | None:
    bounds = [span for name, span in zip(node.input[1:], spans[1:], strict=True) if name]
    if spans[0] is None or any(span is None for span in bounds):
        return None
    within = max((span.most for span in bounds if span), default=spans[0].most)
    grid = max([spans[0].grid, *(span.grid for span in bounds if span)])
    both = len(bounds) == 2
    return Span(grid, min(spans[0].most, within) if both else max(spans[0].most, within))


def _round(node: Any, spans: Spans, values: dict[str, Any]) -> Span | None:
    return None if spans[0] is None else Span(0, float(np.ceil(spans[0].most)))


def _add(node: Any, spans: Spans, values: dict[str, Any]) -> Span | None:
    if any(span is None for span in spans):
        return None
    return _exact(max(span.grid for span in spans if span), sum(span.most for span in spans if span))


def _multiply(node: Any, spans: Spans, values: dict[str, Any]) -> Span | None:
    first, second = spans
    if first is None or second is None:
        return None
    return _exact(first.grid + second.grid, first.most * second.most)


def _contract(node: Any, spans: Spans, values: dict[str, Any]) -> Span | None:
    """A sum of products with constant weights: Gemm and MatMul.

    Convolutions are left out: an engine may compute them by a transform that is not exact.
    """
    weights, span = values.get(node.input[1]), spans[1]
    plain = all(attribute(node, name, 1.0) == 1.0 for name in ("alpha", "beta"))
    if weights is None or span is None or spans[0] is None or not plain or attribute(node, "transA", 0):
        return None
    size = np.abs(weights.astype(np.float64))
    across = 1 if node.op_type == "Gemm" and attribute(node, "transB", 0) else max(0, size.ndim - 2)
    total = float(size.sum(axis=across).max())
    products = _exact(spans[0].grid + span.grid, spans[0].most * total)
    bias = spans[2] if len(spans) > 2 and node.input[2] else Span(0, 0.0)
    return _add(node, [products, bias], values)


_MOVING: Final = """
    Abs Cast CastLike DepthToSpace Expand Flatten Gather Identity MaxPool Neg Relu Reshape Slice
    SpaceToDepth Split Squeeze Tile Transpose Unsqueeze
"""
_DECIDING: Final = "And Equal Greater GreaterOrEqual Less LessOrEqual Not Or Xor"

_RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(_MOVING.split(), _same),
    **dict.fromkeys(_DECIDING.split(), _truth),
    **dict.fromkeys(("Round", "Floor", "Ceil"), _round),
    **dict.fromkeys(("Gemm", "MatMul"), _contract),
    **dict.fromkeys(("Add", "Sub"), _add),
    **dict.fromkeys(("Concat", "Max", "Min"), _any_of(0)),
    "Where": _any_of(1),
    "Resize": _nearest,
    "Clip": _clip,
    "Mul": _multiply,
}
