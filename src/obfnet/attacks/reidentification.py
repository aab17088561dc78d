"""Which of N raw samples is this request? How often the true one is found in a crowd.

A guess that looks poor may still point at one person's sample and no other's. The attacker holds N raw
samples, one of which was sent; it ranks them by how alike they are to its guess, or obfuscates every one and
ranks what comes out by how alike it is to what was received.
"""

from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np
import numpy.typing as npt
from scipy.stats import hypergeom

from obfnet.attacks.principal_components import evenly, flat
from obfnet.core.errors import AttackError
from obfnet.data.rows import AnyRows

CROWDS: Final = (100, 1_000)
RANKS: Final = (1, 10)
_MOST: Final = 2_000
_AT_ONCE: Final = 256
# Similarities closer than this are equal: a guess that is the same for all must not be ranked by rounding.
_EQUAL: Final = 1e-7
_NOTHING: Final = 1e-6

Similarity = Literal["cosine", "distance"]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class RankK:
    """How surely each request is found among the k best of a crowd.

    Args:
        crowd: N, the true raw sample and N-1 others.
        k: How many candidates the attacker may name, 1 ≤ k ≤ N.
        index: Which requests were asked about, `(M,)` int64.
        hits: Probability for each of them that the true one is among the k, `(M,)` float64 in [0, 1].
    """

    crowd: int
    k: int
    index: npt.NDArray[np.int64]
    hits: npt.NDArray[np.float64]

    @property
    def chance(self) -> float:
        """Share of hits of somebody who guesses: k / N."""
        return self.k / self.crowd


def rank_k(
    asked: AnyRows,
    candidates: AnyRows,
    *,
    crowds: tuple[int, ...] = CROWDS,
    ranks: tuple[int, ...] = RANKS,
    similarity: Similarity = "cosine",
) -> tuple[RankK, ...]:
    """How often the true candidate is among the k most similar of N, the others drawn at random.

    The draws are not made: over all sets of N-1 others the number that are more similar than the true one is
    hypergeometric, so that the probability of a hit is exact and the only noise left is that of the requests.
    Equally similar candidates stand in a random order.

    Args:
        asked: Guesses at the raw samples, `(M, ...)`; or what was received.
        candidates: The raw samples of these requests, row by row, `(M, ...)`; or, where `asked` is what was
            received, their obfuscated form: whoever knows O obfuscates every candidate. As many values a
            sample as `asked`; float32 in [0, 1] or uint8. The others of a crowd are drawn from these. Of more
            than 2,000 an evenly spaced subset is used, on both sides.
        crowds: N, each ≥ 2; those of more than M samples are left out.
        ranks: k, each ≥ 1; those above N are left out.
        similarity: `"cosine"` of guess and candidate, each less the mean of its kind: what all guesses have
            in common points at nobody, and a pale guess is not nearest to pale candidates only. `"distance"`:
            minus the squared distance.

    Returns:
        One for each crowd and k, crowds first.

    Raises:
        AttackError: shapes that do not go together, or fewer samples than the smallest crowd.

    Example:
        >>> faces = np.random.default_rng(0).uniform(size=(120, 5)).astype(np.float32)
        >>> [(found.crowd, found.k, float(found.hits.mean())) for found in rank_k(faces, faces)]
        [(100, 1, 1.0), (100, 10, 1.0)]

    Does not guarantee: that another similarity would not find more. Crowds mix all labels, and a guess that
        holds the label alone finds more than k / N: compare with the class mean's hits, not with chance.

    Source: Phillips et al. 2000, *The FERET evaluation methodology for face-recognition algorithms* (rank-k,
        the cumulative match characteristic).
    """
    if len(asked) != len(candidates) or np.prod(asked.shape[1:]) != np.prod(candidates.shape[1:]):
        raise AttackError(
            f"a candidate like each request of shape {tuple(asked.shape)}",
            str(tuple(candidates.shape)),
            "give the candidates of these requests, in their order",
        )
    fitting = [crowd for crowd in crowds if 2 <= crowd <= min(len(asked), _MOST)]
    if not fitting:
        raise AttackError(f"at least {min(crowds)} samples", str(len(asked)), "score more samples")
    index = evenly(len(asked), _MOST)
    better, equal = _standing(asked, candidates, index, similarity)
    results = []
    others = len(index) - 1
    for crowd in fitting:
        for k in ranks:
            if not 1 <= k <= crowd:
                continue
            # Probability of a hit for each number of others that stand before the true one.
            sure = hypergeom.cdf(k - 1, others, np.arange(others + 1), crowd - 1)
            sums = np.concatenate([[0.0], np.cumsum(sure)])
            hits = (sums[better + equal + 1] - sums[better]) / (equal + 1)
            results.append(RankK(crowd=crowd, k=k, index=index, hits=hits.clip(0, 1)))
    return tuple(results)


def _standing(
    asked: AnyRows, candidates: AnyRows, index: npt.NDArray[np.int64], similarity: Similarity
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each request, how many others are more similar than the true candidate, and how many equally."""
    crowd = flat(candidates[index])
    if similarity == "cosine":
        guess_mean = _mean(asked, index)
        crowd = _directions(crowd - crowd.mean(axis=0, dtype=np.float64).astype(np.float32))
    squares = (crowd.astype(np.float64) ** 2).sum(axis=1)
    better, equal = np.empty(len(index), np.int64), np.empty(len(index), np.int64)
    for start in range(0, len(index), _AT_ONCE):
        some = flat(asked[index[start : start + _AT_ONCE]])
        if similarity == "cosine":
            values = (_directions(some - guess_mean) @ crowd.T).astype(np.float64)
        else:
            values = 2 * (some @ crowd.T).astype(np.float64) - squares
        true = values[np.arange(len(some)), start + np.arange(len(some))]
        near = _EQUAL * max(1.0, float(np.abs(values).max()))
        above = values - true[:, None]
        better[start : start + len(some)] = (above > near).sum(axis=1)
        equal[start : start + len(some)] = (np.abs(above) <= near).sum(axis=1) - 1
    return better, equal


def _mean(rows: AnyRows, index: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    total = np.zeros(int(np.prod(rows.shape[1:])))
    for start in range(0, len(index), _AT_ONCE):
        total += flat(rows[index[start : start + _AT_ONCE]]).sum(axis=0, dtype=np.float64)
    return (total / len(index)).astype(np.float32)


def _directions(centred: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rows of length 1; a row that is nothing but rounding becomes 0, and so equally similar to everybody."""
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    nothing = lengths <= _NOTHING * np.sqrt(centred.shape[1])
    return np.where(nothing, 0, centred / np.where(nothing, 1, lengths)).astype(np.float32)
