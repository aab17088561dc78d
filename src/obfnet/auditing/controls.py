"""Obfuscations whose leakage is known beforehand, in whose place an attack shows that it is able and honest.

The raw sample itself, the same for every sample, and a picture of the label alone.
"""

import math
from dataclasses import replace
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from obfnet.auditing.subject import AuditSubject, Labels
from obfnet.core.spec import Samples, as_unit
from obfnet.data.rows import Rows, mapped
from obfnet.guarantees.statement import NO_GUARANTEE

Control = Literal["identity", "label", "constant"]


def as_control(subject: AuditSubject, kind: Control) -> AuditSubject:
    """The same samples under an obfuscation whose leakage is known.

    Args:
        subject: What is audited.
        kind: `identity`: the raw sample itself. `constant`: 0.5 everywhere. `label`: a picture of the label
            with a run of pixels of its own for each class, where raw samples are pictures; otherwise one
            value for each class, of which the label's is 1. The attacker's show its own labels, the scored
            the answered ones.

    Returns:
        A subject whose networks and repeats are the control's; none for `label`, which no network that sees
        only the sample can put out.
    """
    shape = subject.scored.raw.shape[1:]
    if kind == "label":
        known, asked = (
            label_rows(labels, len(subject.classes), shape)
            for labels in (subject.attacker.labels, subject.scored.answered)
        )
        network = None
    else:
        network = _Identity() if kind == "identity" else _Constant()
        known, asked = (mapped(raw, network.obfuscate) for raw in (subject.attacker.raw, subject.scored.raw))
    return replace(
        subject,
        name=f"{subject.name} ({kind})",
        attacker=replace(subject.attacker, received=known),
        scored=replace(subject.scored, received=asked),
        pool=(network,) * len(subject.pool) if network is not None else (),
        network=network if subject.network is not None else None,
        repeats=(lambda number: asked[:]) if subject.repeats is not None else None,
        guarantee=NO_GUARANTEE,
        identity=kind,
    )


@final
class _Identity:
    """An obfuscator that does nothing."""

    def obfuscate(self, raw: Samples) -> Samples:
        return as_unit(raw)

    def differentiable(self) -> Any:
        from torch import nn

        return nn.Identity()


@final
class _Constant:
    """An obfuscator that puts out the same whatever comes."""

    def obfuscate(self, raw: Samples) -> Samples:
        return np.full(raw.shape, 0.5, np.float32)

    def differentiable(self) -> Any:
        from torch import nn

        # Whatever is not above infinity becomes 0.5.
        return nn.Threshold(math.inf, 0.5)


def label_rows(labels: Labels, classes: int, shape: tuple[int, ...]) -> Rows:
    """What a backend receives that is told the label and nothing else: the same picture for all of a label.

    Args:
        labels: `(N,)` int64.
        classes: How many there are.
        shape: Of a raw sample.

    Returns:
        `(N, *shape)` float32, made when read; `(N, classes)` where raw samples are no pictures.
    """
    pictures = _label_pictures(classes, shape)
    return Rows(lambda index: pictures[labels[index]], (len(labels), *pictures.shape[1:]), pictures.dtype)


def _label_pictures(count: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """One for each class, `(count, *shape)`, or `(count, count)` where samples are no pictures."""
    if len(shape) != 3:
        return np.eye(count, dtype=np.float32)
    pixels = shape[1] * shape[2]
    pictures = np.zeros((count, pixels), np.float32)
    if count <= pixels:
        edges = np.arange(count + 1) * pixels // count
        for label in range(count):
            pictures[label, edges[label] : edges[label + 1]] = 1
    else:
        # Too few pixels for a run each: any pictures that differ do.
        pictures = np.random.default_rng(0).integers(0, 2, pictures.shape).astype(np.float32)
    return np.broadcast_to(pictures.reshape(count, 1, *shape[1:]), (count, *shape))
