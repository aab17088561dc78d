"""Audits a subject: attack by attack, each with its controls, and a headline from those that count.

Nothing here knows an attack by name but the floor; what is attacked comes as a `subject`, what it costs from
the `settings`, and where attacks run is the engine's of `attacking`. The page is `report`'s.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.attacks import ATTACKS
from obfnet.attacks.few_pairs import FewPairs
from obfnet.auditing.attacking import Engine, Local
from obfnet.auditing.attributes import measure_attribute
from obfnet.auditing.bootstrap import Estimate, mean_estimate
from obfnet.auditing.contest import OBFUSCATED, Contest, Outcome, judge_contest, trials_of
from obfnet.auditing.controls import as_control
from obfnet.auditing.guard import AttackFaultError
from obfnet.auditing.linking import measure_linking
from obfnet.auditing.result import audit_document
from obfnet.auditing.scoring import Scoring, scoring_of
from obfnet.auditing.settings import FLOOR, AuditSettings
from obfnet.auditing.subject import AuditSubject
from obfnet.auditing.trial import Trial, TrialSettings, knowledge_of, run_trial
from obfnet.core.errors import AttackError
from obfnet.core.progress import Progress

CURVE: Final = (1, 10, 100, 1_000)
"""Numbers of known pairs of the learning curve."""

_CONTROLS: Final = ("identity", "label", "constant")


@dataclass(frozen=True, kw_only=True, eq=False)
class Audit:
    """What an audit found.

    Args:
        document: Content of `audit.json`.
        best: Contest of the headline's attack; None where none counts.
        closest: Contest with the best guesses, which an attack of a low ceiling may beat by its share of it.
        floor: The class mean's guesses.
    """

    document: dict[str, Any]
    best: Contest | None
    closest: Contest | None
    floor: Trial


def audit_subject(
    subject: AuditSubject,
    settings: AuditSettings,
    *,
    folder: Path,
    progress: Progress,
    about: Mapping[str, Any],
    save: Callable[[Audit], None] = lambda audit: None,
    engine: Engine | None = None,
) -> Audit:
    """Attacks a subject with everything that its threat level and the budget allow.

    Args:
        subject: What is audited; the attacker has no more of it than the budget allows.
        settings: What to run.
        folder: Where finished trials are kept; a later audit of the same subject goes on from them.
        progress: Told of every attack and step.
        about: What the document says of the subject besides what the subject itself knows: `source`, `case`,
            `split`, `command`, `reproduce`.
        save: Called with what there is after every attack, so that a stopped audit leaves a partial report.
        engine: Where attacks run; None runs them in this process. What comes of several of them (learning
            curve, attributes, linking) is found in this process.

    Returns:
        Everything that was found; `document["complete"]` is True.

    Raises:
        AttackError: no attack is left to run, or an attacker knows a sample that it is scored on.
        OutputError: a trial cannot be kept.
        UnknownNameError, MissingExtraError: an attack or the engine cannot be had.

    Does not guarantee: that nobody rebuilds more. Every figure is a lower bound on what leaks.
    """
    budget = settings.spending()
    level = settings.threat_level or subject.threat_level
    names = _runnable(settings, level)
    subject = subject.limited(budget.attacker)
    knowledge_of(subject, "T0").forbid_overlap(subject.scored.raw)
    variants = {which: as_control(subject, which) for which in _CONTROLS}
    variants["constant"] = variants["constant"].limited(budget.control_attacker)
    floor = run_trial(
        ATTACKS.get(FLOOR)(),
        subject,
        TrialSettings(variant="floor", effort=1, seed=settings.seed, time_limit_s=budget.time_limit_s),
        folder=folder,
        progress=progress,
    )
    scoring = scoring_of(
        subject,
        settings.metrics,
        floor,
        effort=min(1.0, budget.effort),
        seed=settings.seed,
        progress=progress,
    )
    judged: dict[int, Contest] = {}
    extras: dict[str, Any] = {}

    def contests() -> list[Contest]:
        # In the order of the names, in whatever order they were delivered.
        return [judged[number] for number in sorted(judged)]

    def present(*, complete: bool) -> Audit:
        found = contests()
        best, closest = headline_contest(found), closest_contest(found)
        document = audit_document(
            subject, settings, level, found, best, closest, scoring.main, about, extras, complete=complete
        )
        return Audit(document=document, best=best, closest=closest, floor=floor)

    def deliver(number: int, outcomes: Mapping[TrialSettings, Outcome]) -> None:
        contest = judge_contest(names[number], subject, outcomes, scoring, budget, seed=settings.seed)
        if contest.reason is not None:
            progress.say(f"{contest.name} is not counted: {contest.reason}")
        judged[number] = contest
        save(present(complete=False))

    (engine or Local()).attack(
        names,
        trials_of(budget, seed=settings.seed),
        {OBFUSCATED: subject, **variants},
        deliver,
        folder=folder,
        progress=progress,
    )
    found = contests()
    best, closest = headline_contest(found), closest_contest(found)
    if best is None or closest is None:
        reasons = "; ".join(f"{contest.name}: {contest.reason}" for contest in found)
        raise AttackError(
            "an attack that passes its controls", reasons, "run more attacks or a larger --budget"
        )
    extras["learning_curve"] = _learning_curve(subject, scoring, settings, best, folder, progress)
    extras["attribute"] = measure_attribute(subject, closest, budget, seed=settings.seed, progress=progress)
    extras |= measure_linking(subject, closest, floor, budget, seed=settings.seed, progress=progress)
    done = present(complete=True)
    save(done)
    return done


def headline_contest(contests: list[Contest]) -> Contest | None:
    """The counted contest with the highest mean leakage, of equals that with the best guesses; or None."""
    counted = [contest for contest in contests if contest.counted]
    return max(counted, key=_standing, default=None)


def closest_contest(contests: list[Contest]) -> Contest | None:
    """The counted contest whose guesses are most like the raw samples; or None."""
    return max((one for one in contests if one.counted), key=_closeness, default=None)


def _closeness(contest: Contest) -> float:
    return -np.inf if contest.leakage is None else contest.leakage.attacked.value


def _standing(contest: Contest) -> tuple[float, float]:
    leakage = contest.leakage
    if leakage is None or leakage.mean is None:
        return -np.inf, -np.inf
    # To a hundredth: a weak attack with a low ceiling of its own must not win by rounding.
    return round(leakage.mean.value, 2), leakage.attacked.value


def _runnable(settings: AuditSettings, level: str) -> list[str]:
    names = settings.chosen_attacks(level)
    if not names:
        raise AttackError(
            f"an attack that an attacker of {level} can run",
            ", ".join(settings.attacks) or "none",
            "name other --attacks or a higher --threat",
        )
    return names


def _learning_curve(
    subject: AuditSubject,
    scoring: Scoring,
    settings: AuditSettings,
    best: Contest,
    folder: Path,
    progress: Progress,
) -> list[dict[str, Any]]:
    # One cheap attack with ever more pairs: by what it knows, not by what it can do.
    metric, truth = scoring.metrics[scoring.main], subject.scored.raw
    floor = scoring.floor.scores(metric, truth)
    scale = None if best.leakage is None else best.leakage.gap.value
    curve = []
    for pairs in CURVE:
        if pairs > len(subject.attacker.labels):
            break
        one = TrialSettings(
            variant=f"{pairs}-pairs",
            effort=1,
            seed=settings.seed,
            time_limit_s=settings.spending().time_limit_s,
        )
        try:
            trial = run_trial(FewPairs(pairs=pairs), subject, one, folder=folder, progress=progress)
        except AttackFaultError as exc:
            progress.say(f"learning curve at {pairs} pairs: {exc}")
            continue
        scores = trial.scores(metric, truth)
        estimate = _estimate(scores, settings)
        curve.append(
            {
                "pairs": pairs,
                "attack": FewPairs.name,
                "threat_level": FewPairs.threat_level,
                scoring.main: estimate.value,
                "interval": [estimate.low, estimate.high],
                "normalised": None if not scale else float((scores - floor).mean() / scale),
            }
        )
    return curve


def _estimate(scores: npt.NDArray[np.float64], settings: AuditSettings) -> Estimate:
    return mean_estimate(scores, seed=settings.seed, resamples=settings.spending().resamples)
