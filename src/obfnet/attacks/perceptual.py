"""How alike two samples look to a network that learned to tell such samples apart.

A metric that must be learned first, from the attacker's own samples alone, so that it needs no downloaded
weights and fits digits and speech as well as photographs. It lives among the attacks since it trains.
"""

from itertools import pairwise
from typing import Any, Final, Self, final

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from obfnet.attacks.knowledge import Labels, Samples
from obfnet.core.errors import AttackError, ShapeError
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.data.rows import AnyRows, taken
from obfnet.data.splits import hold_out
from obfnet.fitting import Budget, Schedule, Selection, run_schedule
from obfnet.nets.mode import evaluating

# So many samples go through a standard training, and never fewer passes than these.
_STANDARD_VISITS: Final = 30_000
_FEWEST_PASSES: Final = 3.0
_MOST_SAMPLES: Final = 20_000
_FEWEST: Final = 20
_VALIDATION: Final = 0.1
_AT_ONCE: Final = 64
# Pictures with a longer side are halved at once: the features are as telling at a quarter of the work.
_LARGE: Final = 32
_SMALLEST_SIDE: Final = 4


@final
class PerceptualDistance:
    """Distance of features in a small classifier of the case's own samples; 0 means the same.

    The features of each hidden layer are brought to length 1 (over the channels at each place, or over the
    whole layer where a sample has no places), and the squares of their differences summed up; the figure
    is the mean over places and layers. Made by `fit`.

    It is *not* LPIPS: nobody trained it on what people find alike, its weights differ by case and seed, and
    so do its figures. They may be compared within one audit only. It answers whether a guess has what
    tells samples of this kind apart, where SSIM and MSE ask for the right values at the right places.

    Args:
        network: A trained classifier that gives its features layer by layer.
        shape: Of one raw sample.
        accuracy: Of the classifier on the attacker's validation samples, in [0, 1]; close to that of
            guessing, the distance means little.

    Source: Zhang, Isola, Efros, Shechtman and Wang 2018, *The unreasonable effectiveness of deep features as
        a perceptual metric* (the distance without its learned weights).
    Differs from paper: a network trained on the case's own public part, and no weights of the layers.

    Does not guarantee: a large distance says nothing about whether a person or an attribute is recognisable.
    """

    def __init__(self, network: "_Classifier", shape: tuple[int, ...], accuracy: float) -> None:
        self._network, self.shape, self.accuracy = network, shape, accuracy

    @classmethod
    def fit(cls, raw: AnyRows, labels: Labels, *, seed: int, progress: Progress, effort: float = 1.0) -> Self:
        """Trains the classifier on the attacker's own samples, a tenth of them kept for choosing its weights.

        Args:
            raw: `(N, C, H, W)` or `(N, ...)` in [0, 1], or lazy rows, N ≥ 20; of more than 20,000 an evenly
                spaced part is used. Never the samples that are scored.
            labels: Their labels, `(N,)` int64, at least two different ones.
            seed: Of weights and order; the same seed gives the same distance.
            progress: Told of every step.
            effort: Share of a standard training, > 0.

        Raises:
            AttackError: too few samples, not as many labels, one label only, or no effort.
        """
        if not len(raw) == len(labels) >= _FEWEST or effort <= 0:
            raise AttackError(
                f"a label for each of at least {_FEWEST} samples, and an effort above 0",
                f"{len(raw)} samples, {len(labels)} labels, effort {effort:g}",
                "give more samples",
            )
        some = np.unique(np.linspace(0, len(raw) - 1, min(len(raw), _MOST_SAMPLES)).astype(np.int64))
        known = taken(raw, some)
        names, classes = np.unique(labels[some], return_inverse=True)
        if len(names) < 2:
            raise AttackError(
                "samples of at least two labels", "one label", "leave out the perceptual distance"
            )
        kept, held = hold_out(classes, max(1, round(_VALIDATION * len(classes))), seed=seed)
        torch.manual_seed(seed)
        network = _Classifier(tuple(raw.shape[1:]), len(names))
        wanted = torch.from_numpy(classes)

        def step(batch: Tensor) -> float:
            rows = kept[batch.numpy()]
            loss = functional.cross_entropy(network.scores(_tensor(known[rows])), wanted[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.item()

        def score() -> float:
            with torch.no_grad(), evaluating(network):
                right = [
                    network.scores(_tensor(known[rows])).argmax(1).numpy() == classes[rows]
                    for rows in _portions(held)
                ]
            return float(np.concatenate(right).mean())

        selection = Selection(score=score)
        epochs = effort * max(_FEWEST_PASSES, _STANDARD_VISITS / len(kept))
        budget = Budget(
            schedule=Schedule(epochs=epochs, batch_size=64, peak_rate=2e-3, warm_up=0.2),
            seed=seed,
            checkpoint=None,
            progress=progress,
            task="train perceptual distance",
            selection=selection,
        )
        run_schedule(network, step, samples=len(kept), budget=budget)
        network.eval()
        return cls(network, tuple(raw.shape[1:]), selection.best)

    def __call__(self, raw: Samples, reconstructed: Samples) -> npt.NDArray[np.float64]:
        """The distance of each guess; higher means that less was leaked.

        Args:
            raw: What the device captured, `(N, *shape)` in [0, 1] (or uint8).
            reconstructed: The attacker's guess; same shape and range.

        Returns:
            `(N,)` float64 in [0, 2]: the features are none below 0, so that none point away from each other.

        Raises:
            ShapeError: the shapes differ from each other, or from what was fitted.
        """
        if raw.shape[1:] != self.shape or reconstructed.shape != raw.shape:
            raise ShapeError(
                f"`raw` and `reconstructed` of shape (N, {', '.join(map(str, self.shape))})",
                f"{raw.shape} and {reconstructed.shape}",
                "reshape the guess",
            )
        parts = [np.empty(0)]
        with torch.no_grad():
            for rows in _portions(np.arange(len(raw))):
                layers = zip(
                    self._network(_tensor(raw[rows])),
                    self._network(_tensor(reconstructed[rows])),
                    strict=True,
                )
                distances = [_distance(*pair) for pair in layers]
                parts.append(torch.stack(distances).mean(0).numpy())
        return np.concatenate(parts)


@final
class _Classifier(nn.Module):
    """Three hidden layers and a linear one; convolutions where a sample has height and width."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.flat = len(shape) != 3 or min(shape[1:]) < _SMALLEST_SIDE
        if not self.flat:
            first = 2 if max(shape[1:]) > _LARGE else 1
            sizes = [(shape[0], 32, first), (32, 64, 2), (64, 128, 2)]
            self.layers = nn.ModuleList(
                nn.Sequential(
                    nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1),
                    nn.BatchNorm2d(outputs),
                    nn.ReLU(),
                )
                for inputs, outputs, stride in sizes
            )
        else:
            widths = [int(np.prod(shape)), 256, 256, 128]
            self.layers = nn.ModuleList(
                nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU())
                for inputs, outputs in pairwise(widths)
            )
        self.last = nn.Linear(128, classes)

    def forward(self, samples: Float[Tensor, "N ..."]) -> list[Tensor]:
        """The features of each hidden layer, `(N, channels, ...)`."""
        values = (samples.flatten(1) if self.flat else samples) * 2 - 1
        features = []
        for layer in self.layers:
            values = layer(values)
            features.append(values)
        return features

    def scores(self, samples: Float[Tensor, "N ..."]) -> Float[Tensor, "N K"]:
        """Unnormalised scores, one a class."""
        # The mean over places, where there are any: what counts is what is seen, not where.
        scores: Tensor = self.last(_places(self(samples)[-1]).mean(2))
        return scores


def _distance(first: Tensor, second: Tensor) -> Tensor:
    first, second = (functional.normalize(features, dim=1) for features in (first, second))
    return _places((first - second) ** 2).sum(1).mean(1).double()


def _places(features: Tensor) -> Tensor:
    # `(N, channels, places)`; a layer that is no map has one place.
    return features.reshape(*features.shape[:2], -1)


def _portions(index: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    return [index[start : start + _AT_ONCE] for start in range(0, len(index), _AT_ONCE)]


def _tensor(samples: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(as_unit(samples))
