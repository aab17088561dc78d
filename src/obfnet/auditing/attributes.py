"""How well a private attribute is recognised in what the backend receives, and in what attackers rebuild.

Each recogniser is fitted on the attacker's samples and asked about the scored ones; the same recogniser on
raw samples is the ceiling, and the most frequent value is chance. On reconstructions a recogniser is asked
that was fitted on raw samples: that is what somebody with a good reconstruction would do. A recogniser that
is no better than chance on raw samples, or better than chance on a constant, is not counted.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from obfnet.attacks import ATTRIBUTE_ATTACKS
from obfnet.auditing.bootstrap import mean_estimate
from obfnet.auditing.contest import Contest
from obfnet.auditing.controls import as_control
from obfnet.auditing.guard import AttackFaultError, guarded
from obfnet.auditing.settings import Budget
from obfnet.auditing.subject import AuditSubject
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.data.rows import AnyRows, batches, mapped

Labels = npt.NDArray[np.int64]


def measure_attribute(
    subject: AuditSubject, best: Contest | None, budget: Budget, *, seed: int, progress: Progress
) -> dict[str, Any] | None:
    """Recognises the subject's private attribute.

    Args:
        subject: What is audited.
        best: The contest whose reconstructions are looked at too; None looks at none.
        budget: Effort and limits.
        seed: Of the recognisers.
        progress: Told of every step.

    Returns:
        The `attribute` part of `audit.json`; None where there is no attribute, where it has one value, where
        the scored samples have values that no attacker's sample has, or where no recogniser is counted.
    """
    known, asked = subject.attacker.attribute, subject.scored.attribute
    if known is None or asked is None or len(np.unique(known)) < 2:
        return None
    if not set(np.unique(asked)) <= set(np.unique(known)):
        progress.say(
            "the attribute is not attacked: scored samples have values that no attacker's sample has"
        )
        return None
    count = int(known.max()) + 1
    rows: list[dict[str, Any]] = []
    for name in ATTRIBUTE_ATTACKS.names():
        progress.say(f"attribute {subject.attribute_name}: {name}")
        try:
            rows += _attacked(name, subject, best, budget, known, asked, count, seed, progress)
        except AttackFaultError as exc:
            progress.say(f"{name} is not counted: {exc}")
    received = [row for row in rows if row["on"] == "received" and row["counted"]]
    if not received:
        progress.say(f"no recogniser of the {subject.attribute_name} passes its controls: no figure")
        return None
    headline = max(received, key=lambda row: float(row["accuracy"]))
    return {
        "attribute": subject.attribute_name,
        "values": len(np.unique(known)),
        "chance": _chance(asked),
        "threat_level": "T2",
        "attack": headline["name"],
        "accuracy": headline["accuracy"],
        "interval": headline["interval"],
        "raw_accuracy": max(float(row["raw_accuracy"]) for row in received),
        "samples": len(asked),
        "attacks": rows,
    }


def _attacked(
    name: str,
    subject: AuditSubject,
    best: Contest | None,
    budget: Budget,
    known: Labels,
    asked: Labels,
    count: int,
    seed: int,
    progress: Progress,
) -> list[dict[str, Any]]:
    attack_class = ATTRIBUTE_ATTACKS.get(name)
    attacker, scored = subject.attacker, subject.scored

    def fitted(rows: AnyRows, values: Labels = known) -> Any:
        def work() -> Any:
            attack = attack_class(effort=budget.effort)
            return attack.fit(mapped(rows, as_unit), values, count=count, seed=seed, progress=progress)

        return guarded(name, work, time_limit_s=budget.time_limit_s)

    def right(recognise: Any, rows: AnyRows) -> npt.NDArray[np.float64]:
        scores = [np.asarray(recognise(as_unit(some))) for some in batches(rows)]
        answers = np.concatenate(scores)
        if answers.shape != (len(asked), count) or not np.isfinite(answers).all():
            raise AttackFaultError(
                f"finite scores of shape {(len(asked), count)} from {name}", str(answers.shape), "repair it"
            )
        hits: npt.NDArray[np.float64] = (answers.argmax(axis=1) == asked).astype(np.float64)
        return hits

    on_raw = fitted(attacker.raw)
    raw_hits = right(on_raw, scored.raw)
    # Fewer samples, as for the constant control of a reconstruction; a value that none has is no loss.
    nothing = as_control(subject, "constant").limited(budget.control_attacker)
    constant = fitted(nothing.attacker.received, np.asarray(nothing.attacker.attribute))
    controls = {
        "identity": _control(raw_hits, asked, seed, budget, clearly_better=True),
        "constant": _control(
            right(constant, nothing.scored.received), asked, seed, budget, clearly_better=False
        ),
    }
    hits = {"received": right(fitted(attacker.received), scored.received)}
    if best is not None and best.best is not None:
        hits["reconstruction"] = right(on_raw, best.best.guesses.astype(np.float32))
    rows = []
    for where, each in hits.items():
        estimate = mean_estimate(each, seed=seed, resamples=budget.resamples)
        rows.append(
            {
                "name": name,
                "threat_level": attack_class.threat_level,
                "citation": attack_class.citation,
                "on": where,
                "accuracy": estimate.value,
                "interval": [estimate.low, estimate.high],
                "raw_accuracy": float(raw_hits.mean()),
                "counted": all(control["passed"] for control in controls.values()),
                "controls": controls,
            }
        )
    return rows


def _chance(values: Labels) -> float:
    counts = np.bincount(values)
    return float(counts.max() / counts.sum())


def _control(
    hits: npt.NDArray[np.float64], asked: Labels, seed: int, budget: Budget, *, clearly_better: bool
) -> dict[str, Any]:
    found = mean_estimate(hits, seed=seed, resamples=budget.resamples)
    chance = _chance(asked)
    passed = found.low > chance if clearly_better else found.low <= chance
    return {"accuracy": found.value, "interval": [found.low, found.high], "passed": bool(passed)}
