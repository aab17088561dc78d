"""Large pictures as an audit looks at them: averaged down, so that attackers can be trained on them.

What is rebuilt of a photograph of a camera's size can be told at a smaller size: a figure of leakage is then
one of that size. Both sides see the smaller pictures, what was sent among them; a decoder for the full size
takes hours on a processor, for details that SSIM at the smaller size does not see.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from obfnet.auditing.subject import AttackerPart, AuditSubject, ScoredPart
from obfnet.core.progress import Progress
from obfnet.core.spec import Samples
from obfnet.data.rows import AnyRows, Rows, batches

MOST_SIDE: Final = 64
"""Larger pictures are averaged down, by the smallest whole factor that makes them as small."""


def within_size(subject: AuditSubject, limit: int, *, progress: Progress) -> AuditSubject:
    """A subject whose pictures are small enough to be attacked.

    Args:
        subject: Whatever is audited.
        limit: Most samples that the attacker has.
        progress: Told of the averaging, which runs the network once over every sample.

    Returns:
        The same where its pictures are small or no pictures. Otherwise its samples averaged down, raw and
        received alike, and held in memory in half precision; the networks, which take the full size, are
        left out, and a warning says so.

    Does not guarantee: anything about details that the smaller size does not show.
    """
    height, width = subject.scored.raw.shape[-2:]
    factor = -(-max(height, width) // MOST_SIDE)
    if subject.scored.raw.ndim != 4 or factor == 1:
        return subject
    size = (-(-height // factor), -(-width // factor))
    subject, repeats = subject.limited(limit), subject.repeats
    attacker, scored = subject.attacker, subject.scored
    parts = (attacker.raw, attacker.received, scored.raw, scored.received)
    progress.start(f"average pictures down to {size[0]}x{size[1]}", sum(map(len, parts)))
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress.advance(done)

    raw, received, raw_scored, received_scored = (_averaged(rows, size, count) for rows in parts)
    progress.finish()
    warning = (
        f"pictures of {height}x{width} were averaged down to {size[0]}x{size[1]}, raw and sent ones: finer "
        "details are not measured, and attacks that need the network itself were not run"
    )
    return replace(
        subject,
        attacker=AttackerPart(
            raw=raw, received=received, labels=attacker.labels, attribute=attacker.attribute
        ),
        scored=ScoredPart(
            raw=raw_scored, received=received_scored, answered=scored.answered, attribute=scored.attribute
        ),
        pool=(),
        network=None,
        repeats=None if repeats is None else lambda number: _smaller(repeats(number), size),
        warnings=(*subject.warnings, warning),
    )


def _averaged(rows: AnyRows, size: tuple[int, int], count: Callable[[int], None]) -> Rows:
    parts = []
    for some in batches(rows):
        parts.append(_smaller(some, size).astype(np.float16))
        count(len(some))
    held = np.concatenate(parts)
    return Rows(lambda index: held[index].astype(np.float32), held.shape, np.float32)


def _smaller(pictures: Samples, size: tuple[int, int]) -> Samples:
    smaller: Samples = adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(pictures)), size).numpy()
    return smaller
