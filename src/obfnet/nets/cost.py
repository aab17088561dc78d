"""What a network costs: parameters and multiply-accumulates (MACs) a sample.

MACs of convolutions and fully connected layers are counted; activations, pooling and biases are
not, as is usual in the field.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from obfnet.nets.mode import evaluating


def count_parameters(network: nn.Module) -> int:
    """Number of trainable values, frozen ones included."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiply-accumulates for one sample, counted while one sample of zeros passes.

    Args:
        network: Any module of `nn.Conv2d` and `nn.Linear` layers.
        shape: Shape of a sample without the batch axis.

    Returns:
        The count. A network on torch's meta device is counted without any memory for its values.
    """
    total = 0
    device = next((value.device for value in network.parameters()), None)

    def add(layer: nn.Module, _: tuple[Any, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            window = math.prod(layer.kernel_size) * layer.in_channels // layer.groups
            total += window * math.prod(output.shape[1:])
        elif isinstance(layer, nn.Linear):
            total += layer.in_features * math.prod(output.shape[1:])

    hooks = [layer.register_forward_hook(add) for layer in network.modules()]
    try:
        with torch.no_grad(), evaluating(network):
            network(torch.zeros(1, *shape, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return total
