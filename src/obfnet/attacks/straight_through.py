"""What an operator without a gradient passes back in its place.

Rounding, a sign, a comparison, a choice of the largest: each has a derivative of zero almost everywhere, and
an attacker who follows it gets nowhere. Forward these functions are exact; backward they act as a smooth
neighbour. They know nothing of graphs.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from obfnet.models.onnx_operators import rows


def straight_through(exact: Tensor, smooth: Tensor) -> Tensor:
    """The value of `exact` with the gradient of `smooth`.

    Args:
        exact: Any tensor.
        smooth: A tensor that broadcasts to the same shape.

    Source: Athalye, Carlini and Wagner 2018, *Obfuscated gradients give a false sense of security*,
        section 4.1 (backward pass differentiable approximation).

    Example:
        >>> x = torch.tensor([0.2, 0.7], requires_grad=True)
        >>> y = straight_through(x.round(), x)
        >>> y.sum().backward()
        >>> y.tolist(), x.grad.tolist()
        ([0.0, 1.0], [1.0, 1.0])
    """
    return exact.detach() + (smooth - smooth.detach())


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """An index that was chosen by its score, and the weights that a soft choice would have given.

    Args:
        index: `(...)` float32, whole numbers.
        weights: `(..., K)` float32, rows summing to 1; they carry the gradient.
    """

    index: Tensor
    weights: Tensor

    def rearranged(self, index: Tensor) -> "Choice":
        """The same choices where `index` was only reshaped."""
        return Choice(index=index, weights=self.weights.reshape(*index.shape, -1))

    def lookup(self, table: Tensor, axis: int) -> Tensor:
        """Rows of `table` along `axis`; backward, the mean of all rows under the weights."""
        exact = rows(table, self.index.long(), axis)
        entries = table.movedim(axis, 0)[: self.weights.shape[-1]].to(self.weights.dtype)
        smooth = torch.tensordot(self.weights, entries, dims=1)
        # ONNX puts the axes of the index where the axis of the table was.
        order = list(range(self.index.ndim, exact.ndim))
        order[axis % table.ndim : axis % table.ndim] = range(self.index.ndim)
        return straight_through(exact, smooth.permute(order))


def choose(scores: Tensor, axis: int, *, exact: Tensor) -> Choice:
    """The index of the largest score, as a choice.

    Args:
        scores: Any shape.
        axis: The axis that is chosen along.
        exact: The index, int64, with or without that axis.
    """
    along = scores.movedim(axis, -1)
    # By their own spread: distances may be large numbers, and a soft choice among those is a hard one.
    spread = along.detach().std(-1, correction=0, keepdim=True).clamp_min(1e-6)
    weights = (along / spread).softmax(-1)
    positions = torch.arange(along.shape[-1], dtype=weights.dtype, device=weights.device)
    index = straight_through(exact, (weights @ positions).reshape(exact.shape))
    return Choice(index=index, weights=weights).rearranged(index)


def lookup_by_number(table: Tensor, index: Tensor, axis: int) -> Tensor:
    """Rows of a table by numbers that a network computed; backward, the slope between the neighbours.

    Args:
        table: Any shape.
        index: Whole numbers of any type and shape; negative ones count from the end.
        axis: Of the table.
    """
    place = index.detach().long()
    exact = rows(table, place, axis)
    if not index.requires_grad:
        return exact
    size = table.shape[axis]
    place = torch.where(place < 0, place + size, place)
    # Whole numbers without a sign would wrap.
    numbers = table.detach().to(index.dtype)
    above, below = (rows(numbers, (place + step).clamp(0, size - 1), axis) for step in (1, -1))
    spread = index.reshape(*index.shape, *[1] * (table.ndim - axis % table.ndim - 1))
    return exact + (above - below) / 2 * (spread - spread.detach())


def stepped(difference: Tensor, *, exact: Tensor) -> Tensor:
    """A comparison's 0 or 1; backward, it grows with the difference that was compared."""
    return straight_through(exact.to(difference.dtype), difference)


def picked(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """`yes` where the condition holds, else `no`; a condition that carries a gradient passes it on."""
    exact = torch.where(condition.detach() != 0, yes, no)
    if not condition.requires_grad:
        return exact
    step = yes.detach().to(condition.dtype) - no.detach().to(condition.dtype)
    return exact + step.nan_to_num() * (condition - condition.detach())
