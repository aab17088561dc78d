"""How much an audit does: which attacks, how long each, on how many samples, and how sure it wants to be.

A budget fixes all of it, so that two audits of one budget can be compared; what is attacked is `subject`'s.
"""

from dataclasses import dataclass
from typing import Final

from obfnet.attacks import ATTACKS, KNOWLEDGE
from obfnet.core.errors import UnknownNameError, UsageError
from obfnet.metrics import METRICS

FLOOR: Final = "class-mean"
"""The attack that is the floor: it looks at nothing but the label."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What an audit may spend.

    Args:
        name: `quick`, `standard` or `thorough`.
        effort: Share of a standard training of each attack, > 0.
        attack_seeds: Times that each attack is fitted on the obfuscated samples, ≥ 1.
        attacker: Most samples that the attacker has.
        scored: Most samples that attacks are scored on.
        control_attacker: Most samples that the attacker has in the control on a constant output.
        time_limit_s: Longest time of one fit and its answers; an attack that takes longer is not counted.
        resamples: Of every bootstrap interval.
        skipped: Attacks that are left out for their cost, unless they are named.
    """

    name: str
    effort: float
    attack_seeds: int
    attacker: int
    scored: int
    control_attacker: int
    time_limit_s: float
    resamples: int
    skipped: tuple[str, ...] = ()


BUDGETS: Final = {
    "quick": Budget(
        name="quick",
        effort=0.2,
        attack_seeds=1,
        attacker=15_000,
        scored=1_000,
        control_attacker=1_000,
        time_limit_s=300,
        resamples=1_000,
        skipped=("large-decoder", "residual-decoder", "adversarial-decoder", "pool-decoder", "inversion"),
    ),
    "standard": Budget(
        name="standard",
        effort=1.0,
        attack_seeds=1,
        attacker=60_000,
        scored=1_000,
        control_attacker=2_000,
        time_limit_s=900,
        resamples=2_000,
    ),
    "thorough": Budget(
        name="thorough",
        effort=3.0,
        attack_seeds=3,
        attacker=1_000_000,
        scored=10_000,
        control_attacker=4_000,
        time_limit_s=14_400,
        resamples=5_000,
    ),
}


@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """What to run.

    Args:
        budget: One of `BUDGETS`.
        threat_level: The highest level whose attacks are run; None takes the subject's own.
        attacks: Names; empty takes all that the threat level allows and the budget affords.
        metrics: Names; empty takes all that suit the samples.
        seed: Of the cut, the attacks and the intervals.

    Raises:
        UsageError: a threat level that is none.
        UnknownNameError: no such budget, attack or metric.
    """

    budget: str = "standard"
    threat_level: str | None = None
    attacks: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.budget not in BUDGETS:
            raise UnknownNameError("budget", self.budget, list(BUDGETS))
        if self.threat_level is not None and self.threat_level not in KNOWLEDGE:
            raise UsageError("a threat level of T0 to T3", repr(self.threat_level), "change --threat")
        for kind, names, known in (
            ("attack", self.attacks, ATTACKS.names()),
            ("metric", self.metrics, METRICS.names()),
        ):
            for name in names:
                if name not in known:
                    raise UnknownNameError(kind, name, known)

    def spending(self) -> Budget:
        """The budget's content."""
        return BUDGETS[self.budget]

    def chosen_attacks(self, threat_level: str) -> list[str]:
        """Names of the attacks to run, cheapest knowledge first; the floor is not among them.

        Args:
            threat_level: The highest level.
        """
        left_out = () if self.attacks else self.spending().skipped
        names = [
            name
            for name in self.attacks or ATTACKS.names()
            if name != FLOOR and name not in left_out and ATTACKS.get(name).threat_level <= threat_level
        ]
        return sorted(names, key=lambda name: ATTACKS.get(name).threat_level)
