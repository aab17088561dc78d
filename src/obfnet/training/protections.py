"""How an obfuscation network is limited: one registry, one contract.

A protection builds the networks of a pool and says what they are trained for. Its budget is the
ceiling on what a request can leak; `published` has none.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, final

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from obfnet.core.errors import UsageError
from obfnet.core.registry import Registry
from obfnet.nets import OBFUSCATION_ARCHITECTURES

Shape = tuple[int, int, int]
Answer = Callable[[Tensor], Tensor]
"""Samples in [0, 1], `(N, C, H, W)`, to the frozen inference network's scores, `(N, K)`."""


class Protection(ABC):
    """One way of limiting what an obfuscated sample tells.

    Args:
        bits: Budget of one request, for the protections that have one.

    Raises:
        UsageError: a budget that this protection cannot have, or none where it needs one.
    """

    name: str
    """As on the command line and in the manifest."""

    budget_bits: float | None
    """Ceiling on what one request can leak, in bits; None where there is no ceiling."""

    def __init__(self, bits: int | None = None) -> None:
        if bits is not None:
            raise UsageError(
                f"no --bits with protection {self.name}", f"{bits}", "leave it out, or choose coded"
            )

    @abstractmethod
    def build(self, shape: Shape, architecture: str, hidden: int, classes: int) -> nn.Module:
        """A freshly initialised obfuscation network, from torch's present random state."""

    @abstractmethod
    def loss(
        self,
        network: nn.Module,
        answer: Answer,
        raw: Float[Tensor, "N C H W"],
        labels: Int[Tensor, " N"],
    ) -> Tensor:
        """What training makes small, a scalar.

        Args:
            network: One that `build` made.
            answer: The frozen inference network's scores for samples as they are sent: where the wire's type
                is uint8 they are rounded on the way, with gradients straight through.
            raw: Raw samples.
            labels: Their labels.
        """


PROTECTIONS: Final = Registry[type[Protection]](
    "protection",
    {
        "published": "obfnet.training.protections:Published",
        "coded": "obfnet.training.coded:Coded",
    },
    extra="train",
)


@final
class Published(Protection):
    """The paper's method as it is: cross-entropy of the frozen I's answer, nothing else.

    Source: Xu et al. 2019, arXiv 1912.09859 (the training phase; released code).

    Does not guarantee: anything. A decoder rebuilds most of the raw sample; the demo measures how much.
    """

    name = "published"
    budget_bits = None

    def build(self, shape: Shape, architecture: str, hidden: int, classes: int) -> nn.Module:
        """The architecture itself, unlimited."""
        return OBFUSCATION_ARCHITECTURES.get(architecture)(shape, hidden)

    def loss(
        self,
        network: nn.Module,
        answer: Answer,
        raw: Float[Tensor, "N C H W"],
        labels: Int[Tensor, " N"],
    ) -> Tensor:
        """Cross-entropy between the answer to obfuscated samples and the labels."""
        return functional.cross_entropy(answer(network(raw)), labels)
