"""How an obfuscation network is limited: one registry, one contract.

A protection builds the networks of a pool and says what they are trained for. Its budget is the
ceiling on what a request can leak; `published` has none.
"""

from abc import ABC, abstractmethod
from typing import Final, final

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from obfnet.core.registry import Registry
from obfnet.nets import OBFUSCATION_ARCHITECTURES

Shape = tuple[int, int, int]


class Protection(ABC):
    """One way of limiting what an obfuscated sample tells."""

    name: str
    """As on the command line and in the manifest."""

    budget_bits: float | None
    """Ceiling on what one request can leak, in bits; None where there is no ceiling."""

    @abstractmethod
    def build(self, shape: Shape, architecture: str, hidden: int) -> nn.Module:
        """A freshly initialised obfuscation network, from torch's present random state."""

    @abstractmethod
    def loss(
        self,
        inference: nn.Module,
        obfuscated: Float[Tensor, "N C H W"],
        raw: Float[Tensor, "N C H W"],
        labels: Int[Tensor, " N"],
    ) -> Tensor:
        """What training makes small, a scalar; gradients flow through `obfuscated`."""


PROTECTIONS: Final = Registry[type[Protection]](
    "protection", {"published": "obfnet.training.protections:Published"}, extra="train"
)


@final
class Published(Protection):
    """The paper's method as it is: cross-entropy of the frozen I's answer, nothing else.

    Source: Xu et al. 2019, arXiv 1912.09859 (the training phase; released code).

    Does not guarantee: anything. A decoder rebuilds most of the raw sample; the demo measures how much.
    """

    name = "published"
    budget_bits = None

    def build(self, shape: Shape, architecture: str, hidden: int) -> nn.Module:
        """The architecture itself, unlimited."""
        return OBFUSCATION_ARCHITECTURES.get(architecture)(shape, hidden)

    def loss(
        self,
        inference: nn.Module,
        obfuscated: Float[Tensor, "N C H W"],
        raw: Float[Tensor, "N C H W"],
        labels: Int[Tensor, " N"],
    ) -> Tensor:
        """Cross-entropy between the answer to obfuscated samples and the labels; `raw` is not used."""
        return functional.cross_entropy(inference(obfuscated), labels)
