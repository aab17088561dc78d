"""Do two requests come from the same raw sample, or from the same speaker? Neither need be rebuilt for that.

Whoever can link requests follows a person through a stream that was said to be anonymous. Pairs are scored by
how alike they are as received, and by whether a recogniser of the attribute says the same of both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from obfnet.attacks.attack import Recognition
from obfnet.attacks.knowledge import Labels, Samples
from obfnet.attacks.principal_components import principal_components
from obfnet.core.errors import AttackError
from obfnet.data.rows import AnyRows

_COMPONENTS: Final = 64
_AT_ONCE: Final = 256
_NOTHING: Final = 1e-5

Scores = npt.NDArray[np.float64]
Score = Callable[[Samples, Samples], Scores]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Pairs of requests, half of which belong together.

    Args:
        first: Index of one request of each pair, `(P,)` int64.
        second: Index of the other, `(P,)` int64.
        same: Whether they belong together, `(P,)` bool.
    """

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    same: npt.NDArray[np.bool_]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Linkability:
    """How well pairs are told apart, by each way of telling.

    Args:
        pairs: What was scored; a bootstrap draws from these, or better from the requests behind them.
        scores: Way of telling (`similarity`, `recognition`) to a score a pair, `(P,)`, higher for the same.
    """

    pairs: Pairs
    scores: dict[str, Scores]

    def auc(self, way: str) -> float:
        """Area under the ROC curve of one way of telling: 0.5 is chance, 1 tells every pair."""
        return auc(self.scores[way], self.pairs.same)


def same_sample_pairs(samples: int, *, count: int, seed: int) -> Pairs:
    """Pairs of a request and another sending, of the same raw sample or of another one.

    Args:
        samples: How many raw samples were sent twice, ≥ 2.
        count: How many pairs of each kind, ≥ 1; of the same sample there are at most `samples`.
        seed: Of the draws.

    Returns:
        `first` points into the first sendings, `second` into the second ones.

    Raises:
        AttackError: fewer than two samples.

    Example:
        >>> pairs = same_sample_pairs(5, count=3, seed=0)
        >>> pairs.same.tolist(), bool(((pairs.first == pairs.second) == pairs.same).all())
        ([True, True, True, False, False, False], True)
    """
    if samples < 2:
        raise AttackError("at least two samples that were sent twice", str(samples), "record more")
    random = np.random.RandomState(seed)
    count = min(count, samples)
    chosen, others = random.permutation(samples)[:count], random.permutation(samples)[:count]
    # Any sample but the same one, all equally likely.
    apart = (others + random.randint(1, samples, count)) % samples
    return _pairs((chosen, chosen), (others, apart))


def same_value_pairs(values: Labels, *, count: int, seed: int) -> Pairs:
    """Pairs of different requests whose attribute is the same, or is not.

    Args:
        values: The attribute's value of each request, `(M,)` int64.
        count: How many pairs of each kind, ≥ 1; drawn with replacement, and both kinds begin alike.
        seed: Of the draws.

    Raises:
        AttackError: no value that occurs twice, or one value only.

    Example:
        >>> values = np.array([0, 0, 1, 1, 2])
        >>> pairs = same_value_pairs(values, count=50, seed=0)
        >>> bool(((values[pairs.first] == values[pairs.second]) == pairs.same).all())
        True
    """
    order = np.argsort(values, kind="stable")
    _, start, index, sizes = np.unique(
        values[order], return_index=True, return_inverse=True, return_counts=True
    )
    # Positions in the order by value: those of one value lie side by side.
    able = np.flatnonzero(sizes[index] >= 2)
    if len(sizes) < 2 or not len(able):
        raise AttackError(
            "two values of the attribute, one of them in two requests", f"{len(sizes)} values", "record more"
        )
    random = np.random.RandomState(seed)
    one = able[random.randint(0, len(able), count)]
    begin, size = start[index[one]], sizes[index[one]]
    within = begin + (one - begin + 1 + random.randint(0, size - 1)) % size
    outside = (begin + size + random.randint(0, len(values) - size)) % len(values)
    return _pairs((order[one], order[within]), (order[one], order[outside]))


def linkability(
    known: AnyRows,
    first: AnyRows,
    second: AnyRows,
    pairs: Pairs,
    *,
    recognise: Recognition | None = None,
) -> Linkability:
    """Scores pairs of requests by how surely they belong together.

    Args:
        known: The attacker's own samples as received, `(N, ...)` float32 in [0, 1] or uint8: the scale of
            each direction is taken from them and never from the requests.
        first: Requests that `pairs.first` points into, `(M, ...)`.
        second: Requests that `pairs.second` points into; the same again for links by attribute.
        pairs: Which requests to compare.
        recognise: A fitted recogniser of the attribute, or None.

    Returns:
        `similarity`: cosine in 64 whitened principal components; and with a recogniser `recognition`: the
        probability, by its scores, that both have the same value.

    Source: Dehak et al. 2011, *Front-end factor analysis for speaker verification* (IEEE Transactions on
        Audio, Speech, and Language Processing): cosine scoring in a whitened space, there of speakers.

    Does not guarantee: that a better attacker would not link more.
    """
    components = principal_components(known, _COMPONENTS)

    def likeness(one: Samples, other: Samples) -> Scores:
        a, b = (_directions(components.project(part, whiten=True)) for part in (one, other))
        return np.asarray((a * b).sum(axis=1))

    scores = {"similarity": _scored(likeness, first, second, pairs)}
    if recognise is not None:
        told = recognise

        def agreement(one: Samples, other: Samples) -> Scores:
            return np.asarray((_probabilities(told(one)) * _probabilities(told(other))).sum(axis=1))

        scores["recognition"] = _scored(agreement, first, second, pairs)
    return Linkability(pairs=pairs, scores=scores)


def auc(scores: Scores, same: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve; equal scores count half.

    Args:
        scores: `(P,)`, higher for pairs that belong together.
        same: `(P,)`, with at least one of either kind.

    Raises:
        AttackError: pairs of one kind only.

    Example:
        >>> auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, True, False, True]))
        0.875

    Source: Hanley and McNeil 1982, *The meaning and use of the area under a receiver operating characteristic
        (ROC) curve* (Radiology): the probability that a pair of one kind scores above one of the other.
    """
    positive = int(same.sum())
    negative = len(same) - positive
    if not positive or not negative:
        raise AttackError("pairs of either kind", f"{positive} and {negative}", "draw more pairs")
    ranks = rankdata(scores)[same].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * negative))


def _pairs(
    together: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    apart: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
) -> Pairs:
    return Pairs(
        first=np.concatenate([together[0], apart[0]]).astype(np.int64),
        second=np.concatenate([together[1], apart[1]]).astype(np.int64),
        same=np.repeat([True, False], [len(together[0]), len(apart[0])]),
    )


def _scored(score: Score, first: AnyRows, second: AnyRows, pairs: Pairs) -> Scores:
    parts = []
    for start in range(0, len(pairs.same), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        parts.append(score(first[pairs.first[part]], second[pairs.second[part]]))
    return np.concatenate(parts)


def _directions(coordinates: Samples) -> Scores:
    exact = coordinates.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    # What lies at the mean points nowhere.
    return np.where(lengths > _NOTHING, exact / np.maximum(lengths, _NOTHING), 0)


def _probabilities(scores: Scores) -> Scores:
    if scores.min() >= 0 and np.allclose(scores.sum(axis=1), 1, atol=1e-3):
        return scores
    exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))
