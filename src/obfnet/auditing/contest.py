"""One attack's whole contest: on the obfuscated samples, and on the variants that show what it is worth.

An attack counts only if it rebuilds raw samples clearly better than the label alone allows (the identity
control) and tells no samples of one label apart by a constant (the constant control). Its figures are
relative to the same attacker on raw samples and on the label alone; what is made of several attacks is
`engine`'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.attacks import ATTACKS
from obfnet.auditing.bootstrap import Estimate, mean_estimate
from obfnet.auditing.guard import AttackFaultError
from obfnet.auditing.normalised import NormalisedLeakage, normalised_leakage, stronger_floor
from obfnet.auditing.scoring import Scoring, is_distance
from obfnet.auditing.settings import Budget
from obfnet.auditing.subject import AuditSubject
from obfnet.auditing.trial import Trial, TrialSettings
from obfnet.core.errors import ObfNetError

OBFUSCATED: Final = "obfuscated"
"""The variant that is the subject itself."""

Outcome = Trial | AttackFaultError
"""What came of a trial: guesses, or why there are none."""

PerSample = npt.NDArray[np.float64]
_LABEL: Final = "label"
# Of a constant there is nothing to learn. The label alone gets full effort: a floor that is trained less than
# the attack would make a gain of the difference.
_CONSTANT_EFFORT: Final = 0.25


@dataclass(frozen=True, kw_only=True, eq=False)
class Contest:
    """What came of one attack.

    Args:
        name: Of the attack.
        threat_level: Its own.
        citation: Where it was published.
        assumes: What it needs to work.
        reason: Why it is not counted; None where it is.
        controls: `identity` and `constant`, each with gain, interval and whether it passed; empty where the
            attack did not come that far.
        figures: Metric to mean, interval, worst and 95th percentile, on the obfuscated samples.
        floor: Metric to the floor's mean.
        raw: Metric to the mean of the same attack on raw samples.
        leakage: Normalised; None where the attack was not able.
        best: The first seed's guesses on the obfuscated samples.
        seeds: How often it was fitted on the obfuscated samples.
        seconds: Of all its trials.
    """

    name: str
    threat_level: str
    citation: str
    assumes: str
    reason: str | None
    controls: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, dict[str, float | list[float]]] = field(default_factory=dict)
    floor: dict[str, float] = field(default_factory=dict)
    raw: dict[str, float] = field(default_factory=dict)
    leakage: NormalisedLeakage | None = None
    best: Trial | None = None
    seeds: int = 0
    seconds: float = 0.0

    @property
    def counted(self) -> bool:
        """Whether the attack may decide a headline."""
        return self.reason is None and self.leakage is not None

    def row(self) -> dict[str, Any]:
        """Its part of `audit.json`."""
        leakage = self.leakage
        return {
            "name": self.name,
            "threat_level": self.threat_level,
            "citation": self.citation,
            "assumes": self.assumes,
            "counted": self.counted,
            "reason": self.reason,
            "controls": self.controls or None,
            "figures": self.figures,
            "floor": self.floor,
            "raw": self.raw,
            "normalised": None if leakage is None else _normalised_row(leakage),
            "seeds": self.seeds,
            "seconds": self.seconds,
        }


def trials_of(budget: Budget, *, seed: int) -> tuple[TrialSettings, ...]:
    """What every attack is tried on, in this order: variants of the subject, and the subject itself.

    Args:
        budget: Effort, seeds, limits.
        seed: Of the first fit; the others follow.
    """
    # The cheapest control first: an attack that raises there needs no more time.
    variants = (("constant", _CONSTANT_EFFORT), ("identity", 1.0), (_LABEL, 1.0))
    return tuple(
        TrialSettings(
            variant=variant, effort=budget.effort * effort, seed=number, time_limit_s=budget.time_limit_s
        )
        for variant, effort, number in (
            *((variant, effort, seed) for variant, effort in variants),
            *((OBFUSCATED, 1.0, seed + number) for number in range(budget.attack_seeds)),
        )
    )


def ends_contest(trial: TrialSettings, outcome: Outcome) -> bool:
    """Whether an attack needs no further trial: it did not come to the end of one that must be."""
    # No network puts out the label alone: an attack that needs one has the class mean for its floor.
    return isinstance(outcome, AttackFaultError) and trial.variant != _LABEL


def judge_contest(
    name: str,
    subject: AuditSubject,
    outcomes: Mapping[TrialSettings, Outcome],
    scoring: Scoring,
    budget: Budget,
    *,
    seed: int,
) -> Contest:
    """What came of one attack, by its trials; whatever it did, a contest comes back.

    Args:
        name: Of the attack.
        subject: What is audited.
        outcomes: Of all `trials_of` in their order, or as far as one that `ends_contest`.
        scoring: Metrics and the floor.
        budget: Effort, seeds, limits.
        seed: Of intervals.

    Raises:
        UnknownNameError, MissingExtraError: the attack cannot be had.
    """
    attack_class = ATTACKS.get(name)
    about: dict[str, Any] = {
        "name": name,
        "threat_level": attack_class.threat_level,
        "citation": attack_class.citation,
        "assumes": attack_class.assumes,
    }
    done = {trial: outcome for trial, outcome in outcomes.items() if isinstance(outcome, Trial)}
    seconds = round(sum(outcome.seconds for outcome in done.values()), 2)
    for trial, outcome in outcomes.items():
        if isinstance(outcome, AttackFaultError) and ends_contest(trial, outcome):
            return Contest(**about, reason=_reason(outcome), seconds=seconds)
    first = {trial.variant: outcome for trial, outcome in reversed(done.items())}
    constant, raw, label = first["constant"], first["identity"], first.get(_LABEL)
    attacked = [outcome for trial, outcome in done.items() if trial.variant == OBFUSCATED]

    truth = subject.scored.raw
    scored = {
        metric: _Scores(
            attacked=np.stack([one.scores(function, truth) for one in attacked]),
            raw=raw.scores(function, truth),
            # What the label alone gives: to the class mean, or to this very attacker, with a picture of the
            # label or without any, whichever makes most of it.
            floor=stronger_floor(
                *(one.scores(function, truth) for one in (scoring.floor, label, constant) if one is not None)
            ),
        )
        for metric, function in scoring.metrics.items()
    }
    main = scored[scoring.main]
    floor = main.floor
    main_metric = scoring.metrics[scoring.main]
    # Of a constant and the label an honest attacker cannot tell samples of one label apart: its guesses are
    # as good for one of them as for another.
    others = constant.exchanged(subject.scored.answered)
    constant_gain = constant.scores(main_metric, truth) - others.scores(main_metric, truth)
    controls = {
        "identity": _control(main.raw - floor, seed, budget.resamples, clearly_better=True),
        "constant": _control(constant_gain, seed, budget.resamples, clearly_better=False),
    }
    failed = [which for which, control in controls.items() if not control["passed"]]
    reason = None
    if "constant" in failed:
        # First: the floor of such an attack is too high, and says nothing about its strength.
        reason = "finds something in a constant: it sees what it must not"
    elif "identity" in failed:
        reason = "too weak: it does not rebuild raw samples better than the label alone allows"
    leakage = normalised_leakage(main.attacked, floor, main.raw, seed=seed, resamples=budget.resamples)
    return Contest(
        **about,
        reason=reason,
        controls=controls,
        figures={
            metric: _figure(metric, scores.attacked, seed, budget.resamples)
            for metric, scores in scored.items()
        },
        floor={metric: float(scores.floor.mean()) for metric, scores in scored.items()},
        raw={metric: float(scores.raw.mean()) for metric, scores in scored.items()},
        leakage=leakage if leakage.able else None,
        best=attacked[0],
        seeds=len(attacked),
        seconds=seconds,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Scores:
    attacked: PerSample
    raw: PerSample
    floor: PerSample


def _normalised_row(leakage: NormalisedLeakage) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, estimate in (
        ("", leakage.mean),
        ("p95", leakage.p95),
        ("share_over_half", leakage.share_over_half),
    ):
        if estimate is not None:
            row[name or "mean"] = estimate.value
            row[f"{name}_interval".lstrip("_")] = _interval(estimate)
    return row


def _control(gain: PerSample, seed: int, resamples: int, *, clearly_better: bool) -> dict[str, Any]:
    found = mean_estimate(gain, seed=seed, resamples=resamples)
    passed = found.low > 0 if clearly_better else found.low <= 0
    return {"gain": found.value, "interval": _interval(found), "passed": bool(passed)}


def _figure(metric: str, scores: PerSample, seed: int, resamples: int) -> dict[str, float | list[float]]:
    found = mean_estimate(scores, seed=seed, resamples=resamples)
    a_sample = scores.mean(axis=0)
    # The worst is the sample that leaks most: the most alike, or the least distant.
    distance = is_distance(metric)
    return {
        "mean": found.value,
        "interval": _interval(found),
        "worst": float(a_sample.min() if distance else a_sample.max()),
        "p95": float(np.percentile(a_sample, 5 if distance else 95)),
    }


def _interval(estimate: Estimate) -> list[float]:
    return [estimate.low, estimate.high]


def _reason(exc: ObfNetError) -> str:
    return f"it did not come to an end: expected {exc.expected}, got {exc.got}"
