"""Normalised leakage, defined once: 0 is what the label alone gives away, 1 is as good as raw data.

The scale is the attacker's own: the same attack is fitted and asked on label-only samples and on raw ones. An
attack that can do nothing even with raw samples has no scale, and gets no figure. Which attacks are run, and
which of them is the headline, is not decided here.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.auditing.bootstrap import Estimate, estimated, resampled
from obfnet.core.errors import RangeError, ShapeError

Scores = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
FEWEST: Final = 20
"""So many samples must be scored at least: of fewer, no interval says anything."""

_TAIL: Final = 0.95
_HALF: Final = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class NormalisedLeakage:
    """What one attack got out of one obfuscation, on the scale of that attack.

    Args:
        able: Whether the attack clearly beats the floor when it is given raw samples. Where it does not, its
            low score is its own weakness: the next four are None, and it must not be counted.
        mean: Sum of what it got above the floor, by the sum of what it gets from raw samples.
        p95: 95th percentile over samples of the samples' own leakage.
        share_over_half: Share of samples with a leakage of their own above 0.5, in [0, 1].
        per_sample: Leakage of each sample, `(N,)` float64, in the samples' order.
        attacked: Mean score on obfuscated samples, in the metric's unit.
        floor: Mean score on label-only samples.
        raw: Mean score on raw samples.
        gap: Mean of raw score minus floor, what `able` is judged by.
    """

    able: bool
    mean: Estimate | None
    p95: Estimate | None
    share_over_half: Estimate | None
    per_sample: Floats | None
    attacked: Estimate
    floor: Estimate
    raw: Estimate
    gap: Estimate


def stronger_floor(*floors: Scores) -> Scores:
    """The floor with the highest mean: an attack may make less of the label than the class mean does.

    Args:
        floors: Scores of guesses that know the label alone, each `(S, N)` or `(N,)`, of the same samples;
            at least one, the first wins a tie.

    Example:
        >>> stronger_floor(np.array([0.1, 0.3]), np.array([0.4, 0.1])).tolist()
        [0.4, 0.1]
    """
    return max(floors, key=lambda scores: float(scores.mean(dtype=np.float64)))


def normalised_leakage(
    attacked: Scores, floor: Scores, raw: Scores, *, seed: int, resamples: int = 1000, level: float = 0.95
) -> NormalisedLeakage:
    """Puts an attack's scores on the scale from its floor to what it gets out of raw samples.

    With scores s (attacked), f (floor) and r (raw) of the samples i, each averaged over the attack's seeds:

        mean = sum of (s_i - f_i) / sum of (r_i - f_i)
        n_i  = (s_i - f_i) / max(r_i - f_i, half of the mean of r - f)

    `p95` and `share_over_half` are taken over the n_i. The lower bound of the divisor keeps a sample on which
    raw data are of little use to the attack (r_i close to f_i) from getting an enormous figure, of either
    sign.

    Properties, each held by a test: 0 where `attacked` is `floor`; 1 where it is `raw`; the same under any
    rescaling a * score + b with a > 0; the same whatever the samples' order; never lower when a score of
    `attacked` is raised. It is not bound to [0, 1]: noise, or an obfuscation that helps an attack, may lead
    out of it.

    Args:
        attacked: Score of each guess from obfuscated samples, `(S, N)` for S seeds of the attack, or `(N,)`;
            finite, a higher score meaning that more was leaked (negate a distance).
        floor: The same attack fitted and asked on label-only samples, or the class mean (`stronger_floor`);
            `(S, N)`, or `(N,)` for all seeds.
        raw: The same attack fitted and asked on raw samples; `(S, N)`, or `(N,)` for all seeds.
        seed: Of the resampling.
        resamples: How many, ≥ 1.
        level: Of every interval, in (0, 1).

    Returns:
        The figures with bootstrap intervals over samples and seeds (`bootstrap.resampled`).

    Raises:
        ShapeError: other samples or seeds in one array than in another, or fewer than 20 samples.
        RangeError: scores that are NaN or infinite.
        UsageError: no resamples, or a level out of range.

    Does not guarantee: that no other attack gets more. A figure is a lower bound on what leaks, and its
        interval covers samples and seeds, not attacks that nobody ran. Nor is a low mean a statement about a
        single sample: see `p95`, `share_over_half` and `per_sample`.

    Example:
        >>> floor, raw = np.full(100, 0.2), np.full(100, 0.8)
        >>> leak = normalised_leakage(np.where(np.arange(100) < 10, raw, floor), floor, raw, seed=0)
        >>> round(leak.mean.value, 6), round(leak.p95.value, 6), leak.share_over_half.value
        (0.1, 1.0, 0.1)
    """
    scores = _aligned(attacked, floor, raw)
    # In an order of their own, so that sums and draws do not depend on the order in which samples came.
    order = np.lexsort([row for array in scores for row in array])
    drawn = resampled([array[:, order] for array in scores], _figures, seed=seed, resamples=resamples)
    whole = _figures(*(array[:, order][np.newaxis] for array in scores))[0]
    means = [estimated(float(whole[i]), drawn[:, i], level=level) for i in range(4)]
    gap = means[3]
    able = gap.low > 0
    figures: list[Estimate | None] = [None] * 3
    if able:
        # By the rule of ability few resamples have no gap; there the figures are not defined.
        kept = drawn[drawn[:, 3] > 0]
        figures = [estimated(float(whole[i]), kept[:, i], level=level) for i in range(4, 7)]
    s, f, r = (array.mean(axis=0) for array in scores)
    return NormalisedLeakage(
        able=able,
        mean=figures[0],
        p95=figures[1],
        share_over_half=figures[2],
        per_sample=(s - f) / np.maximum(r - f, gap.value / 2) if able else None,
        attacked=means[0],
        floor=means[1],
        raw=means[2],
        gap=gap,
    )


def _figures(attacked: Floats, floor: Floats, raw: Floats) -> Floats:
    # (B, S, N) each, to (B, 7): three mean scores, the gap, and the three figures.
    s, f, r = (array.mean(axis=1) for array in (attacked, floor, raw))
    gap = (r - f).mean(axis=1)
    # Where there is no gap there are no figures, and nobody reads these.
    divisor = np.where(gap > 0, gap, 1.0)
    per_sample = (s - f) / np.maximum(r - f, divisor[:, np.newaxis] / 2)
    columns = [
        s.mean(axis=1),
        f.mean(axis=1),
        r.mean(axis=1),
        gap,
        (s - f).mean(axis=1) / divisor,
        np.quantile(per_sample, _TAIL, axis=1),
        (per_sample > _HALF).mean(axis=1),
    ]
    return np.stack(columns, axis=1)


def _aligned(attacked: Scores, floor: Scores, raw: Scores) -> list[Floats]:
    arrays = [np.atleast_2d(np.asarray(scores, np.float64)) for scores in (attacked, floor, raw)]
    shapes = [array.shape for array in arrays]
    seeds = max(shape[0] for shape in shapes)
    if any(len(shape) != 2 or shape[0] not in {1, seeds} or shape[1] != shapes[0][1] for shape in shapes):
        raise ShapeError(
            "scores of the same samples and seeds, (S, N) or (N,)",
            ", ".join(map(str, shapes)),
            "score the three on the same samples",
        )
    if shapes[0][1] < FEWEST:
        raise ShapeError(f"at least {FEWEST} scored samples", str(shapes[0][1]), "score more samples")
    if not all(np.isfinite(array).all() for array in arrays):
        raise RangeError("finite scores", "NaN or infinity", "use a metric that is finite on a copy")
    return [np.broadcast_to(array, (seeds, array.shape[1])) for array in arrays]
