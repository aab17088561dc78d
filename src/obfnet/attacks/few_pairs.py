"""The attack of someone who holds a handful of pairs of a device, and public samples of the same kind.

Everything is measured from the answered label's mean sample: with too few pairs to tell anything the attack
answers with that mean. It trains no network, since some pairs are too few for one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from obfnet.attacks.attack import Reconstruction, ReconstructionAttack
from obfnet.attacks.dual_ridge import DualRidge, DualRidges, Kernel, Matrix
from obfnet.attacks.held_out import class_index, class_means, likeness
from obfnet.attacks.knowledge import Insider, Labels, Samples
from obfnet.attacks.local_map import LocalMap
from obfnet.attacks.principal_components import PrincipalComponents, evenly, flat, principal_components
from obfnet.core.errors import AttackError
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.data.rows import Rows, batches, taken

_COMPONENTS: Final = 200
_MOST_PAIRS: Final = 2_000
_COMPARED: Final = 300
# So many values of others' requests are looked at, at most.
_STREAM_SAMPLES: Final = 2_000
_STREAM_VALUES: Final = 16_000_000
# A label's mean request counts as much as so many samples of it say.
_DOUBT: Final = 5.0
_FLOOR: Final = 0.05
_WIDTHS: Final = (0.5, 1.0)
# Of SSIM: what a guess must gain at least over the mean, and where no spread of the gain is known.
_LEAST_GAIN: Final = 0.01
_GAIN_OF_FEW: Final = 0.05
_FEW: Final = 5

Guess = Callable[[Samples, Labels], Samples]


@final
class FewPairs(ReconstructionAttack):
    """Ridge regression from few pairs to the principal components of public samples.

    Tried are a linear and a Gaussian kernel, on requests measured from the mean of all or from the mean of
    their answered label, and a map of 3x3 neighbourhoods where received and raw samples have the same shape.
    Strength and kind are chosen by leaving out one pair at a time; where nothing is clearly better than the
    answered label's mean sample (by two standard errors), that mean is the guess.

    Only `pairs` of the known pairs are used as such, a random choice in which fewer are part of more; the
    other raw samples count as public ones without a partner. Of more than 2,000 pairs 2,000 are used. The
    requests of others, where they are known, tell how requests are spread. It has a closed form: `effort`
    changes nothing.

    Args:
        effort: Of no effect.
        pairs: How many pairs are known, ≥ 1.

    Raises:
        AttackError: no pair.

    Source: Hoerl and Kennard 1970, *Ridge regression: biased estimation for nonorthogonal problems*
        (Technometrics); Turk and Pentland 1991, *Eigenfaces for recognition* (the components). Their
        combination here is ours.
    """

    name = "few-pairs"
    threat_level = "T3"
    citation = (
        "Hoerl and Kennard 1970, Ridge regression (Technometrics), "
        "onto the eigenfaces of Turk and Pentland 1991"
    )
    assumes = "some recorded pairs of this device, and public samples of the same kind with their labels"

    def __init__(self, *, effort: float = 1.0, pairs: int = 1_000) -> None:
        super().__init__(effort=effort)
        if pairs < 1:
            raise AttackError("at least 1 pair", str(pairs), "give more")
        self.pairs = pairs

    def fit(self, knowledge: Insider, *, seed: int, progress: Progress) -> Reconstruction:
        """Fits every kind of guess on the pairs, and keeps the best that beats the mean sample."""
        count = len(knowledge.labels)
        # RandomState's streams are frozen for good; fewer pairs are the first of more.
        order = np.random.RandomState(seed).permutation(count)
        chosen, rest = order[: min(self.pairs, _MOST_PAIRS)], np.sort(order[self.pairs :])
        public = rest if len(rest) >= count // 2 else np.arange(count)
        raw, labels = taken(knowledge.raw, public), knowledge.labels[public]
        classes, means = class_means(raw, labels)

        def base(answered: Labels) -> Samples:
            return means[class_index(classes, answered)]

        residuals = Rows(
            lambda index: as_unit(raw[index]) - base(labels[index]),
            (len(public), *means.shape[1:]),
            np.float32,
        )
        pairs = _Pairs(
            received=as_unit(knowledge.received[chosen]),
            raw=as_unit(knowledge.raw[chosen]),
            labels=knowledge.labels[chosen],
        )
        components = principal_components(residuals, _COMPONENTS)
        views = [_View(pairs, knowledge, by_label=by_label) for by_label in (False, True)]
        ways = _ways(pairs, views)
        progress.start("fit few pairs", len(ways))
        # The kind of guess is chosen on some hundred pairs, and fitted again on all of them.
        some = pairs.first(_COMPARED)
        best, gain = None, 0.0
        floor = _floor(some, base)
        for done, way in enumerate(ways):
            gains = likeness(some.raw, way.fit(some, base, components)[1].clip(0, 1)) - floor
            if gains.mean() > max(gain, _doubt(gains)):
                best, gain = way, float(gains.mean())
            progress.advance(done + 1, f"gain {gain:.3f}")
        guess = (_Way() if best is None else best).fit(pairs, base, components)[0]
        progress.finish()

        def reconstruct(received: Samples, answered: Labels) -> Samples:
            made = np.empty((len(received), *means.shape[1:]), np.float32)
            for rows in batches(np.arange(len(received))):
                made[rows] = guess(as_unit(received[rows]), answered[rows]).clip(0, 1)
            return made

        return reconstruct


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Pairs:
    received: Samples
    raw: Samples
    labels: Labels

    def first(self, count: int) -> "_Pairs":
        return _Pairs(received=self.received[:count], raw=self.raw[:count], labels=self.labels[:count])


@final
class _View:
    """Requests on one scale, as a regression sees them: from the mean of all, or of their answered label."""

    def __init__(self, pairs: _Pairs, knowledge: Insider, *, by_label: bool) -> None:
        seen, labels = flat(pairs.received), pairs.labels
        if knowledge.stream is not None and knowledge.answered is not None and len(knowledge.stream) > 0:
            most = min(_STREAM_SAMPLES, max(1, _STREAM_VALUES // seen.shape[1]))
            some = evenly(len(knowledge.stream), most)
            seen = np.concatenate([seen, flat(knowledge.stream[some])])
            labels = np.concatenate([labels, knowledge.answered[some]])
        overall = seen.mean(axis=0)
        self._classes, self._means = np.empty(0, np.int64), overall[None]
        if by_label:
            self._classes, index = np.unique(labels, return_inverse=True)
            counts = np.bincount(index)[:, None]
            sums = np.zeros((len(self._classes), seen.shape[1]), np.float64)
            np.add.at(sums, index, seen)
            means = (sums + _DOUBT * overall) / (counts + _DOUBT)
            self._means = np.concatenate([means, overall[None]]).astype(np.float32)
        self._scale = seen.std(axis=0) + _FLOOR

    def __call__(self, received: Samples, answered: Labels) -> Samples:
        rows = class_index(self._classes, answered) if len(self._classes) else np.zeros(len(answered), int)
        viewed: Samples = (flat(received) - self._means[rows]) / self._scale
        return viewed


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Way:
    """A way of guessing: the label's mean, then a local map where `local`, then a regression of `view`."""

    local: bool = False
    view: _View | None = None
    kernel: Kernel | None = None

    def fit(
        self, pairs: _Pairs, base: Callable[[Labels], Samples], components: PrincipalComponents
    ) -> tuple[Guess, Samples]:
        """The guess, and what it says of each pair when fitted without it."""
        known = base(pairs.labels)
        near: LocalMap | None = None
        if self.local:
            near, known = LocalMap.fit(pairs.received, known, pairs.raw)
        ridge: DualRidge | None = None
        if self.view is not None and self.kernel is not None:
            targets = (flat(pairs.raw - known) @ components.axes).astype(np.float64)
            inputs = self.view(pairs.received, pairs.labels)
            ridge = DualRidges(self.kernel, inputs).fit(targets)
            known = known + _samples(ridge.left_out, components, known.shape)
        view = self.view

        def guess(received: Samples, answered: Labels) -> Samples:
            made = base(answered)
            if near is not None:
                made = near(received, made)
            if ridge is not None and view is not None:
                made = made + _samples(ridge(view(received, answered)), components, made.shape)
            return made

        return guess, known


def _ways(pairs: _Pairs, views: list[_View]) -> list[_Way]:
    """What is tried, the simplest first."""
    alike = pairs.received.shape == pairs.raw.shape and pairs.raw.ndim == 4
    starts = (False, True) if alike else (False,)
    ways = [_Way(local=True)] if alike else []
    if len(pairs.labels) < 2:
        return ways
    for view in views:
        inputs = view(pairs.received, pairs.labels)
        typical = float(np.sqrt(2 * (inputs.astype(np.float64) ** 2).sum(axis=1).mean()))
        kernels = [Kernel(), *(Kernel(width=width * typical) for width in _WIDTHS if typical > 0)]
        ways += [_Way(local=local, view=view, kernel=kernel) for local in starts for kernel in kernels]
    return ways


def _samples(coordinates: Matrix, components: PrincipalComponents, shape: tuple[int, ...]) -> Samples:
    made: Samples = (coordinates @ components.axes.T).astype(np.float32).reshape(shape)
    return made


def _floor(pairs: _Pairs, base: Callable[[Labels], Samples]) -> npt.NDArray[np.float64]:
    """What a guess must beat: the mean, or the mean with its contrast changed, which needs no request."""
    mean = base(pairs.labels)
    plain = likeness(pairs.raw, mean)
    if pairs.raw.ndim != 4:
        return plain
    changed = LocalMap.fit(np.zeros_like(mean), mean, pairs.raw)[1]
    alone = likeness(pairs.raw, changed.clip(0, 1))
    return alone if alone.mean() > plain.mean() else plain


def _doubt(gains: npt.NDArray[np.float64]) -> float:
    """What the mean gain must exceed to be believed."""
    if len(gains) < _FEW:
        return _GAIN_OF_FEW
    return max(_LEAST_GAIN, 2 * float(gains.std(ddof=1) / np.sqrt(len(gains))))
