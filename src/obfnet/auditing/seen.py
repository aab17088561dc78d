"""A subject as its attackers see it: averaged down, or heard, where its own samples are too large."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from obfnet.auditing.duplicates import names_of_rows
from obfnet.auditing.subject import AttackerPart, AuditSubject, ScoredPart
from obfnet.core.errors import DataError
from obfnet.core.spec import Samples


def seen_as(
    subject: AuditSubject,
    attacker: AttackerPart,
    scored: ScoredPart,
    *,
    how: str,
    warnings: Sequence[str],
    repeats: Callable[[int], Samples] | None,
) -> AuditSubject:
    """A subject with other samples of the same, without the networks, which take its own.

    Args:
        subject: As it was.
        attacker: What the attacker then has, as many as before.
        scored: What it is scored on, likewise.
        how: What was done to the samples, for messages.
        warnings: What a reader of the figures must know besides.
        repeats: As of the subject, of the other samples.

    Returns:
        Samples of the attacker's that are copies of scored ones now are left out, and counted.

    Raises:
        DataError: nothing is left to the attacker.
    """
    # What differed in a detail only may be the same now, and nobody may know what it is scored on.
    own = np.flatnonzero(~np.isin(names_of_rows(attacker.raw), names_of_rows(scored.raw)))
    if len(own) == 0:
        raise DataError(
            "training samples that are not among the tested",
            f"none, once they are {how}",
            "take samples that differ more",
        )
    said = list(warnings)
    if lost := len(attacker) - len(own):
        said.append(f"{lost} of the attacker's samples are then copies of scored ones: left out")
    return replace(
        subject,
        attacker=attacker.take(own) if lost else attacker,
        scored=scored,
        pool=(),
        network=None,
        repeats=repeats,
        warnings=(*subject.warnings, *said),
        duplicates_removed=subject.duplicates_removed + lost,
    )
