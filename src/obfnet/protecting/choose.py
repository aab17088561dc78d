"""Chooses an obfuscation network that fits samples and a cost, for a model of somebody's own."""

import math
from collections.abc import Iterator
from typing import Final

from obfnet.core.errors import ObfNetError, UsageError
from obfnet.nets.cost import count_macs, count_parameters
from obfnet.training.protections import Protection, Purpose

# Up to so many values a sample goes through fully connected layers as well as through any other.
_FEW_VALUES: Final = 1_024
_WIDTHS: Final[dict[str, tuple[int, ...]]] = {
    "mlp": (100, 64, 32, 16, 8),
    "conv": (24, 16, 12, 8, 4),
}


def choose_network(
    protection: Protection,
    purpose: Purpose,
    *,
    hidden: int | None = None,
    max_macs: int | None = None,
    max_parameters: int | None = None,
) -> tuple[str, int]:
    """The widest obfuscation network within the limits.

    Args:
        protection: How it is limited.
        purpose: What for; its architecture may be empty, which leaves it open.
        hidden: Width of the bottleneck; None leaves it open.
        max_macs: Most multiply-accumulates a sample.
        max_parameters: Most parameters.

    Returns:
        Registry name of the architecture, and the width.

    Raises:
        UsageError: none is small enough; the message has the smallest.
    """
    smallest: tuple[int, int, str] | None = None
    reasons = []
    for architecture, width in _candidates(purpose, hidden):
        wanted = Purpose(
            shape=purpose.shape,
            architecture=architecture,
            hidden=width,
            classes=purpose.classes,
            attribute_values=purpose.attribute_values,
        )
        try:
            network = protection.obfuscation_of(protection.build(wanted))
        except ObfNetError as exc:
            reasons.append(exc)
            continue
        macs, parameters = count_macs(network, purpose.shape), count_parameters(network)
        if macs <= (max_macs or math.inf) and parameters <= (max_parameters or math.inf):
            return architecture, width
        found = (macs, parameters, f"{architecture}({width})")
        smallest = found if smallest is None else min(smallest, found)
    if smallest is None:
        raise reasons[0]
    limits = [
        f"{most:,} {what}" for most, what in ((max_macs, "MACs"), (max_parameters, "parameters")) if most
    ]
    raise UsageError(
        f"an obfuscation network within {' and '.join(limits)}",
        f"at least {smallest[0]:,} MACs, {smallest[1]:,} parameters of {smallest[2]}",
        "raise --max-macs or --max-parameters",
    )


def _candidates(purpose: Purpose, hidden: int | None) -> Iterator[tuple[str, int]]:
    order = ("mlp", "conv") if math.prod(purpose.shape) <= _FEW_VALUES else ("conv", "mlp")
    for architecture in [purpose.architecture] if purpose.architecture else order:
        for width in [hidden] if hidden else _WIDTHS.get(architecture, _WIDTHS["mlp"]):
            yield architecture, width
