"""The operators that `onnx_program` runs, one small function each: the node and its inputs to its outputs.

Here are those on single values and on shapes; `onnx_sums` has those that sum or normalise, `onnx_windows`
those that slide or resize, `onnx_recurrent` those with a state, `onnx_linear` scikit-learn's. What a setting
would change and is not done is refused by `unsupported_use`, never ignored.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from obfnet.core.errors import ModelError
from obfnet.models import onnx_linear as linear
from obfnet.models import onnx_recurrent as recurrent
from obfnet.models import onnx_sums as sums
from obfnet.models import onnx_windows as windows
from obfnet.models.onnx_node import DTYPES, LIMITS, Node, type_name

Operator = Callable[..., Any]


def _plain(function: Callable[..., Tensor]) -> Operator:
    return lambda _node, *inputs: function(*inputs)


def _folded(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    def fold(_node: Node, first: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            first = function(first, other)
        return first

    return fold


def _divide(_node: Node, a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _modulo(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return torch.fmod(a, b) if node.get("fmod", 0) else torch.remainder(a, b)


def _power(_node: Node, base: Tensor, exponent: Tensor) -> Tensor:
    return torch.pow(base, exponent).to(base.dtype)


def _mean(_node: Node, *values: Tensor) -> Tensor:
    return sum(values[1:], start=values[0]) / len(values)


def _clip(node: Node, value: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    bounds = [
        None if bound is None else torch.as_tensor(bound, dtype=value.dtype, device=value.device)
        for bound in (node.get("min", low), node.get("max", high))
    ]
    return value if bounds == [None, None] else torch.clamp(value, *bounds)


def _leaky_relu(node: Node, value: Tensor) -> Tensor:
    return functional.leaky_relu(value, node.get("alpha", 0.01))


def _prelu(_node: Node, value: Tensor, slope: Tensor) -> Tensor:
    return torch.where(value < 0, value * slope, value)


def _selu(node: Node, value: Tensor) -> Tensor:
    gamma: float = node.get("gamma", 1.0507009873554805)
    return gamma * functional.elu(value, node.get("alpha", 1.6732632423543772))


def _gelu(node: Node, value: Tensor) -> Tensor:
    return functional.gelu(value, approximate=node.get("approximate", "none"))


def _hard_sigmoid(node: Node, value: Tensor) -> Tensor:
    return torch.clamp(node.get("alpha", 0.2) * value + node.get("beta", 0.5), 0.0, 1.0)


def _swish(node: Node, value: Tensor) -> Tensor:
    return value * torch.sigmoid(node.get("alpha", 1.0) * value)


def _thresholded_relu(node: Node, value: Tensor) -> Tensor:
    return torch.where(value > node.get("alpha", 1.0), value, torch.zeros_like(value))


def _cast(node: Node, value: Tensor) -> Tensor:
    return value.to(DTYPES[node.needed("to")])


def _dropout(node: Node, value: Tensor, _ratio: Tensor | None = None, training: Tensor | None = None) -> Any:
    if training is not None and bool(training):
        raise ModelError(
            f"operator {node} as in inference", "its training mode", "export the model after .eval()"
        )
    return value, torch.ones_like(value, dtype=torch.bool)


def _constant(node: Node) -> Tensor:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if (number := node.get(name, None)) is not None:
            return torch.as_tensor(number)
    raise ModelError(f"a number in operator {node}", "another value", "export the model again")


def _constant_of_shape(node: Node, shape: Tensor) -> Tensor:
    value: Tensor = node.get("value", torch.zeros(1))
    return value.to(shape.device).reshape(()).expand(shape.tolist())


def _range(_node: Node, start: Tensor, limit: Tensor, step: Tensor) -> Tensor:
    numbers = (start.item(), limit.item(), step.item())
    return torch.arange(*numbers, dtype=start.dtype, device=start.device)


def _shape(node: Node, value: Tensor) -> Tensor:
    sizes = list(value.shape)[slice(node.get("start", 0), node.get("end", None))]
    return torch.tensor(sizes, dtype=torch.int64, device=value.device)


def _size(_node: Node, value: Tensor) -> Tensor:
    return torch.tensor(value.numel(), dtype=torch.int64, device=value.device)


def _reshape(node: Node, value: Tensor, shape: Tensor) -> Tensor:
    sizes = shape.tolist()
    if not node.get("allowzero", 0):
        sizes = [value.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return value.reshape(sizes)


def _flatten(node: Node, value: Tensor) -> Tensor:
    axis = node.get("axis", 1)
    head = value.shape[: axis + value.ndim if axis < 0 else axis].numel()
    return value.reshape(head, value.shape.numel() // max(head, 1))


def _transpose(node: Node, value: Tensor) -> Tensor:
    return value.permute(node.get("perm", list(range(value.ndim))[::-1]))


def _squeeze(node: Node, value: Tensor, given: Tensor | None = None) -> Tensor:
    axes = sums.axes_of(node, given)
    return value.squeeze() if axes is None else value.squeeze(tuple(axes))


def _unsqueeze(node: Node, value: Tensor, given: Tensor | None = None) -> Tensor:
    axes = sums.axes_of(node, given) or []
    rank = value.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        value = value.unsqueeze(axis)
    return value


def _concat(node: Node, *values: Tensor) -> Tensor:
    return torch.cat(values, node.needed("axis"))


def _split(node: Node, value: Tensor, given: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = node.get("axis", 0)
    sizes = given.tolist() if given is not None else node.get("split", None)
    if sizes is None:
        sizes = -(-value.shape[axis] // node.get("num_outputs", len(node.outputs)))
    return torch.split(value, sizes, axis)


def _slice(node: Node, value: Tensor, *given: Tensor | None) -> Tensor:
    parts = [None if part is None else part.tolist() for part in (*given, None, None, None, None)[:4]]
    starts, ends = node.get("starts", parts[0]), node.get("ends", parts[1])
    axes = node.get("axes", parts[2]) or range(len(starts))
    steps = parts[3] or [1] * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        places = range(*slice(start, end, step).indices(value.shape[axis]))
        if step == 1:
            value = value.narrow(axis, places.start, len(places))
        else:
            value = value.index_select(axis, torch.tensor(places, dtype=torch.int64, device=value.device))
    return value


def rows(table: Tensor, index: Tensor, axis: int) -> Tensor:
    """Rows of a table along an axis; the index's axes take its place.

    Args:
        table: Any shape.
        index: Any shape, int32 or int64; negative ones count from the end.
        axis: Of the table, negative ones count from the end.
    """
    axis %= table.ndim
    places = torch.where(index < 0, index + table.shape[axis], index)
    found = table.index_select(axis, places.reshape(-1))
    return found.reshape((*table.shape[:axis], *index.shape, *table.shape[axis + 1 :]))


def _gather(node: Node, table: Tensor, index: Tensor) -> Tensor:
    return rows(table, index, node.get("axis", 0))


def _gather_elements(node: Node, value: Tensor, index: Tensor) -> Tensor:
    axis, place = node.get("axis", 0), index.long()
    return value.gather(axis, torch.where(place < 0, place + value.shape[axis], place))


def _one_hot(node: Node, index: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    size = int(depth)
    places = torch.where(index < 0, index + size, index).unsqueeze(-1)
    hot = places == torch.arange(size, device=index.device)
    return torch.where(hot.movedim(-1, node.get("axis", -1)), values[1], values[0])


def _expand(_node: Node, value: Tensor, shape: Tensor) -> Tensor:
    return value.expand(np.broadcast_shapes(value.shape, tuple(shape.tolist())))


def _depth_to_space(node: Node, value: Tensor) -> Tensor:
    side = node.needed("blocksize")
    count, depth, height, width = value.shape
    if node.get("mode", "DCR") == "CRD":
        parts = value.reshape(count, depth // side**2, side, side, height, width).permute(0, 1, 4, 2, 5, 3)
    else:
        parts = value.reshape(count, side, side, depth // side**2, height, width).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(count, depth // side**2, height * side, width * side)


def _space_to_depth(node: Node, value: Tensor) -> Tensor:
    side = node.needed("blocksize")
    count, depth, height, width = value.shape
    parts = value.reshape(count, depth, height // side, side, width // side, side).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(count, depth * side**2, height // side, width // side)


def _einsum(node: Node, *values: Tensor) -> Tensor:
    return torch.einsum(node.needed("equation").replace(" ", ""), *values)


def by_axis(node: Node, numbers: Tensor, value: Tensor) -> Tensor:
    """Scales or offsets of an operator that quantises, one for all or one a channel, shaped for it."""
    if numbers.numel() == 1:
        return numbers.reshape(())
    return numbers.reshape(-1, *[1] * (value.ndim - 1 - node.get("axis", 1) % value.ndim))


def _quantised_type(node: Node, zero: Tensor | None) -> int:
    kinds = {DTYPES[kind]: kind for kind in LIMITS if DTYPES[kind] is not torch.int32}
    # Without a zero point the type is an attribute, from opset 21 on; 16 unsigned bits are kept in 32.
    found: int = node.get("output_dtype", 0) or (2 if zero is None else kinds.get(zero.dtype, 4))
    return found


def _quantise(node: Node, value: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    kind = _quantised_type(node, zero)
    offset = torch.zeros_like(scale) if zero is None else zero.to(scale.dtype)
    levels = (value / by_axis(node, scale, value)).round() + by_axis(node, offset, value)
    return levels.clamp(*LIMITS[kind]).to(DTYPES[kind])


def _dequantise(node: Node, value: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    levels = value.to(scale.dtype)
    if zero is not None:
        levels = levels - by_axis(node, zero.to(scale.dtype), value)
    return levels * by_axis(node, scale, value)


OPERATORS: Final[dict[str, Operator]] = {
    "Abs": _plain(torch.abs),
    "Add": _plain(torch.add),
    "And": _plain(torch.logical_and),
    "Cast": _cast,
    "CastLike": lambda _node, value, like: value.to(like.dtype),
    "Ceil": _plain(torch.ceil),
    "Celu": lambda node, value: functional.celu(value, node.get("alpha", 1.0)),
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Cos": _plain(torch.cos),
    "DepthToSpace": _depth_to_space,
    "DequantizeLinear": _dequantise,
    "Div": _divide,
    "Dropout": _dropout,
    "Einsum": _einsum,
    "Elu": lambda node, value: functional.elu(value, node.get("alpha", 1.0)),
    "Equal": _plain(torch.eq),
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _plain(torch.floor),
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Gelu": _gelu,
    "Greater": _plain(torch.gt),
    "GreaterOrEqual": _plain(torch.ge),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda _node, value: value * torch.clamp(value / 6 + 0.5, 0.0, 1.0),
    "Identity": _plain(lambda value: value),
    "LeakyRelu": _leaky_relu,
    "Less": _plain(torch.lt),
    "LessOrEqual": _plain(torch.le),
    "Log": _plain(torch.log),
    "Max": _folded(torch.maximum),
    "Mean": _mean,
    "Min": _folded(torch.minimum),
    "Mish": _plain(functional.mish),
    "Mod": _modulo,
    "Mul": _plain(torch.mul),
    "Neg": _plain(torch.neg),
    "Not": _plain(torch.logical_not),
    "OneHot": _one_hot,
    "Or": _plain(torch.logical_or),
    "PRelu": _prelu,
    "Pow": _power,
    "QuantizeLinear": _quantise,
    "Range": _range,
    "Reciprocal": _plain(torch.reciprocal),
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Round": _plain(torch.round),
    "Selu": _selu,
    "Shape": _shape,
    "Sigmoid": _plain(torch.sigmoid),
    "Sign": _plain(torch.sign),
    "Sin": _plain(torch.sin),
    "Size": _size,
    "Slice": _slice,
    "Softplus": _plain(functional.softplus),
    "Softsign": _plain(functional.softsign),
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Sqrt": _plain(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _plain(torch.sub),
    "Sum": _folded(torch.add),
    "Swish": _swish,
    "Tanh": _plain(torch.tanh),
    "ThresholdedRelu": _thresholded_relu,
    "Tile": lambda _node, value, repeats: value.repeat(repeats.tolist()),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": lambda _node, condition, a, b: torch.where(condition, a, b),
    "Xor": _plain(torch.logical_xor),
    **linear.OPERATORS,
    **recurrent.OPERATORS,
    **sums.OPERATORS,
    **windows.OPERATORS,
}

# Of those that are not ONNX's own.
DOMAINS: Final[dict[str, str]] = dict.fromkeys(linear.OPERATORS, linear.DOMAIN)

# Of attributes that change what an operator does: the values that are done here.
_SUPPORTED: Final[dict[str, dict[str, tuple[Any, ...]]]] = {
    **{kind: {"clip": (0,), "input_forget": (0,), "layout": (0,)} for kind in recurrent.OPERATORS},
    "BatchNormalization": {"spatial": (1,), "training_mode": (0,)},
    "Cast": {"to": tuple(DTYPES)},
    "DequantizeLinear": {"block_size": (0,), "output_dtype": (0, 1, 10, 16)},
    "Pad": {"mode": ("constant", "reflect", "edge", "wrap")},
    "QuantizeLinear": {"block_size": (0,), "output_dtype": (0, *LIMITS)},
    "Resize": {
        "antialias": (0,),
        "coordinate_transformation_mode": tuple(windows.COORDINATES),
        "keep_aspect_ratio_policy": ("stretch",),
        "mode": ("nearest", "linear"),
    },
    "Upsample": {"mode": ("nearest", "linear")},
}
_TYPE_SETTINGS: Final = frozenset({"to", "output_dtype"})
# More outputs than one mean indices, or statistics as in training.
_ONE_OUTPUT: Final = frozenset({"BatchNormalization", "MaxPool"})


def unsupported_use(node: Node) -> str:
    """How the node uses its operator in a way that is not done here; empty if it does not."""
    for name, values in _SUPPORTED.get(node.kind, {}).items():
        if (value := node.get(name, values[0])) not in values:
            return f"{name} {type_name(value) if name in _TYPE_SETTINGS else repr(value)}"
    if node.kind in _ONE_OUTPUT and any(node.outputs[1:]):
        return "a second output"
    return recurrent.unsupported(node) or linear.unsupported(node)
