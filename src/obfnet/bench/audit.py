"""Judges the audit itself by obfuscations whose leakage is known; what they are is `known`'s.

The attacker holds recorded pairs of real digits. Every audit is the ordinary one, and nothing is told to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from obfnet.auditing.engine import audit_subject
from obfnet.auditing.pairing import evenly_spaced
from obfnet.auditing.settings import AuditSettings
from obfnet.auditing.subject import AttackerPart, AuditSubject, ScoredPart
from obfnet.bench.former import former_result
from obfnet.bench.known import KNOWN, KnownObfuscation, noisy, wiener_mse
from obfnet.bench.readings import audit_readings
from obfnet.bundle import Bundle
from obfnet.core.errors import UnknownNameError
from obfnet.core.files import claim_output, write_json
from obfnet.core.progress import Progress
from obfnet.core.result import provenance
from obfnet.core.spec import as_unit
from obfnet.data.case import Dataset
from obfnet.data.cases import load_case

PAIRS: Final = 10_000
"""So many pairs the attacker holds, at most."""

# Of the obfuscations with many seeds one audit in twenty may be wrong: its intervals are 95 % ones.
_RIGHT: Final = 0.95


@dataclass(frozen=True, kw_only=True)
class AuditBenchmark:
    """What to run.

    Args:
        known: Obfuscations.
        case: Data set, of pictures.
        audit: How each is audited; its seed is the first of each obfuscation's.
        bundle: A bundle of the case to read three ways as well; None leaves that out.
    """

    known: tuple[KnownObfuscation, ...]
    case: str
    audit: AuditSettings
    bundle: Bundle | None = None


def known_obfuscations(names: Sequence[str]) -> tuple[KnownObfuscation, ...]:
    """Those of these names; empty takes all.

    Raises:
        UnknownNameError: there is none of such a name.
    """
    every = {known.name: known for known in KNOWN}
    for name in names:
        if name not in every:
            raise UnknownNameError("known obfuscation", name, list(every))
    return tuple(known for known in KNOWN if not names or known.name in names)


def bench_audit(
    benchmark: AuditBenchmark,
    *,
    work: Path,
    out: Path,
    data_dir: Path | None,
    progress: Progress,
    command: str,
) -> dict[str, Any]:
    """Audits each known obfuscation, seed by seed; finished attacks are taken as they are.

    Args:
        benchmark: What to run.
        work: Folder of finished attacks.
        out: Result file; obfuscations that are not run now are kept in it.
        data_dir: Folder with the data sets, or None.
        progress: Told of every step.
        command: For the result file.

    Returns:
        The content of `out`, which is written after every obfuscation.

    Raises:
        OutputError: `out` is another file, or it or `work` cannot be written.
        NoSourceError: the data set cannot be had.
        ObfNetError: whatever an audit raises.

    Does not guarantee: that the audit is right on an obfuscation that is not among them.
    """
    settings = {"case": benchmark.case, "budget": benchmark.audit.budget, "seed": benchmark.audit.seed}
    former = former_result(out, what="a result of this benchmark", key="name", same=settings)
    rows, readings = former["rows"], former.get("readings")
    with claim_output(work, kind="bench-audit"):
        dataset = load_case(benchmark.case, data_dir=data_dir, progress=progress)
        for known in benchmark.known:
            each = [
                _figures(
                    known,
                    dataset,
                    replace(benchmark.audit, seed=benchmark.audit.seed + number),
                    work,
                    progress,
                )
                for number in range(known.seeds)
            ]
            rows[known.name] = {
                "command": command,
                "name": known.name,
                "about": known.about,
                "expected": known.expected,
                "seeds": known.seeds,
                "met_seeds": None if known.met is None else sum(one["met"] for one in each),
                "met": None
                if known.met is None
                else bool(sum(one["met"] for one in each) >= _RIGHT * known.seeds),
                "each": each,
                **provenance(),
            }
            write_json(out, _content(rows, readings, benchmark, command))
        if benchmark.bundle is not None:
            found = audit_readings(benchmark.bundle, dataset, benchmark.audit, work=work, progress=progress)
            readings = {"command": command, **found, **provenance()}
            write_json(out, _content(rows, readings, benchmark, command))
    return _content(rows, readings, benchmark, command)


def _figures(
    known: KnownObfuscation, dataset: Dataset, settings: AuditSettings, work: Path, progress: Progress
) -> dict[str, Any]:
    progress.say(f"audit of {known.name}, seed {settings.seed}: {known.about}")
    subject = subject_of_known(known, dataset, settings)
    about = {"command": "obfnet bench audit", "source": "pairs", "case": dataset.spec.name}
    document = audit_subject(subject, settings, folder=work, progress=progress, about=about).document
    headline = document["headline"]
    counted = [one for one in document["attacks"] if one["counted"]]
    figures = {
        "seed": settings.seed,
        "normalised": headline["normalised_leakage"],
        "normalised_interval": headline["normalised_leakage_interval"],
        "normalised_p95": headline["normalised_leakage_p95"],
        "share_over_half": headline["share_over_half"],
        "attack": headline["attack"],
        "threat_level": headline["threat_level"],
        "ssim": headline["ssim"],
        "floor_ssim": headline["floor_ssim"],
        "raw_ssim": headline["raw_ssim"],
        "closest_attack": headline["closest_attack"],
        "closest_ssim": headline["closest_ssim"],
        "lowest_mse": min(one["figures"]["mse"]["mean"] for one in counted),
        "not_counted": {one["name"]: one["reason"] for one in document["attacks"] if not one["counted"]},
        # What each attack by itself made of it: the weak ones that were fooled stand beside the others.
        "attacks": {one["name"]: one["normalised"]["mean"] for one in counted},
    }
    if known.rewrite is noisy:
        scored, attacker = subject.scored, subject.attacker
        figures["wiener_mse"] = wiener_mse(scored.raw[:], scored.received[:], attacker.raw[:])
    return {**figures, "met": None if known.met is None else known.met(figures)}


def subject_of_known(known: KnownObfuscation, dataset: Dataset, settings: AuditSettings) -> AuditSubject:
    """Recorded pairs of a known obfuscation: training samples are the attacker's, test samples are scored.

    Args:
        known: The obfuscation.
        dataset: Pictures.
        settings: Budget and seed.
    """
    train = dataset.train.take(evenly_spaced(len(dataset.train.labels), PAIRS))
    test = dataset.test.take(evenly_spaced(len(dataset.test.labels), settings.spending().scored))
    random = np.random.default_rng([settings.seed, 1])
    raw, asked = as_unit(train.samples[:]), as_unit(test.samples[:])
    labels, answers = np.asarray(train.labels), np.asarray(test.labels)
    return AuditSubject(
        name=f"{known.name} on {dataset.spec.name}",
        kind=dataset.spec.kind,
        attacker=AttackerPart(raw=raw, received=known.rewrite(raw, labels, random), labels=labels),
        scored=ScoredPart(raw=asked, received=known.rewrite(asked, answers, random), answered=answers),
        classes=dataset.spec.classes,
        threat_level="T3",
        warnings=("the backend was not asked: the true label counts as its answer",),
        identity=f"{known.name} {settings.seed}",
    )


def _content(
    rows: dict[str, dict[str, Any]], readings: dict[str, Any] | None, benchmark: AuditBenchmark, command: str
) -> dict[str, Any]:
    return {
        "command": command,
        "case": benchmark.case,
        "pairs": PAIRS,
        "budget": benchmark.audit.budget,
        "seed": benchmark.audit.seed,
        "rows": [rows[known.name] for known in KNOWN if known.name in rows],
        "readings": readings,
        **provenance(),
    }
