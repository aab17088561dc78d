"""Whose request is it? Re-identification in a crowd, and whether two requests belong together.

Neither needs a good picture: a guess that points at one raw sample and no other's is enough. The class mean's
share of hits stands beside each figure, since whoever knows the label alone also finds more than chance.
"""

from contextlib import suppress
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.attacks import ATTRIBUTE_ATTACKS, Recognition
from obfnet.attacks.linkability import Pairs, auc, linkability, same_sample_pairs, same_value_pairs
from obfnet.attacks.reidentification import RankK, rank_k
from obfnet.auditing.bootstrap import Estimate, estimated, mean_estimate
from obfnet.auditing.contest import Contest
from obfnet.auditing.settings import Budget
from obfnet.auditing.subject import AuditSubject
from obfnet.auditing.trial import Trial
from obfnet.core.errors import AttackError
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.data.rows import AnyRows, mapped

_PAIRS: Final = 1_000
_RECOGNISER: Final = "linear-probe"
_RESAMPLES: Final = 500


def measure_linking(
    subject: AuditSubject, best: Contest, floor: Trial, budget: Budget, *, seed: int, progress: Progress
) -> dict[str, Any]:
    """Re-identification and linkability of the scored requests.

    Args:
        subject: What is audited.
        best: The contest whose guesses point at raw samples.
        floor: The class mean's guesses.
        budget: Resamples.
        seed: Of pairs and intervals.
        progress: Told of every step.

    Returns:
        `reidentification` (None where fewer samples than the smallest crowd are scored) and `linkability`.

    Does not guarantee: that another similarity would not link more.
    """
    return {
        "reidentification": _found_in_crowds(subject, best, floor, budget, seed),
        "linkability": _linked(subject, budget, seed, progress),
    }


def _found_in_crowds(
    subject: AuditSubject, best: Contest, floor: Trial, budget: Budget, seed: int
) -> list[dict[str, Any]] | None:
    raw = subject.scored.raw
    ways: dict[str, tuple[str, tuple[RankK, ...]]] = {}
    try:
        least = rank_k(floor.guesses.astype(np.float32), raw)
        if best.best is not None:
            ways[best.name] = (best.threat_level, rank_k(best.best.guesses.astype(np.float32), raw))
        if subject.network is not None:
            # Whoever knows O obfuscates every candidate and compares like with like.
            network = subject.network
            sent = mapped(raw, lambda some: as_unit(network.obfuscate(as_unit(some))))
            ways["obfuscated candidates"] = ("T2", rank_k(subject.scored.received, sent))
    except AttackError:
        return None
    rows = []
    for attack, (level, found) in ways.items():
        for one, lowest in zip(found, least, strict=True):
            estimate = mean_estimate(one.hits, seed=seed, resamples=budget.resamples)
            rows.append(
                {
                    "attack": attack,
                    "threat_level": level,
                    "candidates": one.crowd,
                    "k": one.k,
                    "rate": estimate.value,
                    "interval": [estimate.low, estimate.high],
                    "chance": one.chance,
                    "floor": float(lowest.hits.mean()),
                }
            )
    return rows or None


def _linked(subject: AuditSubject, budget: Budget, seed: int, progress: Progress) -> dict[str, Any] | None:
    scored = subject.scored
    same_sample = same_attribute = None
    if subject.repeats is not None:
        pairs = same_sample_pairs(len(scored), count=_PAIRS, seed=seed)
        same_sample = _auc(subject, pairs, subject.repeats(0), subject.repeats(1), seed)
    if scored.attribute is not None:
        # An attribute of which no value occurs twice has no pairs.
        with suppress(AttackError):
            pairs = same_value_pairs(scored.attribute, count=_PAIRS, seed=seed)
            recognise = _recogniser(subject, budget, seed, progress)
            same_attribute = _auc(subject, pairs, scored.received, scored.received, seed, recognise)
    if same_sample is None and same_attribute is None:
        return None
    return {
        # Sending a sample again is seen at T3 only; a recogniser is trained at T2.
        "threat_level": "T2" if same_sample is None else "T3",
        "same_sample_auc": None if same_sample is None else same_sample.value,
        "same_sample_interval": None if same_sample is None else [same_sample.low, same_sample.high],
        "same_attribute_auc": None if same_attribute is None else same_attribute.value,
        "same_attribute_interval": None
        if same_attribute is None
        else [same_attribute.low, same_attribute.high],
    }


def _recogniser(subject: AuditSubject, budget: Budget, seed: int, progress: Progress) -> Recognition | None:
    values = subject.attacker.attribute
    if values is None:
        return None
    probe = ATTRIBUTE_ATTACKS.get(_RECOGNISER)(effort=budget.effort)
    received = mapped(subject.attacker.received, as_unit)
    return probe.fit(received, values, count=int(values.max()) + 1, seed=seed, progress=progress)


def _auc(
    subject: AuditSubject,
    pairs: Pairs,
    first: AnyRows,
    second: AnyRows,
    seed: int,
    recognise: Recognition | None = None,
) -> Estimate:
    found = linkability(subject.attacker.received, first, second, pairs, recognise=recognise)
    # Whoever can recognise the attribute links by it; where nobody can, similarity is left.
    way = "similarity" if recognise is None else "recognition"
    scores, value = found.scores[way], found.auc(way)
    # Requests that occur in many pairs make this a little too narrow; the pairs are drawn, so it is little.
    drawn = _redrawn(scores, pairs.same, seed)
    return estimated(value, drawn)


def _redrawn(
    scores: npt.NDArray[np.float64], same: npt.NDArray[np.bool_], seed: int
) -> npt.NDArray[np.float64]:
    random = np.random.default_rng(seed)
    together, apart = np.flatnonzero(same), np.flatnonzero(~same)
    values = np.empty(_RESAMPLES)
    for number in range(_RESAMPLES):
        rows = np.concatenate([random.choice(together, len(together)), random.choice(apart, len(apart))])
        values[number] = auc(scores[rows], same[rows])
    return values
