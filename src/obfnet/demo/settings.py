"""What a demo run may be asked for, and how long each part trains in the full and the quick demo.

The digits' trainings are short, so that the first demo ends in minutes; other cases train as their recipes
say.
"""

from dataclasses import dataclass, replace
from typing import Final, Self

from obfnet.core.errors import UsageError
from obfnet.fitting import Schedule

FULL: Final = "full"
QUICK: Final = "quick"
# Epochs are chosen for MNIST's training split.
_CHOSEN_FOR: Final = 55_000
# Of a photograph of 32x32 in colour.
_LARGE_VALUES: Final = 3_072
_DIGITS: Final = ("mnist", "digits")


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """Settings of a demo; `full` and its `quick` form are the two that the command line offers.

    Args:
        name: `"full"` or `"quick"`, for the report.
        case: Data set, folder or CSV file; `mnist` falls back to `digits` where it cannot be had.
        split: Name of the split rule; None takes the case's first.
        architecture: Of the inference network; empty takes the case's first.
        obfuscation_architecture: Of each O; empty takes the case's first.
        count: Obfuscation networks in the pool, ≥ 1.
        hidden: Width of their bottleneck; None takes the network's own.
        seed: Of everything random but the device's picks.
        requests: Test samples that are sent one a request, raw and obfuscated, ≥ 1.
        scored: So many test samples, evenly spaced, give every accuracy and leakage figure, ≥ `requests`.
        inference: Training of I; None takes the case's recipe.
        obfuscation: Training of each O; None takes the case's recipe.
        share: Of the epochs of the case's recipe, in (0, 1].
        limited: Training of the network with a budget; None takes the case's recipe.
        device_only: Training of the device-only classifier; None takes the case's recipe.
        attack_epochs: Passes of the decoder over the attacker's pairs.
    """

    name: str
    case: str
    split: str | None
    architecture: str
    obfuscation_architecture: str
    count: int
    hidden: int | None
    seed: int
    requests: int
    scored: int
    inference: Schedule | None
    obfuscation: Schedule | None
    share: float
    limited: Schedule | None
    device_only: Schedule | None
    attack_epochs: float

    def __post_init__(self) -> None:
        if self.requests < 1 or self.count < 1:
            raise UsageError(
                "at least one request and one network", f"{self.requests}, {self.count}", "raise them"
            )

    def for_samples(self, count: int, values: int) -> Self:
        """The same settings with as many steps on a smaller training split: it is gone through more often.

        Args:
            count: Training samples, ≥ 1.
            values: Of one sample; a decoder of large ones sees fewer of them, since each costs so much more.
        """
        times = max(1.0, _CHOSEN_FOR / count)
        attack_share = min(1.0, _LARGE_VALUES / values)

        def longer(schedule: Schedule) -> Schedule:
            return replace(schedule, epochs=schedule.epochs * times)

        return replace(
            self,
            inference=self.inference and longer(self.inference),
            obfuscation=self.obfuscation and longer(self.obfuscation),
            limited=self.limited and longer(self.limited),
            device_only=self.device_only and longer(self.device_only),
            attack_epochs=self.attack_epochs * times * attack_share,
        )

    @classmethod
    def full(
        cls,
        *,
        case: str = "mnist",
        split: str | None = None,
        architecture: str = "",
        obfuscation_architecture: str = "",
        count: int = 4,
        seed: int = 0,
    ) -> Self:
        """The demo whose figures the README quotes."""
        digits = case in _DIGITS
        return cls(
            name=FULL,
            case=case,
            split=split,
            architecture=architecture,
            obfuscation_architecture=obfuscation_architecture,
            count=count,
            hidden=None,
            seed=seed,
            requests=200,
            scored=10_000,
            inference=Schedule(epochs=2, batch_size=64, peak_rate=2e-3, warm_up=0.2) if digits else None,
            obfuscation=Schedule(epochs=1.5) if digits else None,
            share=1.0,
            limited=Schedule(epochs=1.5) if digits else None,
            device_only=Schedule(epochs=4, batch_size=128) if digits else None,
            attack_epochs=2,
        )

    def quick(self) -> Self:
        """The same with less training: its figures are worse, and the report says so."""
        return replace(
            self,
            name=QUICK,
            scored=2_000,
            inference=self.inference and replace(self.inference, epochs=0.4),
            obfuscation=self.obfuscation and replace(self.obfuscation, epochs=0.15),
            limited=self.limited and replace(self.limited, epochs=0.8),
            share=0.15,
            device_only=self.device_only and replace(self.device_only, epochs=1),
            attack_epochs=0.5,
        )
