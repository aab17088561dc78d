"""Which processor trains, and in which arithmetic: the same code on all of them."""

from contextlib import AbstractContextManager
from typing import Literal

import torch

from obfnet.core.errors import UsageError

NAMES = ("auto", "cpu", "cuda")

Precision = Literal["float32", "bfloat16"]
"""Of what a forward pass computes in; weights, gradients of weights and losses stay float32."""


def processor(name: str) -> torch.device:
    """The torch device of that name.

    Args:
        name: `"cpu"`, `"cuda"`, or `"auto"` for a GPU where there is one.

    Raises:
        UsageError: another name, or no GPU that this torch can use.

    Example:
        >>> processor("cpu").type
        'cpu'
    """
    if name not in NAMES:
        raise UsageError(f"a processor of {', '.join(NAMES)}", repr(name), "choose one of them")
    present = torch.cuda.is_available()
    if name == "cuda" and not present:
        raise UsageError(
            "a GPU that this torch can use", "none", "use --processor cpu, or install a CUDA torch"
        )
    return torch.device("cuda" if present and name != "cpu" else "cpu")


def arithmetic(precision: Precision, place: torch.device) -> AbstractContextManager[object]:
    """Context in which forward passes compute in `precision`, where the processor has it.

    A processor without bfloat16 computes in float32 instead, which is slower and a little more exact: a
    training repeats on one machine, not between machines.

    Args:
        precision: What is wanted.
        place: Processor that computes.

    Example:
        >>> with arithmetic("float32", torch.device("cpu")):
        ...     (torch.ones(1, 1) @ torch.ones(1, 1)).dtype
        torch.float32
    """
    enabled = precision == "bfloat16" and _has_bfloat16(place)
    return torch.autocast(place.type, dtype=torch.bfloat16, enabled=enabled)


def _has_bfloat16(place: torch.device) -> bool:
    if place.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # Without the instructions a convolution would take many times longer.
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
