"""Recognises a private attribute (who speaks) from what the backend received.

A small classifier with weights chosen on the attacker's own validation part; the same one on raw samples is
the ceiling, and the most frequent value the chance level.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from obfnet.core.errors import AttackError
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.data.rows import AnyRows, batches
from obfnet.data.splits import hold_out
from obfnet.fitting import Budget, Schedule, Selection, run_schedule
from obfnet.nets.mode import evaluating
from obfnet.nets.standardise import Standardise

NAME: Final = "attribute-probe"
THREAT_LEVEL: Final = "T2"
_HIDDEN: Final = 256
_VALIDATION: Final = 0.1
_STANDARD_SAMPLES: Final = 5_000
_FEWEST: Final = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownAttributes:
    """T2: samples as the backend would receive them, of people whom the attacker can name.

    Args:
        received: `(N, ...)` float32 in [0, 1] or uint8.
        values: `(N,)` int64, the attribute's value of each, ≥ 0.
    """

    received: AnyRows
    values: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.received) != len(self.values) or len(self.values) < _FEWEST:
            raise AttackError(
                f"a value for each of at least {_FEWEST} samples",
                f"{len(self.received)} samples, {len(self.values)} values",
                "give more samples",
            )
        if self.values.min() < 0:
            raise AttackError("values from 0", "samples without a value", "leave them out")


def probe_attribute(
    known: KnownAttributes, received: AnyRows, *, epochs: float, seed: int, progress: Progress
) -> npt.NDArray[np.int64]:
    """The attribute's value that an attacker gives to each sample.

    Args:
        known: What it trains on; never the samples that it is asked about.
        received: `(M, ...)` samples of the same form.
        epochs: Passes over the known samples.
        seed: Of weights and order.
        progress: Told of every step.

    Returns:
        `(M,)` int64.

    Raises:
        AttackError: too few samples are known.

    Does not guarantee: that a better attacker would not recognise more.
    """
    classes = int(known.values.max()) + 1
    kept, held = hold_out(known.values, max(1, round(_VALIDATION * len(known.values))), seed=seed)
    torch.manual_seed(seed)
    some = _tensor(known.received[:: max(1, len(known.values) // _STANDARD_SAMPLES)])
    network = _Probe(some, classes)
    values = torch.from_numpy(known.values.copy())

    def step(batch: Tensor) -> float:
        rows = kept[batch.numpy()]
        loss = functional.cross_entropy(network(_tensor(known.received[rows])), values[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def score() -> float:
        return float((_answers(network, known.received[held]) == known.values[held]).mean())

    budget = Budget(
        schedule=Schedule(epochs=epochs, batch_size=64, peak_rate=1e-3, warm_up=0.2),
        seed=seed,
        checkpoint=None,
        progress=progress,
        task="train attribute probe",
        selection=Selection(score=score),
    )
    run_schedule(network, step, samples=len(kept), budget=budget)
    return np.concatenate([_answers(network, part) for part in batches(received)])


class _Probe(nn.Module):
    def __init__(self, some: Tensor, classes: int) -> None:
        super().__init__()
        standardise = Standardise(tuple(some.shape[1:]), floor=0.01)
        standardise.calibrate(some)
        self.layers = nn.Sequential(
            standardise,
            nn.Flatten(),
            nn.Linear(some[0].numel(), _HIDDEN),
            nn.BatchNorm1d(_HIDDEN),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.BatchNorm1d(_HIDDEN),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(_HIDDEN, classes),
        )

    def forward(self, received: Tensor) -> Tensor:
        scores: Tensor = self.layers(received)
        return scores


def _answers(network: nn.Module, received: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    with torch.no_grad(), evaluating(network):
        answers: npt.NDArray[np.int64] = network(_tensor(received)).argmax(1).numpy()
    return answers


def _tensor(samples: npt.NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(as_unit(samples))
