"""White-box inversion: searches the input that the known network maps to what was received.

It needs no training of its own, only the network's gradient, and it is the attack that finds what a trained
decoder is too small to learn. A prior from the attacker's own samples says which of the possible inputs is
likely; how much it is believed is chosen on pairs that were held out.
"""

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import torch
from torch import Tensor

from obfnet.attacks.attack import Reconstruction, ReconstructionAttack
from obfnet.attacks.class_gaussian import ClassGaussian
from obfnet.attacks.held_out import likeness, own_parts
from obfnet.attacks.knowledge import Labels, Samples, WhiteBox
from obfnet.attacks.principal_components import evenly, flat
from obfnet.attacks.ridge import Ridge
from obfnet.attacks.straight_through import straight_through
from obfnet.core.errors import AttackError
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.data.rows import taken
from obfnet.metrics.similarity import mse

_STEPS: Final = 250
_FEWEST_STEPS: Final = 5
_LARGE: Final = 1_024
_RATE: Final = 0.1
_COMPONENTS: Final = 300
_FEWEST_AT_ONCE, _MOST_AT_ONCE = 16, 250
_VALUES_AT_ONCE: Final = 1_000_000
_MOST_HELD, _FEWEST_HELD = 48, 16
_HELD_VALUES: Final = 50_000
_FEWEST: Final = 20
_SUBSET: Final = 1_000
# Shares of the received values' variance that the search may leave unexplained.
_NOISES: Final = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_SMOOTHNESS: Final = 0.05
_CONTRASTS: Final = (0.0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.24, 0.28, 0.32, 0.36, 0.4)
_SMALLEST_SCALE: Final = 1e-12


@final
@dataclass(frozen=True, kw_only=True)
class _Belief:
    noise: float
    smoothness: float
    contrast: float = 0.0

    def sharpened(self, guesses: Samples) -> Samples:
        # The mean of many likely samples is grey where each of them is black or white.
        steeper: Samples = np.clip((guesses - self.contrast) / (1 - 2 * self.contrast), 0, 1)
        return steeper


@final
class Inversion(ReconstructionAttack):
    """Gradient descent on the input, with a Gaussian prior per answered label and total variation.

    The input is a mean of its label, plus whitened principal components, plus a small rest per value. It
    starts at the label's mean and at the guess of `ridge`, and goes on from the better of the two. The
    prior's covariances come of some thousands of the attacker's samples, evenly spaced.

    Args:
        effort: Share of the standard number of steps: 250, and fewer where a sample has over 1,024 values.

    Source: Fredrikson, Jha and Ristenpart 2015, *Model inversion attacks that exploit confidence
        information and basic countermeasures* (CCS); He, Zhang and Lee 2019, *Model inversion attacks
        against collaborative inference* (ACSAC), the white-box setting with total variation; Athalye,
        Carlini and Wagner 2018, *Obfuscated gradients give a false sense of security*, for networks
        without a gradient.
    Differs from paper: a Gaussian prior per label where they have none; both weights, and a contrast for
        the guesses, are chosen on pairs that were held out.

    Does not guarantee: that no better input exists. Descent may end in a local minimum.
    """

    name = "inversion"
    threat_level = "T2"
    assumes = (
        "the weights of the device's network, and that its output moves smoothly, or in steps, with its input"
    )
    citation = "He, Zhang and Lee 2019, Model inversion attacks against collaborative inference (ACSAC)"

    def fit(self, knowledge: WhiteBox, *, seed: int, progress: Progress) -> Reconstruction:
        """Takes the prior, and chooses how far to believe it.

        Raises:
            AttackError: the network is not known, or fewer than 20 pairs are.
        """
        if knowledge.network is None:
            raise AttackError("the obfuscation network itself", "pairs only", "use an attack on pairs")
        if len(knowledge.labels) < _FEWEST:
            raise AttackError(f"at least {_FEWEST} pairs", str(len(knowledge.labels)), "record more")
        raw_shape = tuple(knowledge.raw.shape[1:])
        values = int(np.prod(raw_shape))
        kept, held = own_parts(knowledge.labels, values=values, seed=seed)
        held = held[evenly(len(held), min(_MOST_HELD, max(_FEWEST_HELD, _HELD_VALUES // values)))]
        raw, received = taken(knowledge.raw, kept), taken(knowledge.received, kept)
        labels = knowledge.labels[kept]
        start = Ridge(effort=self.effort).fit(
            WhiteBox(raw=raw, received=received, labels=labels), seed=seed, progress=progress
        )
        some = flat(received[evenly(len(kept), _SUBSET)])
        search = _Search(
            network=knowledge.network.differentiable().eval().requires_grad_(False),
            prior=ClassGaussian(raw, labels, _COMPONENTS),
            start=start,
            raw_shape=raw_shape,
            scale=max(float(some.var(axis=0).sum()), _SMALLEST_SCALE * some.shape[1]),
            roughness=_roughness(torch.from_numpy(as_unit(raw[evenly(len(kept), _SUBSET)]))),
            # Large samples take fewer steps, or the search would cost as the square of their side.
            steps=max(_FEWEST_STEPS, round(_STEPS * self.effort * min(1, (_LARGE / values) ** 0.5))),
        )
        belief = _chosen(
            search,
            as_unit(knowledge.received[held]),
            knowledge.labels[held],
            as_unit(knowledge.raw[held]),
            progress,
        )

        size = max(_FEWEST_AT_ONCE, min(_MOST_AT_ONCE, _VALUES_AT_ONCE // values))

        def reconstruct(samples: Samples, answered: Labels) -> Samples:
            parts = [
                belief.sharpened(
                    search.run(as_unit(samples[at : at + size]), answered[at : at + size], belief)
                )
                for at in range(0, len(samples), size)
            ]
            return np.concatenate(parts) if parts else np.empty((0, *raw_shape), np.float32)

        return reconstruct


def _chosen(
    search: "_Search", received: Samples, labels: Labels, raw: Samples, progress: Progress
) -> _Belief:
    means = search.prior.means[search.prior.rows(labels)].numpy().reshape(raw.shape)
    unknown = max(float(mse(raw, means).mean()), 1e-12)
    tried: list[tuple[float, _Belief]] = []

    def attempt(noise: float, smoothness: float) -> None:
        guess = search.run(received, labels, _Belief(noise=noise, smoothness=smoothness))
        # No more contrast than was found out: a label's mean made steeper would pass for knowledge.
        known = max(0.0, 1 - float(mse(raw, guess).mean()) / unknown)
        for contrast in _CONTRASTS:
            belief = _Belief(noise=noise, smoothness=smoothness, contrast=known * contrast)
            tried.append((float(likeness(raw, belief.sharpened(guess)).mean()), belief))

    def best() -> tuple[float, _Belief]:
        return max(tried, key=lambda one: one[0])

    progress.start("choose how far to believe the prior", len(_NOISES) + 1)
    for done, noise in enumerate(_NOISES, 1):
        attempt(noise, 0.0)
        progress.advance(done, f"likeness {best()[0]:.4f}")
    if search.roughness > 0:
        attempt(best()[1].noise, _SMOOTHNESS)
    score, belief = best()
    progress.finish(
        f"noise {belief.noise:g}, smoothness {belief.smoothness:g}, contrast {belief.contrast:.2f}, "
        f"likeness {score:.4f}"
    )
    return belief


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Search:
    network: Any
    prior: ClassGaussian
    start: Reconstruction
    raw_shape: tuple[int, ...]
    scale: float
    roughness: float
    steps: int

    def run(self, received: Samples, labels: Labels, belief: _Belief) -> Samples:
        rows = self.prior.rows(labels)
        # Those of one label lie side by side: one matrix product a label.
        order = np.argsort(rows, kind="stable")
        found, counts = np.unique(rows, return_counts=True)
        batch = _Batch(
            search=self,
            received=torch.from_numpy(received[order]),
            guess=torch.from_numpy(self.start(received[order], labels[order])).flatten(1),
            rows=torch.from_numpy(rows[order]),
            counts=dict(zip(found.tolist(), counts.tolist(), strict=True)),
            belief=belief,
        )
        guesses = np.empty((len(received), *self.raw_shape), np.float32)
        guesses[order] = batch.solved().reshape(guesses.shape).numpy()
        return guesses


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Batch:
    search: _Search
    received: Tensor
    guess: Tensor
    rows: Tensor
    counts: dict[int, int]
    belief: _Belief

    def solved(self) -> Tensor:
        prior = self.search.prior
        regressed = prior.whitened(self.guess, self.counts)
        starts = [torch.zeros_like(regressed), regressed]
        first = max(1, self.search.steps // 5)
        tried = [self._descended(start, self._no_rest(), first) for start in starts]
        # The plain starts stay in: a gradient that misleads must not make a guess worse.
        tried += [(start, self._no_rest(), self._judged(start, self._no_rest())) for start in starts]
        inner, rest, _ = _best(tried)
        tried.append(self._descended(inner, rest, self.search.steps - first))
        inner, rest, _ = _best(tried)
        with torch.no_grad():
            return self._sample(inner, rest)

    def _no_rest(self) -> Tensor:
        return torch.zeros(len(self.received), self.search.prior.residual.shape[0])

    def _descended(self, inner: Tensor, rest: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        inner, rest = inner.clone().requires_grad_(), rest.clone().requires_grad_()
        optimiser = torch.optim.Adam([inner, rest], lr=_RATE)
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = _RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
            optimiser.zero_grad()
            # The network is not known to treat samples apart, but they share no loss.
            self._objective(inner, rest).sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        inner, rest = inner.detach(), rest.detach()
        return inner, rest, self._judged(inner, rest)

    @torch.no_grad()
    def _judged(self, inner: Tensor, rest: Tensor) -> Tensor:
        return self._objective(inner, rest)

    def _sample(self, inner: Tensor, rest: Tensor) -> Tensor:
        prior = self.search.prior
        sample = prior.means[self.rows] + prior.around(inner, self.counts) + rest * prior.residual
        # Where it leaves the range it is cut, yet finds its way back.
        return straight_through(sample.clamp(0, 1), sample)

    def _objective(self, inner: Tensor, rest: Tensor) -> Tensor:
        sample = self._sample(inner, rest).reshape(-1, *self.search.raw_shape)
        got = self.search.network(sample)
        if got.shape != self.received.shape:
            raise AttackError(
                f"received samples of the network's own shape {tuple(got.shape[1:])}",
                str(tuple(self.received.shape[1:])),
                "give the network that made them",
            )
        error: Tensor = (got - self.received).square().flatten(1).sum(1) / self.search.scale
        total = error * self.received[0].numel() / (2 * self.belief.noise)
        total = total + 0.5 * inner.square().sum(1) + 0.5 * rest.square().sum(1)
        if self.belief.smoothness > 0:
            total = total + self.belief.smoothness / self.search.roughness * _variation(sample)
        return total


def _best(tried: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    inners, rests, objectives = (torch.stack(part) for part in zip(*tried, strict=True))
    # NaN must not win.
    best = objectives.nan_to_num(float("inf")).argmin(0)
    samples = torch.arange(len(best))
    return inners[best, samples], rests[best, samples], objectives[best, samples]


def _variation(samples: Tensor) -> Tensor:
    across, down = samples.diff(dim=-1), samples.diff(dim=-2)
    return sum(
        ((part.square() + 1e-6).sqrt().flatten(1).sum(1) for part in (across, down)),
        torch.zeros(len(samples)),
    )


def _roughness(samples: Tensor) -> float:
    # Mean step between neighbours: the scale of a Laplacian prior on steps. None where there are no pictures.
    if samples.ndim != 4 or min(samples.shape[2:]) < 2:
        return 0.0
    steps = samples[0].diff(dim=-1).numel() + samples[0].diff(dim=-2).numel()
    return float(_variation(samples).mean()) / steps
