"""What a demo run may be asked for, and how long each part trains in the full and the quick demo."""

from dataclasses import dataclass, replace
from typing import Final, Self

from obfnet.core.errors import UsageError
from obfnet.fitting import Schedule

FULL: Final = "full"
QUICK: Final = "quick"
# Epochs are chosen for MNIST's training split.
_CHOSEN_FOR: Final = 55_000


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """Settings of a demo; `full` and `quick` give the two that the command line offers.

    Args:
        name: `"full"` or `"quick"`, for the report.
        case: Data set; falls back to `digits` where `mnist` cannot be had.
        architecture: Of the inference network, `"cnn"` or `"mlp"`.
        count: Obfuscation networks in the pool, ≥ 1.
        hidden: Width of their bottleneck.
        seed: Of everything random but the device's picks.
        requests: Test samples that are sent one a request, raw and obfuscated, ≥ 1.
        scored: So many test samples, evenly spaced, give every accuracy and leakage figure, ≥ `requests`.
        inference: Training of I.
        obfuscation: Training of each O.
        device_only: Training of the device-only classifier.
        attack_epochs: Passes of the decoder over the attacker's pairs.
    """

    name: str
    case: str
    architecture: str
    count: int
    hidden: int
    seed: int
    requests: int
    scored: int
    inference: Schedule
    obfuscation: Schedule
    device_only: Schedule
    attack_epochs: float

    def __post_init__(self) -> None:
        if self.requests < 1 or self.count < 1:
            raise UsageError(
                "at least one request and one network", f"{self.requests}, {self.count}", "raise them"
            )

    def for_samples(self, count: int) -> Self:
        """The same settings with as many steps on a smaller training split: it is gone through more often.

        Args:
            count: Training samples, ≥ 1.
        """
        times = max(1.0, _CHOSEN_FOR / count)

        def longer(schedule: Schedule) -> Schedule:
            return replace(schedule, epochs=schedule.epochs * times)

        return replace(
            self,
            inference=longer(self.inference),
            obfuscation=longer(self.obfuscation),
            device_only=longer(self.device_only),
            attack_epochs=self.attack_epochs * times,
        )

    @classmethod
    def full(cls, *, case: str = "mnist", architecture: str = "cnn", count: int = 4, seed: int = 0) -> Self:
        """The demo whose figures the README quotes."""
        return cls(
            name=FULL,
            case=case,
            architecture=architecture,
            count=count,
            hidden=100,
            seed=seed,
            requests=200,
            scored=10_000,
            inference=Schedule(epochs=2, batch_size=64, peak_rate=2e-3, warm_up=0.2),
            obfuscation=Schedule(epochs=1.5),
            device_only=Schedule(epochs=4, batch_size=128),
            attack_epochs=2,
        )

    @classmethod
    def quick(cls, *, case: str = "mnist", architecture: str = "cnn", count: int = 4, seed: int = 0) -> Self:
        """The same with less training: its figures are worse, and the report says so."""
        full = cls.full(case=case, architecture=architecture, count=count, seed=seed)
        return replace(
            full,
            name=QUICK,
            scored=2_000,
            inference=replace(full.inference, epochs=0.4),
            obfuscation=replace(full.obfuscation, epochs=0.15),
            device_only=replace(full.device_only, epochs=1),
            attack_epochs=0.5,
        )
