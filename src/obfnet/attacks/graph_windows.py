"""The operators of `graph` that know where a value lies: convolutions, pooling, padding, resizing.

Each takes its node and its inputs, `(N, C, ...)` float32, and gives its first output. What a setting would
change and is not done here is refused by name.
"""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from obfnet.attacks.graph_node import Node
from obfnet.core.errors import AttackError

Sizes = list[int]


def _padded(value: Tensor, pads: Sizes, fill: float = 0.0, mode: str = "constant") -> Tensor:
    # ONNX: all begins, then all ends, first axis first; torch: begin and end by turns, last axis first.
    half = len(pads) // 2
    turned = [pads[side + axis] for axis in reversed(range(half)) for side in (0, half)]
    if not any(turned):
        return value
    return (
        functional.pad(value, turned, mode, fill)
        if mode == "constant"
        else functional.pad(value, turned, mode)
    )


def _pads(node: Node, value: Tensor, kernel: Sizes) -> Sizes:
    node.only(auto_pad=("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"))
    axes = len(kernel)
    mode, pads = node.get("auto_pad", "NOTSET"), list(node.get("pads", [0] * 2 * axes))
    if not mode.startswith("SAME"):
        return [0] * 2 * axes if mode == "VALID" else pads
    steps, spread = node.get("strides", [1] * axes), node.get("dilations", [1] * axes)
    total = [
        max(0, (-(-size // step) - 1) * step + (side - 1) * gap + 1 - size)
        for size, side, step, gap in zip(value.shape[2:], kernel, steps, spread, strict=True)
    ]
    less, more = [size // 2 for size in total], [size - size // 2 for size in total]
    return less + more if mode == "SAME_UPPER" else more + less


def convolution(node: Node, value: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Conv."""
    axes = weight.ndim - 2
    function = (functional.conv1d, functional.conv2d, functional.conv3d)[axes - 1]
    value = _padded(value, _pads(node, value, list(weight.shape[2:])))
    steps, gaps = node.get("strides", [1] * axes), node.get("dilations", [1] * axes)
    return function(value, weight, bias, steps, 0, gaps, node.get("group", 1))


def transposed(node: Node, value: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """ConvTranspose; pads cut the result."""
    node.only(auto_pad=("NOTSET",), output_shape=(None,))
    axes = weight.ndim - 2
    ones, pads = [1] * axes, node.get("pads", [0] * 2 * axes)
    function = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[
        axes - 1
    ]
    whole = function(
        value,
        weight,
        None,
        node.get("strides", ones),
        0,
        node.get("output_padding", [0] * axes),
        node.get("group", 1),
        node.get("dilations", ones),
    )
    for axis in range(axes):
        whole = whole.narrow(axis + 2, pads[axis], whole.shape[axis + 2] - pads[axis] - pads[axes + axis])
    return whole if bias is None else whole + bias.reshape(-1, *ones)


def max_pool(node: Node, value: Tensor) -> Tensor:
    """MaxPool, its first output."""
    node.only(ceil_mode=(0,), storage_order=(0,))
    kernel = list(node.get("kernel_shape", []))
    ones = [1] * len(kernel)
    function = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[len(kernel) - 1]
    value = _padded(value, _pads(node, value, kernel), float("-inf"))
    return function(value, kernel, node.get("strides", ones), 0, node.get("dilations", ones))


def average_pool(node: Node, value: Tensor) -> Tensor:
    """AveragePool."""
    kernel = list(node.get("kernel_shape", []))
    ones = [1] * len(kernel)
    node.only(dilations=(ones,))
    function = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[len(kernel) - 1]
    pads, steps = _pads(node, value, kernel), node.get("strides", ones)
    if not any(pads):
        # A last window that sticks out is the mean of what lies inside, in torch as in ONNX.
        return function(value, kernel, steps, ceil_mode=bool(node.get("ceil_mode", 0)))
    node.only(ceil_mode=(0,))
    pooled = function(_padded(value, pads), kernel, steps)
    if node.get("count_include_pad", 0):
        return pooled
    inside = function(_padded(torch.ones_like(value[:1, :1]), pads), kernel, steps)
    return pooled / inside


def normalise(node: Node, value: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """BatchNormalization, as it is in inference."""
    node.only(training_mode=(0,))
    return functional.batch_norm(value, mean, spread, scale, bias, eps=node.get("epsilon", 1e-5))


def pad(
    node: Node, value: Tensor, pads: Tensor, fill: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    """Pad."""
    node.only(mode=("constant", "reflect", "edge"))
    begins, ends = [0] * value.ndim, [0] * value.ndim
    given = pads.tolist()
    places = list(range(value.ndim)) if axes is None else axes.tolist()
    for place, axis in enumerate(places):
        begins[axis], ends[axis] = given[place], given[len(places) + place]
    if (mode := node.get("mode", "constant")) == "constant":
        return _padded(value, begins + ends, 0.0 if fill is None else float(fill))
    # torch repeats and reflects on the last axes only, and wants those before them left out.
    turned = [pad for axis in reversed(range(2, value.ndim)) for pad in (begins[axis], ends[axis])]
    return functional.pad(value, turned, "replicate" if mode == "edge" else mode)


def resize(node: Node, value: Tensor, *given: Tensor | None) -> Tensor:
    """Resize, by the nearest value."""
    node.only(
        mode=("nearest",),
        coordinate_transformation_mode=("half_pixel", "asymmetric"),
        nearest_mode=("round_prefer_floor", "floor", "ceil", "round_prefer_ceil"),
        keep_aspect_ratio_policy=("stretch",),
        axes=(None,),
    )
    _, scales, sizes = (*given, None, None, None)[:3]
    for axis, size in enumerate(value.shape):
        if sizes is not None and sizes.numel():
            wanted = int(sizes[axis])
            scale = wanted / size
        elif scales is not None:
            scale = float(scales[axis])
            wanted = int(size * scale)
        else:
            raise AttackError(
                "scales or sizes of operator Resize", f"none (node {node.name!r})", "export it again"
            )
        if wanted == size:
            continue
        shift = 0.0 if node.get("coordinate_transformation_mode", "half_pixel") == "asymmetric" else 0.5
        place = (torch.arange(wanted, dtype=torch.float64) + shift) / scale - shift
        index = _NEAREST[node.get("nearest_mode", "round_prefer_floor")](place).long().clamp(0, size - 1)
        value = value.index_select(axis, index.to(value.device))
    return value


_NEAREST: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round_prefer_floor": lambda place: (place - 0.5).ceil(),
    "round_prefer_ceil": lambda place: (place + 0.5).floor(),
}


def shuffle(node: Node, value: Tensor) -> Tensor:
    """DepthToSpace."""
    count, channels, height, width = value.shape
    block = node.get("blocksize", 1)
    if node.get("mode", "DCR") == "CRD":
        return functional.pixel_shuffle(value, block)
    parts = value.reshape(count, block, block, channels // block**2, height, width)
    return parts.permute(0, 3, 4, 1, 5, 2).reshape(count, channels // block**2, height * block, width * block)
