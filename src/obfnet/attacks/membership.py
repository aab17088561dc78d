"""Was a given raw sample among those that an obfuscation network was trained on?

A bundle is handed out, so whoever holds it may ask. The attacker has O and samples of its own, not I, and
looks at how O behaves on the sample; no shadow networks are trained.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import rankdata
from torch import nn
from torch.nn import functional

from obfnet.attacks.knowledge import Labels, Obfuscator, Samples
from obfnet.attacks.substitute import scores_of
from obfnet.core.errors import AttackError
from obfnet.core.interval import Z95
from obfnet.core.spec import as_unit
from obfnet.data.rows import AnyRows, batches
from obfnet.data.table import Split

_FEWEST: Final = 20
_NUDGE: Final = 0.05
_MOST_PUBLIC: Final = 5_000
Statistic = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Membership:
    """How well members are told from non-members.

    Args:
        auc: Area under the ROC curve on the scored half; 0.5 is chance, less a wrong choice of the attack.
        interval: 95 % interval of `auc`, by Hanley and McNeil.
        statistic: What the attacker chose to look at, on the half that it was told the truth of.
        members: How many members were scored.
        non_members: How many others.
    """

    auc: float
    interval: tuple[float, float]
    statistic: str
    members: int
    non_members: int


def infer_membership(
    pool: Sequence[Obfuscator],
    *,
    public: Split,
    members: Split,
    non_members: Split,
    substitute: nn.Module | None,
    seed: int,
) -> Membership:
    """Tells O's training samples from others by a threshold on O's behaviour.

    Statistics of a sample, each a mean over the pool's networks: the substitute's loss on O(x), the distance
    of O(x) to the centre of its class, that distance against the nearest other centre, how far O moves the
    sample, and how much O(x) changes when x is nudged. Of half of the members and non-members the attacker
    knows which they are: there it chooses the statistic and its direction. The other half is scored.

    Args:
        pool: Networks that were trained on the same samples.
        public: The attacker's own samples, which give the centres; none of the candidates among them. At
            most 5,000, evenly spaced, are used.
        members: Samples that O was trained on, with their labels.
        non_members: Samples of the same kind that nobody trained on.
        substitute: A network for the loss, trained without any of the candidates; None leaves that out.
        seed: Of the halves and the nudge.

    Returns:
        The figure on the scored half.

    Raises:
        AttackError: no network, or too few samples.

    Source: Yeom et al. 2018, *Privacy Risk in Machine Learning* (threshold on the loss); Salem et al. 2019,
        *ML-Leaks* (the attack without shadow models); Hanley and McNeil 1982, *The meaning and use of the
        area under a receiver operating characteristic curve* (the interval).
    Differs from paper: the attacked network gives no classes, so that the loss is a substitute's.

    Does not guarantee: that shadow networks or many queries would not tell more; where members and
        non-members differ in kind, it tells the kinds apart (`UNCHANGED` as the pool shows how well).
    """
    if not pool:
        raise AttackError("at least one obfuscation network", "none", "leave membership out")
    if min(len(members.labels), len(non_members.labels)) < _FEWEST:
        raise AttackError(
            f"at least {_FEWEST} members and as many non-members",
            f"{len(members.labels)} and {len(non_members.labels)}",
            "give more of both",
        )
    public = public.take(np.arange(0, len(public.labels), -(-len(public.labels) // _MOST_PUBLIC)))
    parts = []
    for candidates in (members, non_members):
        each = [
            _statistics(network, public, candidates, substitute=substitute, seed=seed) for network in pool
        ]
        parts.append({name: np.mean([one[name] for one in each], axis=0) for name in each[0]})
    halves = [_halves(len(part.labels), seed) for part in (members, non_members)]
    told, scored = (
        [{name: value[half] for name, value in part.items()} for part, half in zip(parts, some, strict=True)]
        for some in zip(*halves, strict=True)
    )
    statistic, direction = _choice(*told)
    inside, outside = (direction * part[statistic] for part in scored)
    auc = area_under_curve(inside, outside)
    return Membership(
        auc=auc,
        interval=_interval(auc, len(inside), len(outside)),
        statistic=statistic,
        members=len(inside),
        non_members=len(outside),
    )


def area_under_curve(inside: Statistic, outside: Statistic) -> float:
    """Chance that a member's value is above a non-member's, ties counting half.

    Args:
        inside: Values of members, `(M,)`.
        outside: Values of non-members, `(N,)`.

    Example:
        >>> area_under_curve(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
        0.875
    """
    ranks = rankdata(np.concatenate([inside, outside]))[: len(inside)]
    below = float(ranks.sum()) - len(inside) * (len(inside) + 1) / 2
    return below / (len(inside) * len(outside))


class _Unchanged:
    def obfuscate(self, raw: Samples) -> Samples:
        return raw

    def differentiable(self) -> nn.Module:
        return nn.Identity()


UNCHANGED: Final[Obfuscator] = _Unchanged()
"""The control: what is told by the samples themselves, whatever O was trained on."""


def _halves(count: int, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    order = np.random.default_rng(seed).permutation(count)
    return order[: count // 2], order[count // 2 :]


def _choice(inside: dict[str, Statistic], outside: dict[str, Statistic]) -> tuple[str, int]:
    areas = {name: area_under_curve(inside[name], outside[name]) for name in inside}
    best = max(areas, key=lambda name: abs(areas[name] - 0.5))
    return best, 1 if areas[best] >= 0.5 else -1


def _interval(auc: float, members: int, others: int) -> tuple[float, float]:
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (auc * (1 - auc) + (members - 1) * (q1 - auc**2) + (others - 1) * (q2 - auc**2)) / (
        members * others
    )
    half = Z95 * max(0.0, variance) ** 0.5
    return max(0.0, auc - half), min(1.0, auc + half)


def _statistics(
    network: Obfuscator, public: Split, candidates: Split, *, substitute: nn.Module | None, seed: int
) -> dict[str, Statistic]:
    classes, centres = _centres(network.obfuscate, public)
    random = np.random.default_rng(seed)
    found: dict[str, list[Statistic]] = {}
    done = 0
    for some in batches(candidates.samples):
        raw, labels = as_unit(some), candidates.labels[done : done + len(some)]
        done += len(some)
        obfuscated = network.obfuscate(raw)
        nudged = np.clip(raw + random.normal(0, _NUDGE, raw.shape).astype(np.float32), 0, 1)
        own, other = _distances(obfuscated, labels, classes, centres)
        values = {
            "distance to the class centre": own,
            "distance against other centres": own - other,
            "answer to a nudge": _mean_square(obfuscated - network.obfuscate(nudged)),
        }
        if obfuscated.shape == raw.shape:
            values["distance to the raw sample"] = _mean_square(obfuscated - raw)
        if substitute is not None:
            values["loss of a substitute"] = _losses(substitute, obfuscated, labels)
        for name, value in values.items():
            found.setdefault(name, []).append(np.asarray(value, np.float64))
    return {name: np.concatenate(value) for name, value in found.items()}


def _centres(obfuscate: Callable[[Samples], Samples], public: Split) -> tuple[Labels, Samples]:
    classes, index = np.unique(public.labels, return_inverse=True)
    sums = np.zeros((len(classes), obfuscate(as_unit(public.samples[:1])).size))
    done = 0
    for some in batches(public.samples):
        obfuscated = obfuscate(as_unit(some)).reshape(len(some), -1)
        np.add.at(sums, index[done : done + len(some)], obfuscated)
        done += len(some)
    return classes, (sums / np.bincount(index)[:, None]).astype(np.float32)


def _distances(
    obfuscated: Samples, labels: Labels, classes: Labels, centres: Samples
) -> tuple[Statistic, Statistic]:
    # To the centre of the sample's own class, and to the nearest other one; the mean of all where there is
    # none. One centre after the other: samples times classes times values would fill the memory.
    flat = obfuscated.reshape(len(obfuscated), -1)
    all_distances = np.stack([_mean_square(flat - centre) for centre in centres], axis=1)
    is_own = classes == labels[:, None]
    mean = all_distances.mean(axis=1)
    own, other = (np.where(chosen, all_distances, np.inf).min(axis=1) for chosen in (is_own, ~is_own))
    return np.where(np.isfinite(own), own, mean), np.where(np.isfinite(other), other, mean)


def _losses(substitute: nn.Module, obfuscated: AnyRows, labels: Labels) -> Statistic:
    scores = torch.from_numpy(scores_of(substitute, obfuscated))
    losses: Statistic = (
        functional.cross_entropy(scores, torch.from_numpy(labels.copy()), reduction="none")
        .numpy()
        .astype(np.float64)
    )
    return losses


def _mean_square(difference: Samples) -> Statistic:
    mean: Statistic = (difference.astype(np.float64) ** 2).reshape(len(difference), -1).mean(axis=1)
    return mean
