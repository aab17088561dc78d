"""The operators that `graph` runs, one small function each: the node and its inputs to its outputs.

Those that the project's own exporter writes, and the common others. What a setting would change and is not
done here is refused by name, never ignored. Operators without a gradient take theirs from `straight_through`.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from obfnet.attacks import graph_windows as windows
from obfnet.attacks.graph_node import REMEDY, Node
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
from obfnet.core.errors import AttackError

Value = Tensor | Choice | None
Sizes = list[int]
_UINT8, _INT8, _BOOL = 2, 3, 9
_LEAVE: Final = "add it to `attacks.operators`, or leave this attack out"


Operator = Callable[..., Any]


def _plain(function: Callable[..., Tensor]) -> Operator:
    return lambda _node, *inputs: function(*inputs)


def _folded(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    def fold(_node: Node, first: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            first = function(first, other)
        return first

    return fold


def _divide(node: Node, a: Tensor, b: Tensor) -> Tensor:
    if not node.whole:
        return a / b
    exact = torch.div(a, b, rounding_mode="trunc")
    return straight_through(exact, a / b) if exact.is_floating_point() else exact


def _modulo(_node: Node, a: Tensor, b: Tensor) -> Tensor:
    return straight_through(torch.remainder(a.detach(), b.detach()), a) if a.is_floating_point() else a % b


def _cast(node: Node, value: Tensor, *_: Tensor) -> Tensor:
    if node.kind == _BOOL:
        exact = (value != 0).float()
        return straight_through(exact, value) if value.is_floating_point() else exact
    # Whole numbers that come from the input stay float32, or they would lose their gradient.
    return through(torch.trunc)(value) if node.whole else value.float()


def _compared(exact: Callable[[Tensor, Tensor], Tensor], sign: int) -> Operator:
    return lambda _node, a, b: stepped(sign * (a - b).float(), exact=exact(a, b))


def _clip(node: Node, value: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    bounds = [
        bound if bound is None or isinstance(bound, Tensor) else torch.tensor(bound)
        for bound in (node.get("min", low), node.get("max", high))
    ]
    if bounds[0] is not None:
        value = torch.maximum(value, bounds[0].to(value.dtype))
    return value if bounds[1] is None else torch.minimum(value, bounds[1].to(value.dtype))


def _gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    product = (a.mT if node.get("transA", 0) else a) @ (b.mT if node.get("transB", 0) else b)
    product = float(node.get("alpha", 1.0)) * product
    return product if c is None else product + float(node.get("beta", 1.0)) * c


def _reshape(node: Node, value: Tensor, shape: Tensor) -> Tensor:
    sizes = shape.tolist()
    if not node.get("allowzero", 0):
        sizes = [value.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return value.reshape(sizes)


def _flatten(node: Node, value: Tensor) -> Tensor:
    axis = node.get("axis", 1)
    return value.reshape(value.shape[: axis % value.ndim if axis < 0 else axis].numel(), -1)


def _axes(node: Node, given: Tensor | None) -> Sizes | None:
    axes = given.tolist() if given is not None else node.get("axes", None)
    return None if axes is None else list(axes)


def _squeeze(node: Node, value: Tensor, given: Tensor | None = None) -> Tensor:
    axes = _axes(node, given)
    return value.squeeze() if axes is None else value.squeeze(tuple(axes))


def _unsqueeze(node: Node, value: Tensor, given: Tensor | None = None) -> Tensor:
    axes = _axes(node, given) or []
    rank = value.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        value = value.unsqueeze(axis)
    return value


def _expand(_node: Node, value: Tensor, shape: Tensor) -> Tensor:
    return value.expand(np.broadcast_shapes(value.shape, tuple(shape.tolist())))


def _concat(node: Node, *values: Tensor) -> Tensor:
    return torch.cat(values, node.get("axis", 0))


def _slice(_node: Node, value: Tensor, *given: Tensor | None) -> Tensor:
    starts, ends, axes, steps = [None if part is None else part.tolist() for part in (*given, None, None)[:4]]
    for place, (start, end) in enumerate(zip(starts or [], ends or [], strict=True)):
        axis, step = axes[place] if axes else place, steps[place] if steps else 1
        index = torch.arange(*slice(start, end, step).indices(value.shape[axis]), device=value.device)
        value = value.index_select(axis, index)
    return value


def _split(node: Node, value: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = node.get("axis", 0)
    if sizes is None:
        return torch.split(value, -(-value.shape[axis] // len(node.outputs)), axis)
    return torch.split(value, sizes.tolist(), axis)


def _gather(node: Node, table: Tensor, index: Tensor | Choice) -> Tensor:
    axis = node.get("axis", 0)
    if isinstance(index, Choice):
        return index.lookup(table, axis)
    return lookup_by_number(table, index, axis)


def _gather_elements(node: Node, value: Tensor, index: Tensor) -> Tensor:
    axis, place = node.get("axis", 0), index.long()
    return value.gather(axis, torch.where(place < 0, place + value.shape[axis], place))


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


def _reduced(function: Callable[..., Tensor]) -> Operator:
    def reduce(node: Node, value: Tensor, given: Tensor | None = None) -> Tensor:
        axes = _axes(node, given)
        if not axes and node.get("noop_with_empty_axes", 0):
            return value
        return function(value, axes or list(range(value.ndim)), keepdim=bool(node.get("keepdims", 1)))

    return reduce


def _scale(node: Node, value: Tensor, scale: Tensor, zero: Tensor | None) -> tuple[Tensor, Tensor]:
    node.only(block_size=(0,))
    offset = torch.zeros_like(scale) if zero is None else zero.to(scale.dtype)
    if scale.numel() == 1:
        return scale.reshape(()), offset.reshape(())
    shape = [-1, *[1] * (value.ndim - 1 - node.get("axis", 1) % value.ndim)]
    return scale.reshape(shape), offset.reshape(shape)


def _quantise(node: Node, value: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    if node.kind not in (_UINT8, _INT8):
        raise AttackError("8 bits of operator QuantizeLinear", f"others (node {node.name!r})", REMEDY)
    unit, offset = _scale(node, value, scale, zero)
    low = -128 if node.kind == _INT8 else 0
    scaled = value / unit
    return straight_through((scaled.round() + offset).clamp(low, low + 255), scaled)


def _dequantise(node: Node, value: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    unit, offset = _scale(node, value, scale, zero)
    return (value.float() - offset) * unit


def _constant(node: Node) -> Tensor:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if name in node.settings:
            return torch.as_tensor(node.settings[name])
    raise AttackError("a number in operator Constant", f"another (node {node.name!r})", REMEDY)


def _shape(node: Node, value: Tensor) -> Tensor:
    return torch.tensor(value.shape)[node.get("start", 0) : node.get("end", None)]


OPERATORS: Final[dict[str, Operator]] = {
    "Abs": _plain(torch.abs),
    "Add": _plain(torch.add),
    "And": _plain(torch.mul),
    "ArgMax": _chosen(1),
    "ArgMin": _chosen(-1),
    "AveragePool": windows.average_pool,
    "BatchNormalization": windows.normalise,
    "Cast": _cast,
    "Ceil": _plain(through(torch.ceil)),
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": lambda node, shape: node.get("value", torch.zeros(1)).expand(shape.tolist()),
    "Conv": windows.convolution,
    "ConvTranspose": windows.transposed,
    "DepthToSpace": windows.shuffle,
    "DequantizeLinear": _dequantise,
    "Div": _divide,
    "Dropout": lambda _node, value, *_: value,
    "Elu": lambda node, value: functional.elu(value, node.get("alpha", 1.0)),
    "Equal": lambda _node, a, b: (a == b).float(),
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _plain(through(torch.floor)),
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Gelu": lambda node, value: functional.gelu(value, approximate=node.get("approximate", "none")),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _node, value: value.mean(tuple(range(2, value.ndim)), keepdim=True),
    "GlobalMaxPool": lambda _node, value: value.amax(tuple(range(2, value.ndim)), keepdim=True),
    "Greater": _compared(torch.gt, 1),
    "GreaterOrEqual": _compared(torch.ge, 1),
    "HardSigmoid": lambda node, value: (node.get("alpha", 0.2) * value + node.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": _plain(functional.hardswish),
    "Identity": _plain(lambda value: value),
    "LeakyRelu": lambda node, value: functional.leaky_relu(value, node.get("alpha", 0.01)),
    "Less": _compared(torch.lt, -1),
    "LessOrEqual": _compared(torch.le, -1),
    "Log": _plain(torch.log),
    "LogSoftmax": lambda node, value: value.log_softmax(node.get("axis", -1)),
    "MatMul": _plain(torch.matmul),
    "Max": _folded(torch.maximum),
    "MaxPool": windows.max_pool,
    "Min": _folded(torch.minimum),
    "Mod": _modulo,
    "Mul": _plain(torch.mul),
    "Neg": _plain(torch.neg),
    "Not": _plain(lambda value: 1 - value),
    "OneHot": _one_hot,
    "Or": _plain(lambda a, b: a + b - a * b),
    "PRelu": _plain(lambda value, slope: torch.where(value < 0, slope * value, value)),
    "Pad": windows.pad,
    "Pow": _plain(torch.pow),
    "QuantizeLinear": _quantise,
    "Reciprocal": _plain(torch.reciprocal),
    "ReduceL2": _reduced(lambda value, axes, keepdim: torch.linalg.vector_norm(value, 2, axes, keepdim)),
    "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean),
    "ReduceMin": _reduced(torch.amin),
    "ReduceSum": _reduced(torch.sum),
    "ReduceSumSquare": _reduced(lambda value, axes, keepdim: value.square().sum(axes, keepdim)),
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Resize": windows.resize,
    "Round": _plain(through(torch.round)),
    "Shape": _shape,
    "Sigmoid": _plain(torch.sigmoid),
    "Sign": _plain(through(torch.sign)),
    "Slice": _slice,
    "Softmax": lambda node, value: value.softmax(node.get("axis", -1)),
    "Softplus": _plain(lambda value: functional.softplus(value, threshold=30)),
    "Softsign": _plain(functional.softsign),
    "Split": _split,
    "Sqrt": _plain(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _plain(torch.sub),
    "Sum": _folded(torch.add),
    "Tanh": _plain(torch.tanh),
    "Tile": lambda _node, value, repeats: value.tile(repeats.tolist()),
    "Transpose": lambda node, value: value.permute(
        node.get("perm", list(reversed(range(value.ndim)))),
    ),
    "Unsqueeze": _unsqueeze,
    "Where": _plain(picked),
    "Xor": _plain(lambda a, b: a + b - 2 * a * b),
}
"""By their ONNX name."""

TAKES_CHOICES: Final = frozenset({"Gather", "OneHot"})
"""They make use of a `Choice`; all others get its index."""

REARRANGING: Final = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""They leave the order of what they get, so that a `Choice` stays one."""
