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
