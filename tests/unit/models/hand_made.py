"""Models that need no training: four classes of pictures by how bright their first channel is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from obfnet.models.source import Model, open_model

CENTRES = (0.125, 0.375, 0.625, 0.875)
NAMES = ("night", "dusk", "dawn", "day")


class Levels(nn.Module):
    """Scores by how near the mean of the first channel, in [0, 1], is to each class's."""

    def __init__(self, count: int = len(CENTRES)) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.tensor([*CENTRES, *(5.0 + one for one in range(count - 4))]))

    def forward(self, x: Tensor) -> Tensor:
        return -200 * (x[:, 0].flatten(1).mean(1, keepdim=True) - self.centres) ** 2


class Changed(nn.Module):
    """A model with something done to what it takes, or to what it gives."""

    def __init__(
        self,
        inner: nn.Module,
        *,
        before: Callable[[Any], Any] = lambda x: x,
        after: Callable[[Any], Any] = lambda x: x,
    ) -> None:
        super().__init__()
        self.inner, self.before, self.after = inner, before, after

    def forward(self, x: Tensor) -> Any:
        return self.after(self.inner(self.before(x)))


def pictures(
    count: int = 120, *, channels: int = 3, size: int = 8
) -> tuple[np.ndarray[Any, np.dtype[np.float32]], np.ndarray[Any, np.dtype[np.int64]]]:
    random = np.random.default_rng(0)
    labels = np.arange(count) % 4
    level = np.array(CENTRES)[labels][:, None, None, None] + random.uniform(-0.05, 0.05, (count, 1, 1, 1))
    noise = random.uniform(-0.07, 0.07, (count, channels, size, size))
    return (level + noise).clip(0, 1).astype(np.float32), labels


FREE: Model = open_model(Levels())
