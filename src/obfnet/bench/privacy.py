"""Audits obfuscation on every case: accuracy beside what leaks, into one result file.

Networks are trained as the paper's grid trains them, in the same kind of work folder, so that the two share
what they can; the attacks are `audit`'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from obfnet.attacks.known_network import KnownNetwork
from obfnet.auditing.engine import audit_subject
from obfnet.auditing.settings import AuditSettings
from obfnet.auditing.subject import subject_of_sessions
from obfnet.bench.cell import Workplace, inference_for, obfuscation_for
from obfnet.bench.former import former_result
from obfnet.bench.given import Given, given_networks, network_of
from obfnet.bench.grid import Cell, Row
from obfnet.core.errors import UnknownNameError, UsageError
from obfnet.core.files import claim_output, write_json
from obfnet.core.progress import Progress
from obfnet.core.result import provenance
from obfnet.data.cases import load_case
from obfnet.edge import ObfuscationSession
from obfnet.training.classifier import accuracy, answers

PUBLISHED: Final = (
    Row(case="mnist", inference="cnn", obfuscation="mlp", hidden=100, seeds=(0,)),
    Row(case="fsd", inference="cnn", obfuscation="mlp", seeds=(0,)),
    Row(case="asl", split="scene", inference="compact", obfuscation="conv", seeds=(0,)),
    Row(case="cifar10", inference="residual", obfuscation="conv", seeds=(0,)),
)
"""Published obfuscation of every case: the paper's O_M, and on photographs the convolutional O."""

CODED: Final = (
    *(
        Row(
            case="mnist",
            inference="cnn",
            obfuscation="mlp",
            hidden=100,
            seeds=(0,),
            protection="coded",
            bits=bits,
        )
        for bits in (16, 8, 4)
    ),
    *(
        Row(case="fsd", inference="cnn", obfuscation="cnn", seeds=(0,), protection="coded", bits=bits)
        for bits in (16, 8)
    ),
)
"""The same with a ceiling in bits, at no more than the published network's cost."""

_ROWS: Final = {"published": PUBLISHED, "coded": CODED}


@dataclass(frozen=True, kw_only=True)
class PrivacyBenchmark:
    """What to run.

    Args:
        rows: What is trained and audited.
        audit: How.
        inference: Trained inference networks to use, each as `CASE/SPLIT/ARCHITECTURE=FOLDER`.
        place: Processor that trains.
    """

    rows: tuple[Row, ...]
    audit: AuditSettings
    inference: tuple[str, ...] = ()
    place: str = "auto"


def privacy_rows(cases: str = "", protections: str = "") -> tuple[Row, ...]:
    """The rows of these cases and protections, each with commas between; empty takes all.

    Raises:
        UnknownNameError: no row is of such a case, or of such a protection.
        UsageError: no row is of both.
    """
    known = [row.case for row in PUBLISHED]
    wanted = _chosen("case of this benchmark", cases, known)
    limited = _chosen("protection of this benchmark", protections, list(_ROWS))
    rows = tuple(row for name in limited for row in _ROWS[name] if row.case in wanted)
    if not rows:
        raise UsageError(
            f"rows of {', '.join(wanted)} with {', '.join(limited)}",
            "none",
            "choose others, or leave one out",
        )
    return rows


def _chosen(kind: str, names: str, known: list[str]) -> list[str]:
    wanted = [name.strip() for name in names.split(",")] if names else known
    for name in wanted:
        if name not in known:
            raise UnknownNameError(kind, name, known)
    return wanted


def bench_privacy(
    benchmark: PrivacyBenchmark,
    *,
    work: Path,
    out: Path,
    data_dir: Path | None,
    progress: Progress,
    command: str,
) -> dict[str, Any]:
    """Trains and audits row by row; what was trained or attacked before is taken as it is.

    Args:
        benchmark: What to run.
        work: Folder of what is trained and of finished trials.
        out: Result file; rows that are not run now are kept in it.
        data_dir: Folder with the data sets, or None.
        progress: Told of every step.
        command: For the result file.

    Returns:
        The content of `out`, which is written after every row.

    Raises:
        OutputError: `out` is another file, or it or `work` cannot be written.
        NoSourceError: a data set cannot be had.
        ObfNetError: whatever a training or an audit raises.

    Does not guarantee: that nobody rebuilds more. Every figure of leakage is a lower bound.
    """
    audit = benchmark.audit
    former = former_result(
        out,
        what=f"a result of an audit of budget {audit.budget} with seed {audit.seed}",
        key="row",
        same={"budget": audit.budget, "seed": audit.seed},
    )["rows"]
    given = given_networks(benchmark.inference, benchmark.rows, seed=benchmark.audit.seed)
    with claim_output(work, kind="bench-paper"):
        at = Workplace(folder=work / "full", place=benchmark.place, progress=progress)
        for row in benchmark.rows:
            progress.say(f"audit of {row.name}")
            figures = _audited(row, benchmark.audit, given, at, data_dir)
            former[row.name] = {"command": command, **figures, **provenance()}
            write_json(out, _content(former, benchmark.audit, command))
    return _content(former, benchmark.audit, command)


def _audited(
    row: Row, settings: AuditSettings, given: Given, at: Workplace, data_dir: Path | None
) -> dict[str, Any]:
    dataset = load_case(row.case, split=row.split, data_dir=data_dir, progress=at.progress)
    cell = Cell(row=row, seed=settings.seed + row.seeds[0])
    own = given.get((*network_of(row), cell.seed))
    inference = own or inference_for(cell, dataset, at)
    bundle = obfuscation_for(cell, dataset, inference, at)
    session, budget = ObfuscationSession(bundle), settings.spending()
    answered = answers(inference.network, dataset.test.samples, through=session.obfuscate)
    subject = subject_of_sessions(
        dataset,
        (KnownNetwork(bundle.graph),),
        index=0,
        answered=answered,
        limit_pairs=budget.attacker,
        limit_scored=budget.scored,
        budget_bits=bundle.manifest.budget_bits,
        name=row.name,
        identity=bundle.sha256,
    )
    about = {"command": "obfnet bench privacy", "source": "bundle", "case": row.case, "split": row.split}
    found = audit_subject(
        subject, settings, folder=at.folder / "audit", progress=at.progress, about=about
    ).document
    return {
        "row": row.name,
        "case": row.case,
        "split": row.split,
        "inference": inference.card.architecture,
        "obfuscation": bundle.manifest.architecture,
        "hidden": bundle.manifest.hidden,
        "protection": bundle.manifest.protection,
        "budget_bits": bundle.manifest.budget_bits,
        "seed": cell.seed,
        "accuracy": {
            "raw": accuracy(inference.network, dataset.test),
            "obfuscated": float((answered == dataset.test.labels).mean()),
        },
        **{
            name: found[name]
            for name in (
                "subject",
                "metric",
                "headline",
                "attacks",
                "learning_curve",
                "attribute",
                "reidentification",
                "linkability",
            )
        },
    }


def _content(rows: Mapping[str, dict[str, Any]], settings: AuditSettings, command: str) -> dict[str, Any]:
    order = [row.name for rows in _ROWS.values() for row in rows]
    return {
        "command": command,
        "budget": settings.budget,
        "seed": settings.seed,
        "rows": [rows[name] for name in order if name in rows],
        **provenance(),
    }
