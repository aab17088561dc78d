"""Operators that slide a window over the spatial axes, pad them or resize them.

Padding is done before the window slides wherever torch's own would be another: asymmetric, wider than half
the window, or with a last window that hangs over the edge.
"""

import math
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from obfnet.core.errors import ModelError
from obfnet.models.onnx_node import Node

_CONVOLUTIONS: Final[dict[int, Callable[..., Tensor]]] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: functional.conv3d,
}
_TRANSPOSED: Final[dict[int, Callable[..., Tensor]]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
_AVERAGES: Final[dict[int, Callable[..., Tensor]]] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}
_MAXIMA: Final[dict[int, Callable[..., Tensor]]] = {
    1: functional.max_pool1d,
    2: functional.max_pool2d,
    3: functional.max_pool3d,
}
Coordinate = Callable[[Tensor, float, int, int], Tensor]


class _Window:
    """Size, stride and padding of a node's window over a value of shape `(N, C, *spatial)`."""

    def __init__(self, node: Node, value: Tensor, kernel: list[int]) -> None:
        rank = value.ndim - 2
        if rank not in _CONVOLUTIONS:
            raise ModelError(f"1 to 3 spatial axes at operator {node}", f"{rank}", "export the model again")
        self.rank, self.kernel = rank, kernel
        self.strides: list[int] = node.get("strides", [1] * rank)
        self.dilations: list[int] = node.get("dilations", [1] * rank)
        self.reach = [(size - 1) * step + 1 for size, step in zip(kernel, self.dilations, strict=True)]
        self.begins, self.ends = self._padding(node, list(value.shape[2:]))

    def _padding(self, node: Node, sizes: list[int]) -> tuple[list[int], list[int]]:
        mode = node.get("auto_pad", "NOTSET")
        if mode == "VALID":
            return [0] * self.rank, [0] * self.rank
        if mode == "NOTSET":
            pads = node.get("pads", [0] * 2 * self.rank)
            return list(pads[: self.rank]), list(pads[self.rank :])
        totals = [
            max((-(-size // stride) - 1) * stride + reach - size, 0)
            for size, stride, reach in zip(sizes, self.strides, self.reach, strict=True)
        ]
        small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
        return (small, large) if mode == "SAME_UPPER" else (large, small)

    def overhang(self, sizes: torch.Size, *, ceil: bool) -> list[int]:
        """What the last windows reach over the padded end, by axis; negative where they end before it."""
        over = []
        for axis, size in enumerate(sizes):
            stride = self.strides[axis]
            room = size + self.begins[axis] + self.ends[axis] - self.reach[axis]
            steps = -(-room // stride) if ceil else room // stride
            # A window that would start behind the value is left out.
            if ceil and steps * stride >= size + self.begins[axis]:
                steps -= 1
            over.append(steps * stride - room)
        return over


def _padded(value: Tensor, begins: list[int], ends: list[int], fill: float) -> Tensor:
    if not any(begins) and not any(ends):
        return value
    pairs = [pad for pair in zip(begins[::-1], ends[::-1], strict=True) for pad in pair]
    return functional.pad(value, pairs, value=fill)


def _convolve(node: Node, value: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    window = _Window(node, value, list(weight.shape[2:]))
    padding = window.begins
    if window.begins != window.ends or min(padding) < 0:
        value, padding = _padded(value, window.begins, window.ends, 0.0), [0] * window.rank
    convolution = _CONVOLUTIONS[window.rank]
    return convolution(value, weight, bias, window.strides, padding, window.dilations, node.get("group", 1))


def _convolve_transposed(node: Node, value: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    window = _Window(node, value, list(weight.shape[2:]))
    extra: list[int] = node.get("output_padding", [0] * window.rank)
    full = [
        (size - 1) * stride + reach + more
        for size, stride, reach, more in zip(
            value.shape[2:], window.strides, window.reach, extra, strict=True
        )
    ]
    mode = node.get("auto_pad", "NOTSET")
    wanted = node.get("output_shape", None)
    if wanted is None and mode.startswith("SAME"):
        wanted = [size * stride for size, stride in zip(value.shape[2:], window.strides, strict=True)]
    begins, ends = window.begins, window.ends
    if wanted is not None:
        totals = [size - goal for size, goal in zip(full, wanted[-window.rank :], strict=True)]
        small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
        begins, ends = (small, large) if mode == "SAME_UPPER" else (large, small)
    transposed = _TRANSPOSED[window.rank]
    spread = transposed(value, weight, None, window.strides, 0, 0, node.get("group", 1), window.dilations)
    # Negative padding cuts.
    cut = [more - end for more, end in zip(extra, ends, strict=True)]
    spread = _padded(spread, [-begin for begin in begins], cut, 0.0)
    return spread if bias is None else spread + bias.reshape(-1, *[1] * window.rank)


def _max_pool(node: Node, value: Tensor) -> Tensor:
    window = _Window(node, value, node.needed("kernel_shape"))
    over = window.overhang(value.shape[2:], ceil=bool(node.get("ceil_mode", 0)))
    ends = [end + max(more, 0) for end, more in zip(window.ends, over, strict=True)]
    filled = _padded(value, window.begins, ends, -math.inf)
    return _MAXIMA[window.rank](filled, window.kernel, window.strides, 0, window.dilations)


def _average_pool(node: Node, value: Tensor) -> Tensor:
    window = _Window(node, value, node.needed("kernel_shape"))
    over = window.overhang(value.shape[2:], ceil=bool(node.get("ceil_mode", 0)))
    ends = [end + max(more, 0) for end, more in zip(window.ends, over, strict=True)]
    total = _window_sums(window, _padded(value, window.begins, ends, 0.0))
    ones = torch.ones_like(value[:1, :1])
    if node.get("count_include_pad", 0):
        counted = _padded(ones, window.begins, window.ends, 1.0)
        counted = _padded(counted, [0] * window.rank, [max(more, 0) for more in over], 0.0)
    else:
        counted = _padded(ones, window.begins, ends, 0.0)
    return total / _window_sums(window, counted)


def _window_sums(window: _Window, value: Tensor) -> Tensor:
    if max(window.dilations) == 1:
        return _AVERAGES[window.rank](value, window.kernel, window.strides) * math.prod(window.kernel)
    ones = torch.ones(1, 1, *window.kernel, dtype=value.dtype, device=value.device)
    planes = value.reshape(-1, 1, *value.shape[2:])
    found = _CONVOLUTIONS[window.rank](planes, ones, None, window.strides, 0, window.dilations)
    return found.reshape(*value.shape[:2], *found.shape[2:])


def _pad(
    node: Node,
    value: Tensor,
    given: Tensor | None = None,
    fill: Tensor | None = None,
    chosen: Tensor | None = None,
) -> Tensor:
    pads = node.needed("pads") if given is None else given.tolist()
    axes = list(range(value.ndim)) if chosen is None else [axis % value.ndim for axis in chosen.tolist()]
    begins, ends = [0] * value.ndim, [0] * value.ndim
    for place, axis in enumerate(axes):
        begins[axis], ends[axis] = pads[place], pads[place + len(axes)]
    mode = node.get("mode", "constant")
    if mode == "constant":
        return _padded(value, begins, ends, node.get("value", 0.0) if fill is None else fill.item())
    for axis, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        if begin or end:
            places = torch.arange(-begin, value.shape[axis] + end, device=value.device)
            value = value.index_select(axis, _sources(mode, places, value.shape[axis]))
    return value


def _sources(mode: str, places: Tensor, size: int) -> Tensor:
    if mode == "edge":
        return places.clamp(0, size - 1)
    if mode == "wrap":
        return places % size
    period = max(2 * (size - 1), 1)
    return (size - 1) - ((size - 1) - places % period).abs()


def _half_pixel(places: Tensor, scale: float, _size: int, _goal: int) -> Tensor:
    return (places + 0.5) / scale - 0.5


def _half_pixel_symmetric(places: Tensor, scale: float, size: int, goal: int) -> Tensor:
    return size / 2 * (1 - goal / (scale * size)) + (places + 0.5) / scale - 0.5


def _pytorch_half_pixel(places: Tensor, scale: float, size: int, goal: int) -> Tensor:
    return _half_pixel(places, scale, size, goal) if goal > 1 else torch.zeros_like(places)


def _align_corners(places: Tensor, _scale: float, size: int, goal: int) -> Tensor:
    return places * (size - 1) / (goal - 1) if goal > 1 else torch.zeros_like(places)


COORDINATES: Final[dict[str, Coordinate]] = {
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "align_corners": _align_corners,
    "asymmetric": lambda places, scale, _size, _goal: places / scale,
}


def _resize(node: Node, value: Tensor, *given: Tensor | None) -> Tensor:
    if node.opset < 11 or node.kind == "Upsample":
        scales, goals = given[0] if given else torch.tensor(node.needed("scales")), None
    else:
        _roi, scales, goals = (*given, None, None, None)[:3]
    axes = [axis % value.ndim for axis in node.get("axes", range(value.ndim))]
    if goals is not None and goals.numel():
        wanted = goals.tolist()
        factors = [goal / value.shape[axis] for goal, axis in zip(wanted, axes, strict=True)]
    elif scales is not None and scales.numel():
        factors = scales.tolist()
        wanted = [math.floor(value.shape[axis] * one) for axis, one in zip(axes, factors, strict=True)]
    else:
        raise ModelError(f"scales or sizes at operator {node}", "neither", "export the model again")
    for axis, goal, factor in zip(axes, wanted, factors, strict=True):
        if goal != value.shape[axis] or factor != 1:
            value = _resize_axis(node, value, axis, goal, factor)
    return value


def _resize_axis(node: Node, value: Tensor, axis: int, goal: int, scale: float) -> Tensor:
    size = value.shape[axis]
    default = "asymmetric" if node.opset < 11 else "half_pixel"
    coordinate = COORDINATES[node.get("coordinate_transformation_mode", default)]
    # Single precision, as in ONNX Runtime: which neighbour is nearest hangs on the last bit.
    places = coordinate(torch.arange(goal, dtype=torch.float32, device=value.device), scale, size, goal)
    if node.get("mode", "nearest") == "nearest":
        return value.index_select(axis, _nearest(node, places, scale).long().clamp(0, size - 1))
    places = places.clamp(0, size - 1)
    low = places.floor()
    share = (places - low).to(value.dtype).reshape(-1, *[1] * (value.ndim - 1 - axis))
    below = value.index_select(axis, low.long())
    above = value.index_select(axis, (low.long() + 1).clamp_max(size - 1))
    return below + (above - below) * share


def _nearest(node: Node, places: Tensor, scale: float) -> Tensor:
    if node.opset < 11:
        return places.ceil() if scale < 1 else places.floor()
    mode = node.get("nearest_mode", "round_prefer_floor")
    if mode == "round_prefer_floor":
        return (places - 0.5).ceil()
    if mode == "round_prefer_ceil":
        return (places + 0.5).floor()
    return places.floor() if mode == "floor" else places.ceil()


OPERATORS: Final[dict[str, Callable[..., Any]]] = {
    "AveragePool": _average_pool,
    "Conv": _convolve,
    "ConvTranspose": _convolve_transposed,
    "MaxPool": _max_pool,
    "Pad": _pad,
    "Resize": _resize,
    "Upsample": _resize,
}
