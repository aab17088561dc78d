"""What a user decides of `protect`; the rest is worked out."""

from dataclasses import dataclass
from typing import Final

DEFAULT_BITS: Final = 16


@dataclass(frozen=True, kw_only=True)
class ProtectSettings:
    """How a model is protected.

    Args:
        protection: Registry name.
        bits: Budget of a request; None takes 16 for `coded`.
        epsilon: Of `randomised`.
        noise: Of `gaussian`.
        rich_share: Of `selective`.
        count: Networks in the pool.
        architecture: Of the obfuscation networks; empty chooses one that fits.
        hidden: Width of its bottleneck; None chooses.
        max_macs: Most multiply-accumulates of an obfuscation network.
        max_parameters: Most parameters.
        epochs: Passes over the training samples; None takes what suits their number.
        labels: Whether the samples' labels are used; otherwise the model's own answers stand for them.
        classes: The samples' classes in the order of the model's outputs; empty takes their own order.
        budget: Of the audit.
        attacks: Of the audit; empty takes all of the budget.
        seed: Of all randomness that should repeat.
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
    labels: bool = True
    classes: tuple[str, ...] = ()
    budget: str = "quick"
    attacks: tuple[str, ...] = ()
    seed: int = 0

    @property
    def budget_bits(self) -> int | None:
        """Bits of a request as a protection takes them."""
        return DEFAULT_BITS if self.bits is None and self.protection == "coded" else self.bits
