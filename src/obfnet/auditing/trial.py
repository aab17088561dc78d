"""One attack, fitted once on one variant of the subject and asked about the scored samples; kept on disk.

A finished trial is a file of its own, so that a stopped audit goes on where it was. What trials there are,
and what becomes of their scores, is `engine`'s.
"""

import io
import re
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.attacks import KNOWLEDGE, Insider, Observed, PoolKnown, ReconstructionAttack, WhiteBox
from obfnet.auditing.guard import checked_guesses, guarded
from obfnet.auditing.subject import AuditSubject
from obfnet.core.files import write_atomic
from obfnet.core.progress import Progress
from obfnet.core.spec import Samples, as_unit
from obfnet.data.rows import AnyRows, batches, mapped
from obfnet.fitting import fingerprint

PerSample = npt.NDArray[np.float64]

# Raised where an attack of ours works otherwise, so that former trials are not taken for the same.
_FORM: Final = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """What an attack guessed.

    Args:
        guesses: `(M, *raw_shape)` float16 in [0, 1], in the order of the scored samples.
        seconds: What fitting and answering took, when it was done.
    """

    guesses: npt.NDArray[np.float16]
    seconds: float

    def exchanged(self, answered: npt.NDArray[np.int64]) -> "Trial":
        """The same guesses, each given to another sample that was answered with the same label.

        Args:
            answered: Labels of the scored samples, `(M,)`; where one was answered once, its guess stays.
        """
        order = np.arange(len(answered))
        for label in np.unique(answered):
            own = np.flatnonzero(answered == label)
            order[own] = np.roll(own, 1)
        return Trial(guesses=self.guesses[order], seconds=self.seconds)

    def scores(self, metric: Any, raw: AnyRows) -> PerSample:
        """A metric of each guess, `(M,)`, batch by batch.

        Args:
            metric: `(raw, reconstructed)` to one value a sample.
            raw: The scored samples, `(M, *raw_shape)`.
        """
        done, parts = 0, []
        for some in batches(raw):
            guess = self.guesses[done : done + len(some)].astype(np.float32)
            parts.append(metric(as_unit(some), guess))
            done += len(some)
        return np.concatenate(parts)


@dataclass(frozen=True, kw_only=True)
class TrialSettings:
    """What decides a trial besides the attack and the subject.

    Args:
        variant: Of the subject, for the file's name: `obfuscated`, `identity`, `label` or `constant`.
        effort: Share of a standard training.
        seed: Of the attack.
        time_limit_s: Longest time.
    """

    variant: str
    effort: float
    seed: int
    time_limit_s: float


def run_trial(
    attack: ReconstructionAttack,
    subject: AuditSubject,
    settings: TrialSettings,
    *,
    folder: Path,
    progress: Progress,
) -> Trial:
    """Fits an attack on what its threat level knows, asks it, and keeps the answers; or takes kept ones.

    Args:
        attack: Freshly built.
        subject: The variant.
        settings: The rest.
        folder: Where trials are kept.
        progress: Told of every step.

    Raises:
        AttackFaultError: the attack raised, took too long, or answered nonsense.
        OutputError: `folder` cannot be written.
    """
    path = trial_path(attack, subject, settings, folder)
    if (found := kept_trial(path, subject.scored.raw.shape)) is not None:
        progress.say(f"{attack.name} on {settings.variant}: attacked before, taken from {path.name}")
        return found
    trial = fresh_trial(attack, subject, settings, progress=progress)
    keep_trial(path, trial)
    return trial


def trial_path(
    attack: ReconstructionAttack, subject: AuditSubject, settings: TrialSettings, folder: Path
) -> Path:
    """The file of a trial: another one for whatever may change its guesses.

    Args:
        attack: Freshly built.
        subject: The variant.
        settings: The rest.
        folder: Where trials are kept.
    """
    name = fingerprint(
        {
            "form": _FORM,
            "attack": attack.name,
            "class": type(attack).__module__,
            "options": {key: str(value) for key, value in vars(attack).items()},
            "subject": subject.fingerprint,
            "variant": settings.variant,
            "seed": settings.seed,
        }
    )
    stem = re.sub(r"[^\w.-]", "-", f"{attack.name}-{settings.variant}-{settings.seed}")
    return folder / f"{stem}-{name[:16]}.npz"


def fresh_trial(
    attack: ReconstructionAttack, subject: AuditSubject, settings: TrialSettings, *, progress: Progress
) -> Trial:
    """Fits an attack on what its threat level knows, and asks it; nothing is read or kept.

    Args:
        attack: Freshly built.
        subject: The variant.
        settings: The rest.
        progress: Told of every step.

    Raises:
        AttackFaultError: the attack raised, took too long, or answered nonsense.
    """
    scored, begun = subject.scored, time.monotonic()

    def work() -> Samples:
        knowledge = knowledge_of(subject, attack.threat_level)
        reconstruct = attack.fit(knowledge, seed=settings.seed, progress=progress)
        return reconstruct(as_unit(scored.received[:]), scored.answered)

    answers = guarded(attack.name, work, time_limit_s=settings.time_limit_s)
    guesses = checked_guesses(attack.name, answers, tuple(scored.raw.shape)).astype(np.float16)
    return Trial(guesses=guesses, seconds=round(time.monotonic() - begun, 2))


def keep_trial(path: Path, trial: Trial) -> None:
    """Writes a finished trial; raises `OutputError` where it cannot."""
    buffer = io.BytesIO()
    np.savez(buffer, guesses=trial.guesses, seconds=np.float64(trial.seconds))
    write_atomic(path, buffer.getvalue())


def knowledge_of(subject: AuditSubject, threat_level: str) -> Observed:
    """What an attacker of that level knows of a subject: an object of exactly that level's type.

    Args:
        subject: What is audited.
        threat_level: `T0` to `T3`.
    """
    attacker, scored = subject.attacker, subject.scored
    known: dict[str, Any] = {
        "raw": mapped(attacker.raw, as_unit),
        "labels": attacker.labels,
        "stream": mapped(scored.received, as_unit),
        "answered": scored.answered,
    }
    level = KNOWLEDGE[threat_level]
    if issubclass(level, PoolKnown):
        known["pool"] = subject.pool
    if issubclass(level, WhiteBox):
        known |= {"received": mapped(attacker.received, as_unit), "network": subject.network}
    if issubclass(level, Insider):
        known["repeats"] = subject.repeats
    return level(**known)


def kept_trial(path: Path, shape: tuple[int, ...]) -> Trial | None:
    """The trial in a file; None where there is none, or another one's.

    Args:
        path: As `trial_path` gives it.
        shape: Of the scored raw samples.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            content: Mapping[str, Any] = dict(stored)
        guesses = content["guesses"]
        if guesses.shape != tuple(shape) or guesses.dtype != np.float16:
            return None
        return Trial(guesses=guesses, seconds=float(content["seconds"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        # Cut short, or another version's: attacked again.
        return None
