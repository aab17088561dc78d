"""Evaluation mode for as long as a block runs.

Each module has a mode of its own: a frozen network inside one that is trained is in evaluation mode,
and must not be put into training mode with the rest afterwards.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Puts `network` and everything in it into evaluation mode, and each module's own mode back after.

    Args:
        network: Any module.
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def borrowed(network: nn.Module) -> Iterator[None]:
    """Somebody else's network as a frozen one: evaluation mode, no gradients of weights; all put back after.

    Args:
        network: Any module.
    """
    wanted = {parameter: parameter.requires_grad for parameter in network.parameters()}
    with evaluating(network):
        network.requires_grad_(False)
        try:
            yield
        finally:
            for parameter, had in wanted.items():
                parameter.requires_grad_(had)
