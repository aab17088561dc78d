"""Large pictures as an audit looks at them: averaged down, so that attackers can be trained on them.

What is rebuilt of a photograph of a camera's size can be told at a smaller size: a figure of leakage is then
one of that size. Both sides see the smaller pictures, what was sent among them; a decoder for the full size
takes hours on a processor. What is sent may tell of a sample by patterns that averaging wipes out: how much
of what differs between requests is left is measured, and said where it is little.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, final

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from obfnet.auditing.seen import seen_as
from obfnet.auditing.subject import AttackerPart, AuditSubject, ScoredPart
from obfnet.core.progress import Progress
from obfnet.core.spec import Samples
from obfnet.data.rows import AnyRows, Rows, batches
from obfnet.report.audit_verdict import MUCH_KEPT

MOST_SIDE: Final = 64
"""Larger pictures are averaged down, by the smallest whole factor that makes them as small."""
_NO_VARIANCE: Final = 1e-9


def within_size(subject: AuditSubject, limit: int, *, progress: Progress) -> AuditSubject:
    """A subject whose pictures are small enough to be attacked.

    Args:
        subject: Whatever is audited.
        limit: Most samples that the attacker has.
        progress: Told of the averaging, which runs the network once over every sample.

    Returns:
        The same where its pictures are small or no pictures. Otherwise its samples averaged down, raw and
        received alike, and held in memory in half precision; received ones that are small or no pictures
        stay as they are. The networks, which take the full size, and samples of the attacker's that become
        copies of scored ones are left out. Warnings say so, `reduced_to` to what, and `sent_kept` how much of
        the received pictures is left.

    Raises:
        DataError: nothing is left to the attacker.

    Does not guarantee: anything about details that the smaller size does not show, nor about what is told
        by finer patterns of the received pictures: an attacker of the full size may rebuild more.
    """
    height, width = subject.scored.raw.shape[-2:]
    size = _size(subject.scored.raw)
    if subject.kind != "pictures" or size is None:
        return subject
    subject, repeats = subject.limited(limit), subject.repeats
    attacker, scored = subject.attacker, subject.scored
    sent_size = _size(scored.received)
    parts = (
        (attacker.raw, size),
        (attacker.received, sent_size),
        (scored.raw, size),
        (scored.received, sent_size),
    )
    progress.start(f"average pictures down to {size[0]}x{size[1]}", sum(len(rows) for rows, _ in parts))
    done, sent = 0, _Variance(scored.received.shape[1:])

    def look(some: Samples, rows: AnyRows) -> None:
        nonlocal done
        done += len(some)
        progress.advance(done)
        if rows is scored.received:
            sent.add(some)

    raw, received, raw_scored, received_scored = (_averaged(rows, to, look) for rows, to in parts)
    progress.finish()
    kept = None if sent_size is None else sent.share_in(received_scored)
    warnings = [
        f"pictures of {height}x{width} were averaged down to {size[0]}x{size[1]}, raw and sent ones: finer "
        "details, and what finer patterns of the sent ones tell, are not measured, and attacks that need the "
        "network itself were not run"
    ]
    if kept is not None and kept < MUCH_KEPT:
        warnings.append(
            f"averaging leaves {kept:.0%} of what differs between the sent pictures: these attackers never "
            "saw most of what a backend receives, which may tell far more of the samples"
        )
    small = seen_as(
        subject,
        AttackerPart(raw=raw, received=received, labels=attacker.labels, attribute=attacker.attribute),
        ScoredPart(
            raw=raw_scored, received=received_scored, answered=scored.answered, attribute=scored.attribute
        ),
        how=f"averaged down to {size[0]}x{size[1]}",
        warnings=warnings,
        repeats=None if repeats is None else lambda number: _smaller(repeats(number), sent_size),
    )
    return replace(small, reduced_to=size, sent_kept=kept)


def _size(rows: AnyRows) -> tuple[int, int] | None:
    """Height and width that pictures are averaged down to; None where they are small, or no pictures."""
    if len(rows.shape) != 4:
        return None
    height, width = rows.shape[-2:]
    factor = -(-max(height, width) // MOST_SIDE)
    return None if factor == 1 else (-(-height // factor), -(-width // factor))


def _averaged(rows: AnyRows, size: tuple[int, int] | None, look: Callable[[Samples, AnyRows], None]) -> Rows:
    parts = []
    for some in batches(rows):
        parts.append(_smaller(some, size).astype(np.float16))
        look(some, rows)
    held = np.concatenate(parts)
    return Rows(lambda index: held[index].astype(np.float32), held.shape, np.float32)


def _smaller(pictures: Samples, size: tuple[int, int] | None) -> Samples:
    if size is None:
        return pictures
    smaller: Samples = adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(pictures)), size).numpy()
    return smaller


@final
class _Variance:
    """Of each value over all pictures that were seen, the mean over values."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._count, self._total, self._squares = 0, np.zeros(shape), np.zeros(shape)

    def add(self, some: Samples) -> None:
        self._count += len(some)
        self._total += some.sum(0, dtype=np.float64)
        self._squares += np.square(some, dtype=np.float64).sum(0)

    @property
    def value(self) -> float:
        return float((self._squares / self._count - (self._total / self._count) ** 2).mean())

    def share_in(self, smaller: AnyRows) -> float:
        """How much of it is left in the smaller pictures; 1 where all are the same."""
        left = _Variance(smaller.shape[1:])
        for some in batches(smaller):
            left.add(some)
        return 1.0 if self.value < _NO_VARIANCE else min(1.0, left.value / self.value)
