"""Keeps the weights that did best on validation data, and says when a run has stopped getting better.

What is scored is handed to it; it never sees a sample. Its state goes into the run's checkpoint, so that a
resumed run selects as an uninterrupted one does.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor, nn

_SCORES: Final = "selection"
_BEST: Final = "best/"


@dataclass(kw_only=True, eq=False)
class Selection:
    """Selection by validation score, once an epoch.

    Args:
        score: The present score of the network, higher is better; puts every mode back that it changes.
        patience: Epochs without a better score after which the run stops, ≥ 1; None never stops it.
    """

    score: Callable[[], float]
    patience: int | None = None
    best: float = field(default=-math.inf, init=False)
    _since: int = field(default=0, init=False)
    _weights: dict[str, Tensor] = field(default_factory=dict, init=False)

    def look(self, modules: nn.Module) -> bool:
        """Scores the network, remembers it if it is the best so far, and says whether to stop."""
        score = self.score()
        if score > self.best:
            self.best, self._since = score, 0
            self._weights = {name: value.detach().clone() for name, value in modules.state_dict().items()}
        else:
            self._since += 1
        return self.patience is not None and self._since >= self.patience

    def restore(self, modules: nn.Module) -> None:
        """Puts the best weights back; the network keeps its own where nothing was scored."""
        if self._weights:
            modules.load_state_dict(self._weights)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of it."""
        scores = torch.tensor([self.best, float(self._since)], dtype=torch.float64)
        return {_SCORES: scores, **{_BEST + name: value for name, value in self._weights.items()}}

    def resume(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes back what `state` gave; nothing where a checkpoint holds none."""
        if _SCORES in tensors:
            self.best, since = tensors[_SCORES].tolist()
            self._since = int(since)
            self._weights = {
                name.removeprefix(_BEST): value for name, value in tensors.items() if name.startswith(_BEST)
            }
