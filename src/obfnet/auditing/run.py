"""The audit as a user runs it: reads the source, attacks it, and leaves `audit.json` and a page.

After every attack both files are written, so that a stopped audit leaves a valid report that says it is
partial; finished trials are kept beside them, and the same command goes on from there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from torch import nn

from obfnet.attacks.known_network import KnownNetwork
from obfnet.auditing.attacking import Engine
from obfnet.auditing.engine import Audit, audit_subject
from obfnet.auditing.heard import as_heard
from obfnet.auditing.model_audit import audit_model, former_document
from obfnet.auditing.pairs import read_pairs
from obfnet.auditing.pictures import pictures_of
from obfnet.auditing.reduced import within_size
from obfnet.auditing.settings import AuditSettings
from obfnet.auditing.subject import AuditSubject, subject_of_pairs, subject_of_sessions
from obfnet.bundle import Bundle, Trust, read_bundle, read_pool
from obfnet.core.errors import DataError, UsageError
from obfnet.core.files import claim_output, write_atomic, write_json
from obfnet.core.progress import Progress, Silent
from obfnet.core.spec import as_unit
from obfnet.data.case import Dataset
from obfnet.data.cases import load_case_for
from obfnet.data.rows import mapped
from obfnet.report.audit_page import render_audit
from obfnet.training.classifier import answers
from obfnet.training.inference import InferenceNetwork, load_inference

_PAIRS: Final = ".npz"


@dataclass(frozen=True, kw_only=True)
class AuditRequest:
    """What the user asked to be audited.

    Args:
        source: A pool's folder, a bundle, or recorded pairs (`.npz`).
        case: Data set that a pool or a bundle is attacked with.
        split: How it is cut; None takes its first rule.
        skip_bad: Whether samples that cannot be read are left out.
        inference: Folder of the inference network, or None.
        data_dir: Folder with the data sets, or None.
        trust: Public keys to accept.
        side: `data`: what leaks of the samples; `model`: what a bundle tells about the inference network.
    """

    source: Path
    case: str | None = None
    split: str | None = None
    skip_bad: bool = False
    inference: Path | None = None
    data_dir: Path | None = None
    trust: tuple[str, ...] = ()
    side: Literal["data", "model"] | str = "data"


def audit(
    source: Path | str,
    *,
    out: Path | str,
    case: str | None = None,
    split: str | None = None,
    inference: Path | str | None = None,
    budget: str = "standard",
    threat_level: str | None = None,
    attacks: tuple[str, ...] = (),
    trust: tuple[str, ...] = (),
    data_dir: Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> dict[str, Any]:
    """Attacks a pool, a bundle or recorded pairs in many ways, and says how much leaks.

    Args:
        source: A pool's folder, a bundle, or `PAIRS.npz` with arrays `raw`, `obfuscated`, `label` and, where
            there is one, `attribute`.
        out: Folder for `audit.json`, `report.html` and finished trials.
        case: Data set that a pool or a bundle is attacked with.
        split: How it is cut; None takes its first rule.
        inference: Folder of the inference network that answers; None takes the true labels for its answers.
        budget: `quick`, `standard` or `thorough`.
        threat_level: The highest level whose attacks are run; None takes T2, and T3 for pairs.
        attacks: Names; empty takes all that the budget runs.
        trust: Public keys to accept.
        data_dir: Folder with the data sets, or None.
        seed: Of everything random.
        progress: Told of every step.
        engine: Where attacks run; None runs them in this process.

    Returns:
        The content of `audit.json`.

    Raises:
        ObfNetError: as `run_audit`.

    Does not guarantee: that nobody rebuilds more. Every figure is a lower bound on what leaks.
    """
    request = AuditRequest(
        source=Path(source),
        case=case,
        split=split,
        inference=None if inference is None else Path(inference),
        data_dir=data_dir,
        trust=trust,
    )
    settings = AuditSettings(budget=budget, threat_level=threat_level, attacks=attacks, seed=seed)
    command = f"obfnet.audit({str(source)!r}, budget={budget!r}, seed={seed})"
    return run_audit(
        request, settings, out=Path(out), progress=progress or Silent(), command=command, engine=engine
    )


def run_audit(
    request: AuditRequest,
    settings: AuditSettings,
    *,
    out: Path,
    progress: Progress,
    command: str,
    engine: Engine | None = None,
) -> dict[str, Any]:
    """Audits what was asked for.

    Args:
        request: What.
        settings: How.
        out: Folder for `audit.json`, `report.html` and finished trials; empty, missing, or a former audit's.
        progress: Told of every step.
        command: For the result file.
        engine: Where attacks run; None runs them in this process. The model side has no such attacks.

    Returns:
        The content of `audit.json`.

    Raises:
        UsageError: a pool without a case, the model side of recorded pairs or with an engine, or no cluster
            where the engine looks for one.
        MissingExtraError: the engine is not installed.
        BundleError, DataError, NoSourceError: the source or its data set cannot be used.
        AttackError: no attack passed its controls.
        OutputError: `out` holds other content, is in use, or cannot be written.

    Does not guarantee: that nobody rebuilds more. Every figure is a lower bound on what leaks.
    """
    _check(request)
    if engine is not None:
        if request.side == "model":
            raise UsageError("--engine local for --side model", "another engine", "leave --engine out")
        engine.check()
    with claim_output(out, kind="audit"):
        if request.source.suffix == _PAIRS:
            subject, dataset = _recorded(request, settings, out, progress), None
        else:
            bundles, dataset, network = _opened(request, progress)
            if request.side == "model":
                return _model_side(bundles, dataset, network, request, settings, out, progress, command)
            subject = subject_of_bundles(
                bundles, dataset, None if network is None else network.network, settings
            )
        former = former_document(out / "audit.json", subject.name)
        kept = {} if former is None else {"model_confidentiality": former.get("model_confidentiality")}
        about = {**_about(request, dataset, command), **kept}
        return audit_into(out, subject, settings, about=about, progress=progress, engine=engine)


def audit_into(
    out: Path,
    subject: AuditSubject,
    settings: AuditSettings,
    *,
    about: Mapping[str, Any],
    progress: Progress,
    useful: Mapping[str, Any] | None = None,
    engine: Engine | None = None,
) -> dict[str, Any]:
    """Attacks a subject, and leaves `audit.json`, `report.html` and finished trials in a folder.

    Args:
        out: The folder, which is there and the caller's.
        subject: What is attacked.
        settings: How.
        about: What the document says besides.
        progress: Told of every step.
        useful: What else the report shows, as `render_audit` takes it.
        engine: Where attacks run; None runs them in this process.

    Returns:
        The content of `audit.json`.

    Raises:
        AttackError: no attack passed its controls.
        OutputError: `out` cannot be written.
    """
    work = out / "trials"
    # Only now: a source that cannot be read leaves no folder behind.
    work.mkdir(exist_ok=True)
    limit = settings.spending().attacker
    subject = as_heard(within_size(subject, limit, progress=progress), limit, progress=progress)

    def save(audit: Audit) -> None:
        page = render_audit(audit.document, pictures_of(subject, audit), useful=useful)
        # The page first: where there is a document there is its page.
        write_atomic(out / "report.html", page)
        write_json(out / "audit.json", audit.document)

    return audit_subject(
        subject, settings, folder=work, progress=progress, about=about, save=save, engine=engine
    ).document


def _model_side(
    bundles: list[Bundle],
    dataset: Dataset,
    network: InferenceNetwork | None,
    request: AuditRequest,
    settings: AuditSettings,
    out: Path,
    progress: Progress,
    command: str,
) -> dict[str, Any]:
    if network is None:
        raise UsageError("--inference for --side model", "none", "give the folder of the inference network")
    document = audit_model(
        dataset,
        tuple(KnownNetwork.of(bundle) for bundle in bundles),
        network,
        settings,
        about=_about(request, dataset, command),
        name=bundles[0].manifest.name,
        guarantee=bundles[0].manifest.guarantee,
        file=out / "audit.json",
        progress=progress,
    )
    page = render_audit(document, None)
    write_atomic(out / "report.html", page)
    write_json(out / "audit.json", document)
    return document


def _check(request: AuditRequest) -> None:
    if not request.source.exists():
        raise DataError(
            "a pool's folder, a bundle or recorded pairs", f"nothing at {request.source}", "check the path"
        )
    if request.source.suffix == _PAIRS:
        if request.side == "model":
            raise UsageError("a pool or a bundle for --side model", "recorded pairs", "give the bundle")
        return
    if request.case is None:
        raise UsageError("--case for a pool or a bundle", "none", "name the data set that it was made for")
    if request.side == "model" and request.inference is None:
        raise UsageError("--inference for --side model", "none", "give the folder of the inference network")


def _recorded(request: AuditRequest, settings: AuditSettings, work: Path, progress: Progress) -> AuditSubject:
    budget = settings.spending()
    pairs = read_pairs(request.source, work=work, progress=progress)
    return subject_of_pairs(
        pairs, seed=settings.seed, scored=budget.scored, limit=budget.attacker, name=request.source.stem
    )


def _opened(
    request: AuditRequest, progress: Progress
) -> tuple[list[Bundle], Dataset, InferenceNetwork | None]:
    trust = Trust(explicit=request.trust, say=progress.say)
    if request.source.is_dir():
        bundles = list(read_pool(request.source, trust=trust).bundles)
    else:
        bundles = [read_bundle(request.source, trust=trust)]
    network = None if request.inference is None else load_inference(request.inference)
    made_for = bundles[0].manifest.inference_network_id
    if network is not None and network.card.id != made_for:
        raise UsageError(
            f"the inference network {made_for[:12]} that the pool was made for",
            network.card.id[:12],
            "give that one with --inference",
        )
    dataset = load_case_for(
        bundles[0].input,
        request.case or "",
        split=request.split,
        data_dir=request.data_dir,
        skip_bad=request.skip_bad,
        progress=progress,
    )
    return bundles, dataset, network


def subject_of_bundles(
    bundles: Sequence[Bundle], dataset: Dataset, network: nn.Module | None, settings: AuditSettings
) -> AuditSubject:
    """What an audit attacks: the first of these bundles, with the others known.

    Args:
        bundles: Of one pool.
        dataset: With what they are attacked.
        network: The inference network, `(N, C, H, W)` in [0, 1] to scores, whose answers are its labels; None
            takes the true labels for its answers.
        settings: How.

    Raises:
        DataError: nothing is left to the attacker.
    """
    budget = settings.spending()
    known = tuple(KnownNetwork.of(bundle) for bundle in bundles)
    # Whatever the wire's type, attackers and the network see float32 in [0, 1].
    received = known[0].sent_once(mapped(dataset.test.samples, as_unit))
    return subject_of_sessions(
        dataset,
        known,
        index=0,
        answered=None if network is None else answers(network, received),
        received=received,
        sent=known[0].in_turn,
        limit_pairs=budget.attacker,
        limit_scored=budget.scored,
        guarantee=bundles[0].manifest.guarantee,
        name=bundles[0].manifest.name,
        identity=bundles[0].sha256,
    )


def _about(request: AuditRequest, dataset: Dataset | None, command: str) -> Mapping[str, Any]:
    obfuscator = "pool" if request.source.is_dir() else "bundle"
    return {
        "command": command,
        "source": "pairs" if dataset is None else obfuscator,
        "case": None if dataset is None else dataset.spec.name,
        "split": None if dataset is None else dataset.split,
        "reproduce": [command],
    }
