"""How an obfuscation network is limited: one registry, one contract.

A protection builds the networks of a pool and says what they are trained for. Its budget is the
ceiling on what a request can leak; `published` has none.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, Protocol, TypedDict, Unpack

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int
from torch import Tensor, nn

from obfnet.core.errors import UsageError
from obfnet.core.registry import Registry
from obfnet.nets import Shape


class Answer(Protocol):
    """The frozen inference network, asked with samples in [0, 1], `(N, C, H, W)`."""

    def __call__(self, samples: Tensor, /) -> Tensor:
        """Its scores, `(N, K)`."""

    def seen(self, samples: Tensor, /) -> tuple[Tensor, list[Tensor]]:
        """Its scores, and what it computes at some depths on the way to them, `(N, ...)` each."""


@dataclass(frozen=True, kw_only=True)
class Purpose:
    """What a network is built for.

    Args:
        shape: Channels, height and width of a sample.
        architecture: Registry name of a published obfuscation network, which sets the cost.
        hidden: Width of that network's bottleneck.
        classes: Number of labels.
        attribute_values: Number of values of the private attribute; 0 where there is none.
    """

    shape: Shape
    architecture: str
    hidden: int
    classes: int
    attribute_values: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """What one step of training sees.

    Args:
        raw: `(N, C, H, W)` float32 in [0, 1].
        labels: `(N,)` int64.
        attribute: `(N,)` int64, values of the private attribute; None where there is none.
        size: Height and width that I sees raw and obfuscated samples of, where these are compared; None for
            their own.
    """

    raw: Float[Tensor, "N C H W"]
    labels: Int[Tensor, " N"]
    attribute: Int[Tensor, " N"] | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What a step comes to.

    Args:
        loss: What training makes small, a scalar.
        seen: What tells an attacker all that there is to know, with gradients: what is sent, or the code of
            which it is made; `(N, ...)`.
    """

    loss: Float[Tensor, ""]
    seen: Float[Tensor, "N ..."]


class Limits(TypedDict, total=False):
    """What some protections take besides bits.

    Args:
        epsilon: Of the local differential privacy of one request, for the protection that inverts bits.
        noise: Standard deviation of the noise, for the protection that adds any.
        rich_share: Of requests that may tell more than the others, for the protection with two levels.
    """

    epsilon: float | None
    noise: float | None
    rich_share: float | None


# Who takes what, for the error.
_TAKEN_BY: Final = {
    "bits": "coded, adversarial, randomised, gaussian or selective",
    "epsilon": "randomised",
    "noise": "gaussian",
    "rich_share": "selective or adversarial",
}


class Protection(ABC):
    """One way of limiting what an obfuscated sample tells.

    Args:
        bits: Budget of one request, for the protections that have one.
        limits: What else limits it.

    Raises:
        UsageError: a budget that this protection cannot have, or none where it needs one.
    """

    name: str
    """As on the command line and in the manifest."""

    budget_bits: float | None
    """Ceiling on what one request can leak, in bits; None where there is no ceiling."""

    epsilon: float | None = None
    """Of the local differential privacy of one request; None where no bits are inverted."""

    noise: float | None = None
    """Standard deviation of the noise; None where none is added."""

    poor_bits: float | None = None
    """Ceiling on a request that is not one of the few rich ones; None where all are alike."""

    rich_share: float | None = None
    """Share of rich requests that a device keeps to; None where all are alike."""

    takes: tuple[str, ...] = ()
    """Which options may be given."""

    opens_without_labels: bool = False
    """Whether `opening` reads no labels, so that samples may be changed in ways that leave none true."""

    width: int = 0
    """How many bits or numbers a device decides for each sample; 0 where none."""

    any_size: bool = False
    """Whether its networks take other sizes than they were built for where their architecture does."""

    times_longer: float = 1.0
    """How many times as long as `published` it trains, unless a schedule is given."""

    recipe: int = 1
    """Raised where it trains otherwise, so that a former pool is not taken for one of the same settings."""

    def __init__(self, bits: int | None = None, **limits: Unpack[Limits]) -> None:
        for option, value in {"bits": bits, **limits}.items():
            if value is not None and option not in self.takes:
                raise UsageError(
                    f"no --{option.replace('_', '-')} with protection {self.name}",
                    f"{value}",
                    f"leave it out, or choose {_TAKEN_BY[option]}",
                )

    @abstractmethod
    def build(self, purpose: Purpose) -> nn.Module:
        """What is trained, freshly initialised from torch's present random state."""

    @abstractmethod
    def outcome(self, network: nn.Module, answer: Answer, batch: Batch) -> Outcome:
        """One forward pass and its loss.

        Args:
            network: One that `build` made.
            answer: The frozen inference network's scores for samples as they are sent: where the wire's type
                is uint8 they are rounded on the way, with gradients straight through.
            batch: Training samples.
        """

    def opening(self, network: nn.Module, answer: Answer, batch: Batch) -> Outcome:
        """As `outcome`, in the first part of a training at camera size (`growing`)."""
        return self.outcome(network, answer, batch)

    def closing(self, network: nn.Module, answer: Answer, batch: Batch) -> Outcome:
        """As `outcome`, in the last part of such a training."""
        return self.outcome(network, answer, batch)

    def settle(self, network: nn.Module, raw: Float[Tensor, "N C H W"]) -> None:  # noqa: B027 (most have nothing)
        """Sets what is not trained, once everything else is.

        Args:
            network: One that `build` made, trained, in evaluation mode.
            raw: Validation samples.
        """

    def obfuscation_of(self, network: nn.Module) -> nn.Module:
        """The part of what was trained that a device gets: a sample in, the obfuscated one out."""
        return network

    def warning(self, classes: int, labels: npt.NDArray[np.int64]) -> str | None:
        """What a user should know before training; None where there is nothing.

        Args:
            classes: Number of labels.
            labels: Those of the training samples, `(N,)`.
        """
        return None

    def fault(self, network: nn.Module, raw: Float[Tensor, "N C H W"], classes: int) -> str | None:
        """Why a trained network must not be shipped; None where nothing is wrong.

        Args:
            network: One that `build` made, trained, in evaluation mode.
            raw: Validation samples.
            classes: Number of labels.
        """
        return None


PROTECTIONS: Final = Registry[type[Protection]](
    "protection",
    {
        "published": "obfnet.training.published:Published",
        "coded": "obfnet.training.coded:Coded",
        "adversarial": "obfnet.training.adversarial:Adversarial",
        "randomised": "obfnet.training.randomised:Randomised",
        "gaussian": "obfnet.training.gaussian:Gaussian",
        "selective": "obfnet.training.selective:Selective",
    },
    extra="train",
)
