"""A model as the rest of ObfNet sees networks: samples in [0, 1], channels first, in; scores out.

The model itself stays as it is; what it wants (another range, integers, channels last, one batch size) and
what it gives (a tuple, a dict, probabilities) is undone around it, with gradients.
"""

from collections.abc import Mapping
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from obfnet.core.errors import ModelError
from obfnet.core.spec import InputSpec
from obfnet.export.wire import WireEnds

_SMALLEST: Final = 1e-12
_SUM_TOLERANCE: Final = 1e-3


@final
class ModelView(nn.Module):
    """A model between samples in [0, 1] and scores.

    Args:
        model: Takes `(N, *spec.shape)` and gives scores, perhaps in a tuple or a dict.
        spec: What it takes.
        batch: Its one batch size; None where any will do.
        probabilities: Whether it gives these and not scores: their logarithm is then the score.
    """

    def __init__(
        self, model: nn.Module, spec: InputSpec, *, batch: int | None = None, probabilities: bool = False
    ) -> None:
        super().__init__()
        self.model, self.ends = model, WireEnds(spec)
        self.spec, self.batch, self.probabilities = spec, batch, probabilities

    def forward(self, unit: Tensor) -> Tensor:
        """Scores, `(N, K)`, of samples `(N, C, H, W)` in [0, 1]."""
        given = self.given(unit)
        return given.clamp_min(_SMALLEST).log() if self.probabilities else given

    def given(self, unit: Tensor) -> Tensor:
        """What the model itself gives for these samples, scores or probabilities."""
        # A copy: a model that works in place must not change what it was given.
        sent = self.ends.as_wire(unit, straight=True).clone()
        return scores_of(self.model(sent)) if self.batch is None else self._in_batches(sent, self.batch)

    def _in_batches(self, sent: Tensor, size: int) -> Tensor:
        missing = -len(sent) % size
        filled = torch.cat([sent, sent[-1:].expand(missing, *sent.shape[1:])]) if missing else sent
        scores = [scores_of(self.model(part)) for part in torch.split(filled, size)]
        return torch.cat(scores)[: len(sent)]


def scores_of(given: Any) -> Tensor:
    """The one tensor `(N, K)` in what a model gave: itself, in a tuple, or in a dict (`logits` first).

    Raises:
        ModelError: none, or several; the message has the shapes.
    """
    if isinstance(given, Mapping):
        named = given.get("logits")
        candidates = [named] if isinstance(named, Tensor) else list(given.values())
    else:
        candidates = list(given) if isinstance(given, tuple | list) else [given]
    tensors = [one for one in candidates if isinstance(one, Tensor)]
    fitting = [one for one in tensors if one.ndim == 2 and one.shape[1] > 1 and one.is_floating_point()]
    if len(fitting) != 1:
        shapes = ", ".join(str(tuple(one.shape)) for one in tensors[:4]) or type(given).__name__
        raise ModelError(
            "one output of scores, (N, classes)",
            shapes,
            "give a classifier, or wrap it in a module that returns the scores alone",
        )
    return fitting[0]


def are_probabilities(scores: Tensor) -> bool:
    """Whether each row is at least 0 and sums to 1."""
    sums = scores.sum(1)
    return bool((scores >= 0).all()) and bool(((sums - 1).abs() < _SUM_TOLERANCE).all())
