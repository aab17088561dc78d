"""What a user decides of `protect`; the rest is worked out."""

from dataclasses import dataclass
from typing import Final

from obfnet.core.errors import UsageError
from obfnet.training.pool_plan import check_count

DEFAULT_BITS: Final = 16
ENGINES: Final = ("local", "ray")
MOST_MACS: Final = 40_000_000
"""Of an obfuscation network, unless its width or another limit is given."""


@dataclass(frozen=True, kw_only=True)
class ProtectSettings:
    """How a model is protected.

    Args:
        protection: Registry name.
        bits: Budget of a request; None takes 16 for `coded`.
        epsilon: Of `randomised`.
        noise: Of `gaussian`.
        rich_share: Of `selective`, or of `adversarial` over it.
        count: Networks in the pool.
        architecture: Of the obfuscation networks; empty chooses one that fits.
        hidden: Width of its bottleneck; None chooses.
        max_macs: Most multiply-accumulates of an obfuscation network; None takes 40 million, or any number
            for a width that is given.
        max_parameters: Most parameters.
        epochs: Passes over the training samples; None takes what suits their number.
        device_only_epochs: The same of the device-only classifier beside them.
        labels: Whether the samples' labels are used; otherwise the model's own answers stand for them.
        classes: The samples' classes in the order of the model's outputs; empty takes the model's own order
            where it says one of the same names, and otherwise theirs.
        budget: Of the audit.
        attacks: Of the audit; empty takes all of the budget.
        engine: `local` or `ray`: where parts of 16 networks are trained, and attacks run.
        address: Of a Ray cluster; None starts one on this machine.
        workers: With Ray on this machine, tasks at once; None takes its cores.
        seed: Of all randomness that should repeat.

    Raises:
        UsageError: another engine, an address or workers for this process, or a pool of no network or too
            many.
    """

    protection: str = "coded"
    bits: int | None = None
    epsilon: float | None = None
    noise: float | None = None
    rich_share: float | None = None
    count: int = 4
    architecture: str = ""
    hidden: int | None = None
    max_macs: int | None = None
    max_parameters: int | None = None
    epochs: float | None = None
    device_only_epochs: float | None = None
    labels: bool = True
    classes: tuple[str, ...] = ()
    budget: str = "quick"
    attacks: tuple[str, ...] = ()
    engine: str = "local"
    address: str | None = None
    workers: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise UsageError(f"an engine of {', '.join(ENGINES)}", repr(self.engine), "change it")
        check_count(self.count)
        if self.engine == "local" and (self.address or self.workers):
            raise UsageError("an address or workers with engine ray", "engine local", "leave them out")

    @property
    def most_macs(self) -> int | None:
        """What an obfuscation network may cost; None for anything."""
        return MOST_MACS if self.max_macs is None and self.hidden is None else self.max_macs

    @property
    def budget_bits(self) -> int | None:
        """Bits of a request as a protection takes them."""
        return DEFAULT_BITS if self.bits is None and self.protection == "coded" else self.bits
