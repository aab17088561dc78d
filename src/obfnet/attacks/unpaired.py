"""The attack without any pair: public samples, recorded requests, and the labels that were answered.

Several maps are fitted that would give the requests the moments of public samples; the one whose guesses
look most like public samples that it never saw is kept. No weights, no pairs: what a stranger at the backend
can do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from obfnet.attacks import moment_matching as matching
from obfnet.attacks.attack import Reconstruction, ReconstructionAttack
from obfnet.attacks.held_out import energy_distance
from obfnet.attacks.knowledge import Labels, Observed, Samples
from obfnet.attacks.moment_matching import Guess, Unpaired
from obfnet.attacks.principal_components import evenly, flat
from obfnet.core.errors import AttackError
from obfnet.core.progress import Progress
from obfnet.data.splits import hold_out

_MOST: Final = 4_000
_MOST_VALUES: Final = 20_000_000
_JUDGED: Final = 500
_SHARE: Final = 0.3
_FEWEST: Final = 20
_BATCH: Final = 256
# A map must come so much closer to public samples than it brings noise, over so many draws of that.
_CLOSER: Final = 0.5
_NOISES: Final = 3

Map = Callable[[Unpaired], Guess]


@final
class UnpairedMatching(ReconstructionAttack):
    """Matches the distribution of what was received to that of public samples, and guesses by the match.

    Where the two have one shape: the sample itself, its negative, mean and spread per value, and optimal
    transport between Gaussians, over all labels or within each. For any shape: whitened principal components,
    turned until label means and label covariances fit, which undoes any linear scrambling that the moments
    identify. The map is chosen by the energy distance of its guesses, with their labels, to public samples,
    both left out of the fit. A map that comes hardly closer than it brings noise has shown nothing; where
    none does better, the label's mean is the guess. Of many samples an evenly spaced subset of some thousands
    is used.

    Args:
        effort: Not used: nothing is trained.

    Source: Dowson and Landau 1982, *The Fréchet distance between multivariate normal distributions* (the
        transport map); Székely and Rizzo 2013, *Energy statistics: a class of statistics based on distances*
        (the choice).

    Does not guarantee: that a distribution which fits is the right one: two maps may fit equally well. A low
        figure may only mean that the obfuscation is far from linear.
    """

    name = "unpaired"
    threat_level = "T0"
    citation = "Dowson and Landau 1982, The Fréchet distance between multivariate normal distributions"
    assumes = "public samples are distributed as the device's, and the obfuscation is nearly linear"

    def fit(self, knowledge: Observed, *, seed: int, progress: Progress) -> Reconstruction:
        """Fits every map to a part of both sides, judges it on the rest, and fits the chosen one to all.

        Raises:
            AttackError: nothing was recorded of others, or fewer than 20 samples on either side.
        """
        known = _known(knowledge)
        raw_shape = tuple(knowledge.raw.shape[1:])
        same_shape = tuple(knowledge.stream.shape[1:]) == raw_shape  # type: ignore[union-attr]
        chosen = _chosen(_Trial.of(known, seed), same_shape=same_shape, seed=seed, progress=progress)
        guess = chosen(known)

        def reconstruct(samples: Samples, answered: Labels) -> Samples:
            guesses = np.empty((len(samples), known.raw.shape[1]), np.float32)
            for start in range(0, len(samples), _BATCH):
                part = slice(start, start + _BATCH)
                guesses[part] = guess(flat(samples[part]), answered[part]).clip(0, 1)
            return guesses.reshape(len(samples), *raw_shape)

        return reconstruct


def _known(knowledge: Observed) -> Unpaired:
    if knowledge.stream is None or knowledge.answered is None:
        raise AttackError("requests of others and their answers", "none", "record what the backend receives")
    if min(len(knowledge.raw), len(knowledge.stream)) < _FEWEST:
        raise AttackError(
            f"at least {_FEWEST} samples on either side",
            f"{len(knowledge.raw)} public, {len(knowledge.stream)} received",
            "record more",
        )
    values = max(int(np.prod(knowledge.raw.shape[1:])), int(np.prod(knowledge.stream.shape[1:])))
    most = max(_FEWEST, min(_MOST, _MOST_VALUES // values))
    own, others = evenly(len(knowledge.raw), most), evenly(len(knowledge.stream), most)
    return Unpaired(
        received=flat(knowledge.stream[others]),
        answered=knowledge.answered[others],
        raw=flat(knowledge.raw[own]),
        labels=knowledge.labels[own],
    )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Trial:
    """What maps are fitted to, and what they are judged on."""

    fitted: Unpaired
    judged: Unpaired

    @classmethod
    def of(cls, known: Unpaired, seed: int) -> "_Trial":
        parts = []
        for labels in (known.answered, known.labels):
            count = min(_JUDGED, max(1, round(_SHARE * len(labels))))
            parts.append(hold_out(labels, count, seed=seed))
        sides = [
            Unpaired(
                received=known.received[other],
                answered=known.answered[other],
                raw=known.raw[own],
                labels=known.labels[own],
            )
            for other, own in zip(*parts, strict=True)
        ]
        return cls(fitted=sides[0], judged=sides[1])

    def distance(self, chosen: Map) -> float:
        """Energy distance of a map's guesses to public samples, each with its label."""
        judged = self.judged
        guesses = chosen(self.fitted)(judged.received, judged.answered).clip(0, 1)
        centred = judged.raw - judged.raw.mean(axis=0)
        # Another label is as far away as another sample is.
        unit = max(float(np.sqrt((centred**2).sum(axis=1).mean())), 1e-6)
        classes = np.union1d(judged.answered, judged.labels)
        return energy_distance(
            np.hstack([guesses, unit * (judged.answered[:, None] == classes)]),
            np.hstack([judged.raw, unit * (judged.labels[:, None] == classes)]),
        )

    def of_noise(self, seed: int) -> "_Trial":
        """The same where nothing but noise of the raw shape was received."""
        random = np.random.default_rng(seed)
        sides = [
            Unpaired(
                received=random.normal(size=(len(side.answered), side.raw.shape[1])).astype(np.float32),
                answered=side.answered,
                raw=side.raw,
                labels=side.labels,
            )
            for side in (self.fitted, self.judged)
        ]
        return _Trial(fitted=sides[0], judged=sides[1])


def _chosen(trial: _Trial, *, same_shape: bool, seed: int, progress: Progress) -> Map:
    noises = [trial.of_noise(_NOISES * seed + draw) for draw in range(_NOISES)]

    def on_noise(candidate: Map) -> float:
        return _CLOSER * float(np.mean([noise.distance(candidate) for noise in noises]))

    by_label = on_noise(matching.label_transport)
    bounds: dict[Map, float] = {}
    if same_shape:
        by_value = on_noise(matching.per_value)
        bounds |= dict.fromkeys((matching.unchanged, matching.negative, matching.per_value), by_value)
        bounds |= {
            matching.transport: on_noise(matching.transport),
            matching.label_transport: by_label,
        }
    bounds |= dict.fromkeys((matching.ranked, matching.turned, matching.turned_by_means), by_label)
    progress.start("match distributions", len(bounds))
    best: Map = matching.label_means
    least = np.inf
    for done, (candidate, bound) in enumerate(bounds.items(), 1):
        distance = trial.distance(candidate)
        if distance < min(least, bound):
            best, least = candidate, distance
        progress.advance(done, candidate.__name__.replace("_", " "))
    progress.finish(best.__name__.replace("_", " "))
    return best
