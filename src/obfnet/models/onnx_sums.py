"""Operators that sum, average, pick or normalise along axes, and products of matrices."""

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from obfnet.models.onnx_node import Node


def axes_of(node: Node, given: Tensor | None) -> list[int] | None:
    """The axes of a node: an input in newer opsets, an attribute in older ones; None if it names none."""
    axes = given.tolist() if given is not None else node.get("axes", None)
    return None if axes is None else list(axes)


def _reduced(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def reduce(node: Node, value: Tensor, given: Tensor | None = None) -> Tensor:
        axes = axes_of(node, given)
        if not axes and node.get("noop_with_empty_axes", 0):
            return value
        found: Tensor = function(
            value, axes or list(range(value.ndim)), keepdim=bool(node.get("keepdims", 1))
        )
        return found

    return reduce


def _product(value: Tensor, axes: list[int], *, keepdim: bool) -> Tensor:
    for axis in sorted((axis % value.ndim for axis in axes), reverse=True):
        value = value.prod(axis, keepdim=keepdim)
    return value


def _absolute(value: Tensor, axes: list[int], *, keepdim: bool) -> Tensor:
    return value.abs().sum(axes, keepdim=keepdim)


def _length(value: Tensor, axes: list[int], *, keepdim: bool) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(value, dim=axes, keepdim=keepdim)
    return length


def _square(value: Tensor, axes: list[int], *, keepdim: bool) -> Tensor:
    return (value * value).sum(axes, keepdim=keepdim)


def _log_sum(value: Tensor, axes: list[int], *, keepdim: bool) -> Tensor:
    return value.sum(axes, keepdim=keepdim).log()


def _chosen(best: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def choose(node: Node, value: Tensor) -> Tensor:
        axis = node.get("axis", 0) % value.ndim
        count = value.shape[axis]
        places = torch.arange(count, device=value.device).reshape(-1, *[1] * (value.ndim - 1 - axis))
        hit = value == best(value, axis, keepdim=True)
        keep = bool(node.get("keepdims", 1))
        # torch does not say which of equal values it takes; ONNX does.
        if node.get("select_last_index", 0):
            return torch.where(hit, places, 0).amax(axis, keepdim=keep)
        return torch.where(hit, places, count - 1).amin(axis, keepdim=keep)

    return choose


def _softmax(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def normalise(node: Node, value: Tensor) -> Tensor:
        if node.opset >= 13:
            return function(value, node.get("axis", -1))
        # Up to opset 12 all axes from this one on are one.
        axis = node.get("axis", 1) % value.ndim
        return function(value.flatten(axis), axis).reshape(value.shape)

    return normalise


def _gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    product = (a.mT if node.get("transA", 0) else a) @ (b.mT if node.get("transB", 0) else b)
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    product = product if alpha == 1 else alpha * product
    if c is None:
        return product
    return product + (c if beta == 1 else beta * c)


def _batch_norm(
    node: Node, value: Tensor, scale: Tensor, offset: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    return functional.batch_norm(
        value, mean, variance, scale, offset, training=False, eps=node.get("epsilon", 1e-5)
    )


def _standardised(value: Tensor, axes: list[int], epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    mean = value.mean(axes, keepdim=True)
    centred = value - mean
    inverse = ((centred * centred).mean(axes, keepdim=True) + epsilon).rsqrt()
    return centred * inverse, mean, inverse


def _by_channel(numbers: Tensor, value: Tensor) -> Tensor:
    return numbers.reshape(-1, *[1] * (value.ndim - 2))


def _instance_norm(node: Node, value: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    standard, _, _ = _standardised(value, list(range(2, value.ndim)), node.get("epsilon", 1e-5))
    return standard * _by_channel(scale, value) + _by_channel(offset, value)


def _layer_norm(node: Node, value: Tensor, scale: Tensor, offset: Tensor | None = None) -> Any:
    axes = list(range(node.get("axis", -1) % value.ndim, value.ndim))
    standard, mean, inverse = _standardised(value, axes, node.get("epsilon", 1e-5))
    scaled = standard * scale
    return scaled if offset is None else scaled + offset, mean, inverse


def _group_norm(node: Node, value: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    groups = node.needed("num_groups")
    parts = value.reshape(value.shape[0], groups, -1)
    standard = _standardised(parts, [2], node.get("epsilon", 1e-5))[0].reshape(value.shape)
    if node.opset < 21:
        # One scale to a group, until opset 21.
        repeats = value.shape[1] // groups
        scale, offset = scale.repeat_interleave(repeats), offset.repeat_interleave(repeats)
    return standard * _by_channel(scale, value) + _by_channel(offset, value)


def _local_response(node: Node, value: Tensor) -> Tensor:
    size = node.needed("size")
    # torch's own takes the odd neighbour from the other side.
    squares = functional.pad((value * value).unsqueeze(1).flatten(3), [0, 0, (size - 1) // 2, size // 2])
    total = functional.avg_pool2d(squares, (size, 1), stride=1).reshape(value.shape)
    scaled: Tensor = node.get("bias", 1.0) + node.get("alpha", 1e-4) * total
    return value / scaled.pow(node.get("beta", 0.75))


def _unit_length(node: Node, value: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(value, node.get("p", 2), dim=node.get("axis", -1), keepdim=True)
    return value / torch.where(norm == 0, 1.0, norm)


OPERATORS: Final[dict[str, Callable[..., Any]]] = {
    "ArgMax": _chosen(torch.amax),
    "ArgMin": _chosen(torch.amin),
    "BatchNormalization": _batch_norm,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _node, value: value.mean(list(range(2, value.ndim)), keepdim=True),
    "GlobalMaxPool": lambda _node, value: value.amax(list(range(2, value.ndim)), keepdim=True),
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _local_response,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _softmax(torch.log_softmax),
    "LpNormalization": _unit_length,
    "MatMul": lambda _node, a, b: torch.matmul(a, b),
    "ReduceL1": _reduced(_absolute),
    "ReduceL2": _reduced(_length),
    "ReduceLogSum": _reduced(_log_sum),
    "ReduceLogSumExp": _reduced(torch.logsumexp),
    "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean),
    "ReduceMin": _reduced(torch.amin),
    "ReduceProd": _reduced(_product),
    "ReduceSum": _reduced(torch.sum),
    "ReduceSumSquare": _reduced(_square),
    "Softmax": _softmax(torch.softmax),
}
