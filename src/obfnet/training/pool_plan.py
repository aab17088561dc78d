"""What decides a pool besides data and inference network: what a user asks for, and what it comes to."""

from dataclasses import dataclass
from typing import Any

from obfnet.bundle.pool import MAX_BUNDLES
from obfnet.core.errors import UsageError
from obfnet.data.case import CaseSpec, Dataset
from obfnet.fitting import Schedule
from obfnet.nets import OBFUSCATION_ARCHITECTURES
from obfnet.training.growing import in_two_parts
from obfnet.training.protections import PROTECTIONS
from obfnet.training.recipes import obfuscation_schedule


@dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """What decides a pool, besides the data and the inference network.

    Args:
        architecture: A name of the case's (`"mlp"`: the paper's O_M, `"cnn"`: O_C) or of the registry; empty
            takes the case's first.
        hidden: Width of the bottleneck, ≥ 1; None takes the architecture's own.
        protection: Registry name.
        bits: Budget of a request, for a protection that has one.
        epsilon: Of the local differential privacy of a request, for a protection that inverts bits.
        noise: Standard deviation of the noise, for a protection that adds any.
        rich_share: Of requests that may tell more than the others, for a protection with two levels.
        count: Number of networks K, ≥ 1.
        schedule: Length and learning rate; each network sees every training sample `epochs` times. None
            takes the case's own.
        augmentation: Changes that training samples go through; None takes the case's own for obfuscation
            networks, or where they grow to a camera's size those for inference networks.
        seed: From which each network's own seed is made.
    """

    architecture: str = ""
    hidden: int | None = None
    protection: str = "published"
    bits: int | None = None
    epsilon: float | None = None
    noise: float | None = None
    rich_share: float | None = None
    count: int = 4
    schedule: Schedule | None = None
    augmentation: tuple[str, ...] | None = None
    seed: int = 0

    def for_case(self, dataset: Dataset) -> "PoolPlan":
        """The same with everything that was left to the case filled in.

        Raises:
            UnknownNameError: no such architecture.
        """
        architecture = dataset.spec.obfuscation_architecture(self.architecture)
        network: Any = OBFUSCATION_ARCHITECTURES.get(architecture)
        return PoolPlan(
            architecture=architecture,
            hidden=network.default_hidden if self.hidden is None else self.hidden,
            protection=self.protection,
            bits=self.bits,
            epsilon=self.epsilon,
            noise=self.noise,
            rich_share=self.rich_share,
            count=self.count,
            schedule=self.schedule or obfuscation_schedule(dataset.spec, protection=self.protection),
            augmentation=_augmentation(dataset.spec, self.protection, network)
            if self.augmentation is None
            else self.augmentation,
            seed=self.seed,
        )

    def __post_init__(self) -> None:
        check_count(self.count)
        if self.hidden is not None and self.hidden < 1:
            raise UsageError("a bottleneck of at least 1", f"{self.hidden}", "raise --hidden")


def check_count(count: int) -> None:
    """Raises `UsageError` where a pool cannot have so many networks."""
    if count < 1:
        raise UsageError("a pool of at least 1 network", f"{count}", "raise --count")
    if count > MAX_BUNDLES:
        raise UsageError(f"a pool of at most {MAX_BUNDLES:,} networks", f"{count:,}", "lower --count")


def _augmentation(spec: CaseSpec, protection: str, network: Any) -> tuple[str, ...]:
    # Passes at camera size are few. In two parts wider changes are learnt through; elsewhere a fresh network
    # may find no first step.
    two_parts = in_two_parts(PROTECTIONS.get(protection), network, spec.input.unit_shape)
    return spec.recipe.augmentation if two_parts else spec.recipe.obfuscation_augmentation


@dataclass(frozen=True, kw_only=True)
class PoolPlan:
    """What `PoolSettings` come to for one case: nothing is left open.

    Args:
        architecture: Registry name.
        hidden: Width of the bottleneck.
        protection: Registry name.
        bits: Budget of a request, or None.
        epsilon: Of the local differential privacy of a request, or None.
        noise: Standard deviation of the noise, or None.
        rich_share: Of requests that may tell more than the others, or None.
        count: Number of networks K.
        schedule: Length and learning rate.
        augmentation: Changes that training samples go through.
        seed: From which each network's own seed is made.
    """

    architecture: str
    hidden: int
    protection: str
    bits: int | None
    epsilon: float | None
    noise: float | None
    rich_share: float | None
    count: int
    schedule: Schedule
    augmentation: tuple[str, ...]
    seed: int
