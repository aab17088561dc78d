"""Where the trials of an audit run: in this process or on a cluster, with the same result.

A trial depends on its attack, its variant of the subject and its settings, and on no other trial. It is on
disk as soon as it is finished, so that a killed audit goes on with what was missing.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

from obfnet.attacks import ATTACKS
from obfnet.auditing.contest import Outcome, ends_contest
from obfnet.auditing.guard import AttackFaultError
from obfnet.auditing.subject import AuditSubject
from obfnet.auditing.trial import TrialSettings, run_trial
from obfnet.core.progress import Progress

Deliver = Callable[[int, Mapping[TrialSettings, Outcome]], None]


class Engine(Protocol):
    """Runs the trials of attacks."""

    def check(self) -> None:
        """Raises at once where the engine cannot run: before samples are read and networks trained."""

    def attack(
        self,
        names: Sequence[str],
        trials: Sequence[TrialSettings],
        variants: Mapping[str, AuditSubject],
        deliver: Deliver,
        *,
        folder: Path,
        progress: Progress,
    ) -> None:
        """Tries every attack on everything and delivers each when it is done, in any order.

        Args:
            names: Of the attacks.
            trials: Of each attack; after one that `ends_contest` the later ones are not needed.
            variants: Of the subject, by their names in `trials`.
            deliver: Gets the attack's place in `names`, and its outcomes in the order of `trials`.
            folder: Where finished trials are kept; those that are there are not run again.
            progress: Told of every attack.

        Raises:
            UnknownNameError, MissingExtraError: an attack cannot be had.
            OutputError: `folder` cannot be written.
        """


@final
@dataclass(frozen=True)
class Local:
    """Runs trials in this process, one after the other."""

    def check(self) -> None:
        """As `Engine.check`: it can always run."""

    def attack(
        self,
        names: Sequence[str],
        trials: Sequence[TrialSettings],
        variants: Mapping[str, AuditSubject],
        deliver: Deliver,
        *,
        folder: Path,
        progress: Progress,
    ) -> None:
        """As `Engine.attack`, in the order of the names."""
        begun = time.monotonic()
        for number, name in enumerate(names):
            attack_class = ATTACKS.get(name)
            left = _time_left(begun, number, len(names))
            progress.say(f"attack {number + 1} of {len(names)}: {name} ({attack_class.threat_level}){left}")
            outcomes: dict[TrialSettings, Outcome] = {}
            for trial in trials:
                try:
                    outcomes[trial] = run_trial(
                        attack_class(effort=trial.effort),
                        variants[trial.variant],
                        trial,
                        folder=folder,
                        progress=progress,
                    )
                except AttackFaultError as exc:
                    outcomes[trial] = exc
                if ends_contest(trial, outcomes[trial]):
                    break
            deliver(number, outcomes)


def _time_left(begun: float, done: int, total: int) -> str:
    if done == 0:
        return ""
    left = (time.monotonic() - begun) / done * (total - done)
    return f", about {left / 60:.0f} min left" if left >= 90 else f", about {left:.0f} s left"
