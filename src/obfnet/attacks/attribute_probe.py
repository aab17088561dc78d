"""Recognises a private attribute (who speaks) from what the backend received.

A small classifier with weights chosen on the attacker's own validation part; the same one on raw samples is
the ceiling, and the most frequent value the chance level.
"""

from typing import Final, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from obfnet.attacks.attack import AttributeAttack, Recognition
from obfnet.attacks.knowledge import Samples
from obfnet.attacks.known_attributes import KnownAttributes
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
_BATCH: Final = 64
_PASSES: Final = 40
_STEPS: Final = 4_000

__all__ = ["NAME", "THREAT_LEVEL", "KnownAttributes", "MLPProbe", "probe_attribute"]


@final
class MLPProbe(AttributeAttack):
    """A perceptron with two hidden layers, with the weights that did best on its own held-out part.

    Args:
        effort: Share of a standard training: 40 passes, or 4,000 steps where samples are few.
        epochs: Passes over the known samples; None takes as many as the effort buys.

    Source: Song and Shmatikov 2020, *Overlearning reveals sensitive attributes* (ICLR): an attribute that
        was not trained for, recognised from a representation.
    """

    name = "mlp-probe"
    threat_level = "T2"
    citation = "Song and Shmatikov 2020, Overlearning reveals sensitive attributes (ICLR)"
    assumes = "samples of the device's own network whose attribute the attacker knows"

    def __init__(self, *, effort: float = 1.0, epochs: float | None = None) -> None:
        super().__init__(effort=effort)
        self.epochs = epochs

    def fit(
        self, received: AnyRows, values: npt.NDArray[np.int64], *, count: int, seed: int, progress: Progress
    ) -> Recognition:
        """Trains the probe; the scores are probabilities.

        Does not guarantee: that a better attacker would not recognise more.
        """
        known = KnownAttributes(received=received, values=values)
        known.require_below(count)
        visits = max(_PASSES, _STEPS * _BATCH / len(values))
        epochs = self.effort * visits if self.epochs is None else self.epochs
        network = _train(known, count, epochs=epochs, seed=seed, progress=progress)

        def recognise(samples: Samples) -> npt.NDArray[np.float64]:
            parts = [_scores(network, part).softmax(1).double().numpy() for part in batches(samples)]
            return np.concatenate(parts)

        return recognise


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
    network = _train(known, int(known.values.max()) + 1, epochs=epochs, seed=seed, progress=progress)
    return np.concatenate([_answers(network, part) for part in batches(received)])


def _train(
    known: KnownAttributes, classes: int, *, epochs: float, seed: int, progress: Progress
) -> nn.Module:
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
        schedule=Schedule(epochs=epochs, batch_size=_BATCH, peak_rate=1e-3, warm_up=0.2),
        seed=seed,
        checkpoint=None,
        progress=progress,
        task="train attribute probe",
        selection=Selection(score=score),
    )
    run_schedule(network, step, samples=len(kept), budget=budget)
    return network


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
    answers: npt.NDArray[np.int64] = _scores(network, received).argmax(1).numpy()
    return answers


def _scores(network: nn.Module, received: npt.NDArray[np.float32]) -> Tensor:
    with torch.no_grad(), evaluating(network):
        scores: Tensor = network(_tensor(received))
    return scores


def _tensor(samples: npt.NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(as_unit(samples))
