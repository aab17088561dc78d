"""The content of `audit.json`: what was audited, the headline, every attack, and how to repeat it.

Measurements and guarantees stand in parts of their own. The verdict's words are `report`'s.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from obfnet.auditing.contest import Contest
from obfnet.auditing.settings import AuditSettings
from obfnet.auditing.subject import AuditSubject
from obfnet.core.result import provenance
from obfnet.guarantees.statement import Guarantee
from obfnet.report.audit_verdict import verdict

_VERSION: Final = 1


def audit_document(
    subject: AuditSubject,
    settings: AuditSettings,
    threat_level: str,
    contests: Sequence[Contest],
    best: Contest | None,
    closest: Contest | None,
    main: str,
    about: Mapping[str, Any],
    extras: Mapping[str, Any],
    *,
    complete: bool,
) -> dict[str, Any]:
    """Everything that an audit found, JSON-ready.

    Args:
        subject: What was audited.
        settings: What was asked for.
        threat_level: The highest level whose attacks were run.
        contests: One an attack, in the order in which they were run.
        best: The headline's; None where none counts.
        closest: The one with the best guesses; None where none counts.
        main: Metric by which leakage is normalised.
        about: `command`, `source`, `case`, `split`, `reproduce`, `model_confidentiality`.
        extras: `learning_curve`, `attribute`, `reidentification`, `linkability`.
        complete: Whether the audit came to its end.
    """
    what = {
        "name": subject.name,
        "kind": subject.kind,
        **_of_source(about),
        "samples": {"attacker": len(subject.attacker.labels), "scored": len(subject.scored.answered)},
        "duplicates_removed": subject.duplicates_removed,
        "warnings": list(subject.warnings),
        "reduced_to": None if subject.reduced_to is None else list(subject.reduced_to),
        "sent_kept": subject.sent_kept,
        **({} if subject.heard_s is None else {"heard_s": list(subject.heard_s)}),
    }
    measured = {
        "attacks": [contest.row() for contest in contests],
        "learning_curve": extras.get("learning_curve", []),
        **{name: extras.get(name) for name in ("attribute", "reidentification", "linkability")},
        # Measured by another run, and kept.
        "model_confidentiality": about.get("model_confidentiality"),
    }
    return _document(
        settings,
        about,
        what,
        _headline(best, closest, main, threat_level),
        measured,
        metric=main,
        threat_level=threat_level,
        guarantee=subject.guarantee,
        complete=complete,
    )


def model_document(
    settings: AuditSettings,
    about: Mapping[str, Any],
    *,
    name: str,
    kind: str,
    guarantee: Guarantee,
    measured: Mapping[str, Any],
) -> dict[str, Any]:
    """An `audit.json` of the model side alone: no attack on samples was run, and no headline is given.

    Args:
        settings: What was asked for.
        about: `command`, `source`, `case`, `split`, `reproduce`.
        name: Of the pool or bundle.
        kind: Of its samples.
        guarantee: What a request promises.
        measured: The `model_confidentiality` part.
    """
    what = {
        "name": name,
        "kind": kind,
        **_of_source(about),
        "samples": {"attacker": 0, "scored": 0},
        "duplicates_removed": 0,
        "warnings": ["the data side was not audited: no attack on samples was run"],
    }
    found: dict[str, Any] = {
        "attacks": [],
        "learning_curve": [],
        **dict.fromkeys(("attribute", "reidentification", "linkability")),
        "model_confidentiality": measured,
    }
    return _document(
        settings,
        about,
        what,
        _headline(None, None, "ssim", "T2"),
        found,
        metric="ssim",
        threat_level="T2",
        guarantee=guarantee,
        complete=True,
    )


def _of_source(about: Mapping[str, Any]) -> dict[str, Any]:
    return {"case": about.get("case"), "split": about.get("split"), "source": about["source"]}


def _document(
    settings: AuditSettings,
    about: Mapping[str, Any],
    what: dict[str, Any],
    headline: dict[str, Any],
    measured: Mapping[str, Any],
    *,
    metric: str,
    threat_level: str,
    guarantee: Guarantee,
    complete: bool,
) -> dict[str, Any]:
    return {
        "format_version": _VERSION,
        "command": about["command"],
        "seed": settings.seed,
        "subject": what,
        "budget": settings.budget,
        "threat_level": threat_level,
        "metric": metric,
        "complete": complete,
        "headline": {**headline, "verdict": verdict(headline, what)},
        **measured,
        "guarantee": guarantee.to_dict(),
        "reproduce": list(about.get("reproduce", ())),
        **provenance(),
    }


def _headline(best: Contest | None, closest: Contest | None, main: str, threat_level: str) -> dict[str, Any]:
    empty = dict.fromkeys(
        (
            "normalised_leakage",
            "normalised_leakage_interval",
            "normalised_leakage_p95",
            "share_over_half",
            "attack",
            "ssim",
            "floor_ssim",
            "raw_ssim",
            "closest_attack",
            "closest_threat_level",
            "closest_ssim",
            "closest_leakage",
        )
    )
    if best is None or best.leakage is None or closest is None:
        return {**empty, "threat_level": threat_level}
    row = best.row()["normalised"]
    similar = main == "ssim"
    return {
        "normalised_leakage": row["mean"],
        "normalised_leakage_interval": row["interval"],
        "normalised_leakage_p95": row["p95"],
        "share_over_half": row["share_over_half"],
        "attack": best.name,
        "threat_level": best.threat_level,
        "ssim": best.figures[main]["mean"] if similar else None,
        "floor_ssim": best.floor[main] if similar else None,
        "raw_ssim": best.raw[main] if similar else None,
        "closest_attack": closest.name,
        "closest_threat_level": closest.threat_level,
        "closest_ssim": closest.figures[main]["mean"] if similar else None,
        "closest_leakage": closest.row()["normalised"]["mean"],
    }
