"""Retrieval without a single pair: the public sample that looks most like what was received.

The weakest attacker there is, who has only watched: if it finds anything, the obfuscated sample is still a
picture (or a spectrogram) of its raw form. What needs pairs, weights or another shape is left to others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from scipy.stats import rankdata

from obfnet.attacks.attack import Reconstruction, ReconstructionAttack, need_raw_shape
from obfnet.attacks.held_out import class_index, class_means
from obfnet.attacks.knowledge import Labels, Observed, Samples
from obfnet.attacks.principal_components import evenly, flat, principal_components
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.data.rows import AnyRows, batches, mapped, taken

_PUBLIC: Final = 20_000
_FEWEST: Final = 2_000
_STREAM: Final = 2_000
_COMPONENTS: Final = 128
# A stream whose values spread less than this tells two requests apart by rounding only.
_NOTHING: Final = 1e-5
# Share of the variance of the public class means that a believable view explains.
_FITS: Final = 0.2

View = Callable[[Samples], Samples]


@final
class Retrieval(ReconstructionAttack):
    """The nearest public sample of the answered label, as each received sample is seen in one of six views.

    As it is; with the mean and the spread that each value has in the stream brought to those of the public
    samples; and by the ranks of the values within a sample (any brightness and contrast); and the inverse of
    each. It chooses the view in which the stream's class means lie most as the public ones do, which takes no
    pair; where none fits it answers the class mean. Nearness is in 128 principal components; of very many
    public samples an evenly spaced subset is searched.

    Source: no single publication; the nearest neighbour of Fix and Hodges 1951 with public samples only.
    """

    name = "retrieval"
    threat_level = "T0"
    citation = "nearest public sample; after Fix and Hodges 1951"
    assumes = "a received sample still looks like its raw form, in the same shape, value by value"

    def fit(self, knowledge: Observed, *, seed: int, progress: Progress) -> Reconstruction:
        """Chooses the view by the stream, and prepares the public samples; nothing is random.

        Raises:
            AttackError: what is received has another shape than raw samples.
        """
        shape = tuple(knowledge.raw.shape[1:])
        if knowledge.stream is not None:
            need_raw_shape(shape, tuple(knowledge.stream.shape[1:]))
        some = evenly(len(knowledge.labels), max(_FEWEST, round(self.effort * _PUBLIC)))
        raw, labels = taken(knowledge.raw, some), knowledge.labels[some]
        classes, means = class_means(raw, labels)
        progress.start("choose a view", 1)
        candidate = _choose(raw, labels, knowledge)
        progress.finish("" if candidate is None else candidate.name)
        if candidate is None:
            return lambda received, answered: means[class_index(classes, answered)]
        view = candidate
        public = mapped(raw, view.public)
        components = principal_components(public, _COMPONENTS)
        known = components.project_all(public)
        members = {int(label): np.flatnonzero(labels == label) for label in classes}
        everyone = np.arange(len(labels))

        def reconstruct(received: Samples, answered: Labels) -> Samples:
            need_raw_shape(shape, tuple(received.shape[1:]))
            found = np.empty(len(received), np.int64)
            for label in np.unique(answered):
                among = members.get(int(label), everyone)
                for rows in np.array_split(
                    asking := np.flatnonzero(answered == label), len(asking) // 128 + 1
                ):
                    asked = components.project(view.received(flat(received[rows])))
                    squares = (known[among] ** 2).sum(axis=1) - 2 * asked @ known[among].T
                    found[rows] = among[squares.argmin(axis=1)]
            return as_unit(raw[found]).clip(0, 1)

        return reconstruct


@final
@dataclass(frozen=True, kw_only=True)
class _View:
    """How public samples and received ones are seen; both `(N, D)` float32 to the same."""

    name: str
    public: View
    received: View


def _choose(raw: AnyRows, labels: Labels, knowledge: Observed) -> _View | None:
    """The view that fits the stream best; as it is without one; None where none does."""
    plain = _View(name="as it is", public=flat, received=lambda some: some)
    if knowledge.stream is None:
        return plain
    watched = evenly(len(knowledge.stream), _STREAM)
    stream = flat(knowledge.stream[watched])
    mean, spread = stream.mean(axis=0), stream.std(axis=0)
    if spread.max() < _NOTHING:
        return None
    public_mean, public_spread = _moments(mapped(raw, flat))
    factor = np.where(spread < _NOTHING, 0, public_spread / np.maximum(spread, _NOTHING)).astype(np.float32)
    views = [
        plain,
        _View(name="inverse", public=flat, received=lambda some: 1 - some),
        _View(name="matched", public=flat, received=lambda some: (some - mean) * factor + public_mean),
        _View(
            name="inverse matched", public=flat, received=lambda some: (mean - some) * factor + public_mean
        ),
        _View(name="ranked", public=lambda some: _ranks(flat(some)), received=_ranks),
        _View(
            name="inverse ranked", public=lambda some: _ranks(flat(some)), received=lambda some: _ranks(-some)
        ),
    ]
    if knowledge.answered is None:
        return views[2]
    answered = knowledge.answered[watched]
    shared = np.intersect1d(labels, answered)
    if len(shared) < 2:
        return views[2]

    def agreement(view: _View) -> float:
        classes, public = class_means(mapped(raw, view.public), labels)
        seen = view.received(stream)
        ours = np.stack([seen[answered == label].mean(axis=0) for label in shared])
        theirs = public[class_index(classes, shared)].reshape(len(shared), -1)
        spread = float(((theirs - theirs.mean(axis=0)) ** 2).sum())
        return 1 - float(((ours - theirs) ** 2).sum()) / spread if spread > 0 else -1.0

    # Rounded: of views that fit as well the plainest is taken, which comes first.
    fits = [round(agreement(view), 2) for view in views]
    best = int(np.argmax(fits))
    return views[best] if fits[best] >= _FITS else None


def _moments(rows: AnyRows) -> tuple[Samples, Samples]:
    total = squares = np.zeros(1)
    count = 0
    for some in batches(rows):
        exact = some.astype(np.float64)
        total, squares, count = total + exact.sum(axis=0), squares + (exact**2).sum(axis=0), count + len(some)
    mean = total / count
    spread = np.sqrt((squares / count - mean**2).clip(min=0))
    return mean.astype(np.float32), spread.astype(np.float32)


def _ranks(samples: Samples) -> Samples:
    """Ranks of the values within each sample, in [0, 1]; equal values share theirs."""
    ranks: Samples = (rankdata(samples, axis=1) / samples.shape[1]).astype(np.float32)
    return ranks
