"""Audits obfuscation on every case: accuracy beside what leaks, into one result file.

Networks are trained as the paper's grid trains them, in the same kind of work folder, so that the two share
what they can; the attacks are `audit`'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from obfnet.attacks.known_network import KnownNetwork
from obfnet.auditing.engine import audit_subject
from obfnet.auditing.settings import AuditSettings
from obfnet.auditing.subject import subject_of_sessions
from obfnet.bench.baselines import measure_baselines
from obfnet.bench.cell import Workplace, inference_for, obfuscation_for, plan_for
from obfnet.bench.former import former_result
from obfnet.bench.given import Given, given_networks, network_of
from obfnet.bench.grid import Cell, Row, cells
from obfnet.bench.parity import measure_parity
from obfnet.core.errors import UnknownNameError, UsageError
from obfnet.core.files import claim_output, write_json
from obfnet.core.progress import Progress
from obfnet.core.result import provenance
from obfnet.core.spec import as_unit
from obfnet.data.cases import load_case
from obfnet.data.rows import mapped
from obfnet.edge.timing import time_obfuscation
from obfnet.training.classifier import accuracy, answers

PUBLISHED: Final = (
    Row(case="mnist", inference="cnn", obfuscation="mlp", hidden=100),
    Row(case="fsd", inference="cnn", obfuscation="mlp"),
    Row(case="asl", split="scene", inference="compact", obfuscation="conv"),
    Row(case="cifar10", inference="residual", obfuscation="conv"),
)
"""Published obfuscation of every case: the paper's O_M, and on photographs the convolutional O."""

_MNIST, _FSD, _ASL, _CIFAR10 = PUBLISHED

CODED: Final = (
    *(replace(_MNIST, protection="coded", bits=bits) for bits in (16, 8, 4)),
    *(replace(_FSD, obfuscation="cnn", protection="coded", bits=bits) for bits in (16, 8)),
    # So many photographs take long: two fifths of the passes, which is more than `published` gets.
    replace(_ASL, split="random", protection="coded", bits=64, obfuscation_share=0.4),
    # Laid out over the photograph: the inference network does what no classifier of that cost can.
    replace(_ASL, protection="coded", bits=1_024, obfuscation_share=0.2),
    replace(_CIFAR10, protection="coded", bits=1_024, obfuscation_share=0.4),
)
"""With a ceiling in bits, at no more than the published network's cost."""

ADVERSARIAL: Final = (
    replace(_MNIST, protection="adversarial"),
    replace(_FSD, protection="adversarial"),
    replace(_ASL, protection="adversarial", obfuscation_share=0.2),
    replace(_CIFAR10, protection="adversarial", obfuscation_share=0.2),
    # As many passes as `coded` and `selective` have there.
    replace(_CIFAR10, protection="adversarial", bits=1_024, obfuscation_share=0.8),
    replace(_CIFAR10, protection="adversarial", bits=17 + 1_024, rich_share=0.25, obfuscation_share=0.4),
)
"""Trained against opponents: measured only, beyond the ceiling of the code where there is one."""

RANDOMISED: Final = tuple(
    replace(row, obfuscation=obfuscation, protection="randomised", bits=16, epsilon=epsilon)
    for row, obfuscation, each in ((_MNIST, "mlp", (32.0, 16.0)), (_FSD, "cnn", (32.0,)))
    for epsilon in each
)
"""With each bit of a code inverted by lot: local differential privacy of a request."""

GAUSSIAN: Final = (
    replace(_MNIST, protection="gaussian", bits=16, noise=0.5),
    replace(_FSD, obfuscation="cnn", protection="gaussian", bits=16, noise=0.5),
    # Sixteen numbers for each 4x4 pixels.
    replace(_CIFAR10, protection="gaussian", bits=1_410, noise=0.5, obfuscation_share=0.4),
)
"""With noise on bounded numbers."""

SELECTIVE: Final = (
    replace(_MNIST, protection="selective", bits=32, rich_share=0.1),
    # A word of 16 bits, the level, and details that are laid out.
    replace(_ASL, protection="selective", bits=17 + 1_024, rich_share=0.5, obfuscation_share=0.2),
    replace(_CIFAR10, protection="selective", bits=17 + 1_024, rich_share=0.25, obfuscation_share=0.2),
    replace(_CIFAR10, protection="selective", bits=17 + 512, rich_share=0.3, obfuscation_share=0.2),
)
"""With a few bits for the samples that the device is sure of, and more for a share of the others."""

_ROWS: Final = {
    "published": PUBLISHED,
    "coded": CODED,
    "adversarial": ADVERSARIAL,
    "randomised": RANDOMISED,
    "gaussian": GAUSSIAN,
    "selective": SELECTIVE,
}


@dataclass(frozen=True, kw_only=True)
class PrivacyBenchmark:
    """What to run.

    Args:
        rows: What is trained and audited.
        audit: How.
        seeds: So many of each row's seeds, the first ones.
        inference: Trained inference networks to use, each as `CASE/SPLIT/ARCHITECTURE=FOLDER`.
        place: Processor that trains.
    """

    rows: tuple[Row, ...]
    audit: AuditSettings
    seeds: int = 1
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
        for cell in cells(benchmark.rows, seed=audit.seed, most=benchmark.seeds):
            progress.say(f"audit of {_named(cell, audit.seed)}")
            figures = _audited(cell, benchmark.audit, given, at, data_dir)
            former[_named(cell, audit.seed)] = {"command": command, **figures, **provenance()}
            write_json(out, _content(former, benchmark.audit, command))
    return _content(former, benchmark.audit, command)


def _named(cell: Cell, first: int) -> str:
    # The first seed's row has the row's own name, whatever seed the benchmark starts from.
    return cell.row.name if cell.seed == first + cell.row.seeds[0] else cell.name


def _audited(
    cell: Cell, settings: AuditSettings, given: Given, at: Workplace, data_dir: Path | None
) -> dict[str, Any]:
    row = cell.row
    dataset = load_case(row.case, split=row.split, data_dir=data_dir, progress=at.progress)
    own = given.get((*network_of(row), cell.seed))
    inference = own or inference_for(cell, dataset, at)
    bundle = obfuscation_for(cell, dataset, inference, at)
    known, budget = KnownNetwork.of(bundle), settings.spending()
    received = known.sent_once(mapped(dataset.test.samples, as_unit))
    answered = answers(inference.network, received)
    subject = subject_of_sessions(
        dataset,
        (known,),
        index=0,
        answered=answered,
        limit_pairs=budget.attacker,
        limit_scored=budget.scored,
        guarantee=bundle.manifest.guarantee,
        name=row.name,
        identity=bundle.sha256,
        received=received,
        sent=known.in_turn,
    )
    baselines = measure_baselines(
        dataset,
        inference.network,
        known,
        received,
        macs=bundle.manifest.macs,
        recipe=plan_for(cell, dataset).device_only,
        seed=cell.seed,
        folder=at.folder / "baselines" / bundle.sha256[:16],
        place=at.place,
        progress=at.progress,
    )
    about = {"command": "obfnet bench privacy", "source": "bundle", "case": row.case, "split": row.split}
    found = audit_subject(
        subject, settings, folder=at.folder / "audit", progress=at.progress, about=about
    ).document
    return {
        "row": _named(cell, settings.seed),
        "case": row.case,
        "split": row.split,
        "inference": inference.card.architecture,
        "obfuscation": bundle.manifest.architecture,
        "hidden": bundle.manifest.hidden,
        "protection": bundle.manifest.protection,
        "budget_bits": bundle.manifest.budget_bits,
        "epsilon": bundle.manifest.epsilon,
        "noise": bundle.manifest.noise,
        "poor_bits": bundle.manifest.poor_bits,
        "rich_share": bundle.manifest.rich_share,
        "seed": cell.seed,
        "obfuscation_share": row.obfuscation_share,
        "accuracy": {
            "raw": accuracy(inference.network, dataset.test),
            "obfuscated": float((answered == dataset.test.labels).mean()),
        },
        "baselines": baselines,
        "cost": {"parameters": bundle.manifest.parameters, "macs": bundle.manifest.macs},
        "parity": None
        if bundle.manifest.budget_bits is None or bundle.manifest.draws
        else measure_parity(bundle, dataset.test.samples),
        "latency": time_obfuscation(bundle, dataset.test.samples[:1]),
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
    known = cells([row for rows in _ROWS.values() for row in rows], seed=settings.seed)
    order = [_named(cell, settings.seed) for cell in sorted(known, key=lambda cell: _place(cell.row))]
    return {
        "command": command,
        "budget": settings.budget,
        "seed": settings.seed,
        "rows": [rows[name] for name in order if name in rows],
        **provenance(),
    }


def _place(row: Row) -> int:
    return [other.name for rows in _ROWS.values() for other in rows].index(row.name)
