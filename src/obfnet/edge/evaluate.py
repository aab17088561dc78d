"""How often the deployed backend is right about a pool's samples: asks it, and counts.

Test samples of a case go through the device's own code, to the server that devices will ask, so that the
figure has everything in it that training could not see: the model that is really served, its precision, the
wire. Nothing is trained or chosen here, and leakage is the audit's business.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import (
    BackendError,
    BackendProtocolError,
    BackendRefusedError,
    BackendUnavailableError,
    BudgetSpentError,
    ObfNetError,
    UsageError,
)
from obfnet.core.interval import wilson
from obfnet.core.progress import Progress, Silent
from obfnet.core.result import provenance
from obfnet.core.spec import as_unit
from obfnet.data.cases import load_case_for
from obfnet.data.rows import AnyRows, mapped, taken
from obfnet.edge.asking import asked
from obfnet.edge.device import Answer, Device, UnsafeRawPassthrough
from obfnet.edge.origin import OutputOrder, cut_as_trained, order_of, origin_of

SAMPLES: Final = 200
"""Test samples that are asked about, unless another number is given."""

_SHOWN: Final = 16

# Who answers otherwise than the protocol says is no backend that stopped answering.
_ANSWERLESS: Final = (BackendUnavailableError, BackendRefusedError)

Labels = npt.NDArray[np.int64]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What the backend answered, counted.

    Args:
        figures: JSON-ready; `accuracy`, `bundles`, `agreement`, `samples`, `complete` and how it was made.
    """

    figures: dict[str, Any]

    @property
    def complete(self) -> bool:
        """Whether all samples were asked about; otherwise the figures are of a part."""
        return bool(self.figures["complete"])

    @property
    def report(self) -> str:
        """The figures in a few lines."""
        return "\n".join(report_lines(self.figures))


def evaluate(
    device: Device,
    case: str,
    *,
    raw: UnsafeRawPassthrough | None = None,
    samples: int = SAMPLES,
    classes: Sequence[str] = (),
    split: str | None = None,
    batch: int = 1,
    skip_bad: bool = False,
    seed: int = 0,
    data_dir: Path | None = None,
    command: str = "obfnet.evaluate(...)",
    progress: Progress | None = None,
) -> Evaluation:
    """Asks a real backend about test samples of a case, and counts how often it is right.

    Args:
        device: Obfuscates with its pool, counts bits and asks the backend; open, and left open.
        case: A case's name, or a folder or CSV file, cut as it was when the pool was trained.
        raw: Sends the same samples raw, UNPROTECTED, to the same backend, for comparison; None sends none.
        samples: Test samples to ask about, ≥ 1, drawn by the seed; all where there are fewer.
        classes: The model's classes in the order of its outputs; empty takes those that `protect` left beside
            the pool, and otherwise the case's own order.
        split: How the case is cut; None takes its first rule.
        batch: Samples a request, ≥ 1; more than one only where each sample has its own bundle (pick
            `"sample"`, or a pool of one).
        skip_bad: Whether samples that cannot be read are left out.
        seed: Draws the samples.
        data_dir: Folder with the data sets of the built-in cases.
        command: For the result.
        progress: Told of every step.

    Returns:
        The figures. Where the limit of bits was reached on the way, or the backend stopped answering, they
        are of the samples until then, and say so (`complete`, `stopped`).

    Raises:
        UsageError: a case of another shape or with other classes, samples that would share a bundle, or an
            order of labels that nobody knows, without `raw`.
        BudgetSpentError: the limit of bits allows no request.
        BackendError: the backend answers nothing at all, or with another number of classes.
        ObfNetError: as `load_case` and `Device.infer`.

    Does not guarantee: that other samples are answered as well as these; the interval is over samples of the
        same kind. With `raw` the backend has each of these samples beside its obfuscated form, which helps
        whoever attacks the pool: take samples that it may see.
    """
    progress = progress or Silent()
    _check(device, samples, batch)
    pool = device.pool
    dataset = load_case_for(
        device.spec, case, split=split, data_dir=data_dir, skip_bad=skip_bad, progress=progress
    )
    made = origin_of(pool, needed=not classes)
    order = order_of(made, dataset, tuple(classes))
    if order.classes is None and raw is None:
        raise UsageError(
            "the order of the model's labels, for a pool that was made without labels",
            "none",
            "give --classes, or --raw for the agreement with what is answered to raw samples",
        )
    test = dataset.test
    drawn = np.random.default_rng(seed).permutation(len(test.labels))[:samples]
    part = test.take(drawn)
    # Read as they are sent: a thousand photographs need not be in memory at once.
    wire = mapped(part.samples, lambda some: device.spec.to_wire(as_unit(some)))
    obfuscated, stopped = _obfuscated(device, wire, batch, order, progress)
    count, spent = len(obfuscated.labels), device.spent_bits
    plain = None
    if isinstance(stopped, BackendError):
        if order.classes is None:
            raise stopped
    elif raw is not None:
        answers = asked(
            raw, taken(wire, np.arange(count)), progress, batch=batch, task="ask about raw samples"
        )
        try:
            plain = _collected(answers, order).labels
        except _ANSWERLESS as exc:
            if order.classes is None:
                raise
            stopped = stopped or BackendError(
                "answers to the same samples raw",
                f"none that can be used, {exc.got}",
                "the figures are of obfuscated samples alone; ask again",
            )
    truth = None if order.classes is None else order.places[part.labels[:count]]
    figures = {
        **_counted(obfuscated, plain, truth),
        "samples": {"asked": count, "wanted": len(drawn), "test": len(test.labels)},
        "complete": stopped is None,
        "stopped": None if stopped is None else str(stopped),
        "case": dataset.spec.name,
        "split": dataset.split,
        "cut_as_trained": cut_as_trained(made, dataset),
        "classes": None if order.classes is None else list(order.classes),
        "labels_from": order.said_by,
        "pool": device.pool_id,
        "inference_network_id": pool.inference_network_id,
        "pick": device.pick,
        "batch": batch,
        "protocol": obfuscated.protocol,
        "budget_bits": device.budget_bits,
        "spent_bits": spent,
        "skipped": len(dataset.skipped),
        "command": command,
        "seed": seed,
        **provenance(),
    }
    return Evaluation(figures=figures)


def report_lines(figures: dict[str, Any]) -> list[str]:
    """What a user should know of the figures, for people."""
    asked_of, right = figures["samples"], figures["accuracy"]
    count = f"{asked_of['asked']} of {asked_of['test']} test samples of {figures['case']}"
    lines = []
    if not figures["complete"]:
        lines.append(
            f"A PART ONLY, {asked_of['asked']} of {asked_of['wanted']} samples: {figures['stopped']}"
        )
    if figures["cut_as_trained"] is False:
        lines.append(
            "MAYBE NOT UNSEEN: the case has other samples than when the pool was made, and is cut otherwise: "
            "some of these may have been trained on"
        )
    if right["obfuscated"] is not None:
        lines.append(f"accuracy of the backend's answers, {count}, obfuscated: {_shown(right, 'obfuscated')}")
        rows = sorted(figures["bundles"], key=lambda row: row["accuracy"])
        for row in rows[:_SHOWN]:
            lines.append(
                f"  {row['name']}: {row['right']} of {row['samples']} right, {_shown(row, 'accuracy')}"
            )
        if len(rows) > _SHOWN:
            lines.append(f"  and {len(rows) - _SHOWN} bundles that were right more often")
        lines.append(f"labels in the order of {figures['labels_from']}")
    if right["raw"] is not None:
        lines.append(f"accuracy of the answers to the same samples raw, unprotected: {_shown(right, 'raw')}")
    if figures["agreement"] is not None:
        lines.append(f"the same answer to raw and to obfuscated, {count}: {_shown(figures, 'agreement')}")
    if figures["spent_bits"] is not None:
        uncounted = (
            "" if figures["agreement"] is None else ", of obfuscated samples; raw ones are not counted"
        )
        lines.append(f"bits spent so far: {figures['spent_bits']:g}{uncounted}")
    return lines


@dataclass(frozen=True, kw_only=True, eq=False)
class _Collected:
    labels: Labels
    bundles: tuple[str, ...]
    protocol: str


def _check(device: Device, samples: int, batch: int) -> None:
    if samples < 1 or batch < 1:
        raise UsageError(
            "at least 1 sample, 1 a request", f"{samples}, {batch} a request", "ask for one or more"
        )
    if batch > 1 and device.pick == "request" and len(device.pool.bundles) > 1:
        raise UsageError(
            "1 sample a request where each request picks a bundle",
            f"{batch}, which would share one and not be independent of each other",
            "leave out --batch, or give --pick sample",
        )


def _obfuscated(
    device: Device, wire: AnyRows, batch: int, order: OutputOrder, progress: Progress
) -> tuple[_Collected, ObfNetError | None]:
    done: list[Answer] = []
    stopped = None
    try:
        for answer in asked(device, wire, progress, batch=batch):
            _check_classes(answer, order)
            done.append(answer)
    except (BudgetSpentError, *_ANSWERLESS) as exc:
        if not done:
            raise
        count = sum(len(answer.labels) for answer in done)
        stopped = _stopped(exc, count, len(wire))
    return _collected(done, order), stopped


def _stopped(exc: BudgetSpentError | BackendError, count: int, wanted: int) -> ObfNetError:
    """Why the figures are of a part."""
    if isinstance(exc, BudgetSpentError):
        return BudgetSpentError(
            f"bits for {wanted} samples",
            f"the limit after {count}, {exc.got}",
            "the figures are of these alone; ask about fewer, or raise the limit if the person whose data it "
            "is agrees",
        )
    return BackendError(
        f"answers to {wanted} samples",
        f"none after {count}, {exc.got}",
        "the figures are of these alone; ask again once the backend is there",
    )


def _collected(answers: Iterable[Answer], order: OutputOrder) -> _Collected:
    labels: list[Labels] = []
    bundles: list[str] = []
    protocol = ""
    for answer in answers:
        _check_classes(answer, order)
        labels.append(answer.labels)
        bundles.extend(answer.bundles)
        protocol = answer.protocol
    return _Collected(labels=np.concatenate(labels), bundles=tuple(bundles), protocol=protocol)


def _check_classes(answer: Answer, order: OutputOrder) -> None:
    if order.classes is not None and answer.scores.shape[1] != len(order.classes):
        raise BackendProtocolError(
            f"scores of {len(order.classes)} classes, as {order.said_by} has them",
            f"{answer.scores.shape[1]} from the backend",
            "give the case and the --model that belong together, or all labels of the model with --classes",
        )


def _counted(obfuscated: _Collected, plain: Labels | None, truth: Labels | None) -> dict[str, Any]:
    right = None if truth is None else obfuscated.labels == truth
    names = np.array(obfuscated.bundles)
    bundles = []
    for name in sorted(set(obfuscated.bundles)):
        own = names == name
        row: dict[str, Any] = {"name": name, "samples": int(own.sum())}
        if right is not None:
            row |= {"right": int(right[own].sum()), **_share("accuracy", right[own])}
        bundles.append(row)
    return {
        "accuracy": {
            **_share("obfuscated", right),
            **_share("raw", None if plain is None or truth is None else plain == truth),
        },
        **_share("agreement", None if plain is None else plain == obfuscated.labels),
        "bundles": bundles,
    }


def _share(name: str, hits: npt.NDArray[np.bool_] | None) -> dict[str, Any]:
    value = None if hits is None else float(hits.mean())
    interval = None if hits is None or value is None else list(wilson(value, len(hits)))
    return {name: value, f"{name}_interval": interval}


def _shown(figures: dict[str, Any], name: str) -> str:
    low, high = figures[f"{name}_interval"]
    return f"{figures[name]:.2%} (95 % interval {low:.2%} to {high:.2%})"
