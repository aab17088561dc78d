"""The protection `published`: the paper's, which limits nothing."""

from typing import final

from torch import nn
from torch.nn import functional

from obfnet.nets import OBFUSCATION_ARCHITECTURES
from obfnet.training.looking import sight_of, unlike
from obfnet.training.protections import Answer, Batch, Outcome, Protection, Purpose


@final
class Published(Protection):
    """The paper's method: cross-entropy of the frozen I's answer.

    Source: Xu et al. 2019, arXiv 1912.09859 (the training phase; released code).
    Differs from paper: at camera size, where few passes can be paid for, a convolutional O first learns to
        send what I sees alike. So few passes of the paper's loss alone leave more of the validation samples
        wrong. Scenes of which training saw none are not helped by it.

    Does not guarantee: anything. A decoder rebuilds most of the raw sample; the demo measures how much.
    """

    name = "published"
    budget_bits = None
    any_size = True

    def build(self, purpose: Purpose) -> nn.Module:
        """The architecture itself, unlimited."""
        return OBFUSCATION_ARCHITECTURES.get(purpose.architecture)(purpose.shape, purpose.hidden)

    def outcome(self, network: nn.Module, answer: Answer, batch: Batch) -> Outcome:
        """Cross-entropy between the answer to obfuscated samples and the labels."""
        sent = network(batch.raw)
        return Outcome(loss=functional.cross_entropy(answer(sent), batch.labels), seen=sent)

    def opening(self, network: nn.Module, answer: Answer, batch: Batch) -> Outcome:
        """How unlike raw and obfuscated samples are to I; no labels."""
        sent = network(batch.raw)
        return Outcome(loss=unlike(answer, sent, sight_of(answer, batch.raw)), seen=sent)
