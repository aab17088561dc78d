"""The protection `published`: the paper's, which limits nothing."""

from dataclasses import replace
from typing import final

from torch import nn
from torch.nn import functional

from obfnet.nets import OBFUSCATION_ARCHITECTURES
from obfnet.training.looking import at_size, sight_of, unlike
from obfnet.training.protections import Answer, Batch, Outcome, Protection, Purpose


@final
class Published(Protection):
    """The paper's method: cross-entropy of the frozen I's answer.

    Source: Xu et al. 2019, arXiv 1912.09859 (the training phase; released code).
    Differs from paper: at camera size, where few passes can be paid for, a convolutional O first learns to
        send what I sees alike, of photographs made from the training ones (`varied`), and keeps to that when
        the paper's loss comes to it: by labels alone more of the samples of other scenes come out wrong.

    Does not guarantee: anything. A decoder rebuilds most of the raw sample; the demo measures how much.
    """

    name = "published"
    budget_bits = None
    any_size = True
    opens_without_labels = True

    def build(self, purpose: Purpose) -> nn.Module:
        """The architecture itself, unlimited."""
        return OBFUSCATION_ARCHITECTURES.get(purpose.architecture)(purpose.shape, purpose.hidden)

    def outcome(self, network: nn.Module, answer: Answer, batch: Batch) -> Outcome:
        """Cross-entropy between the answer to obfuscated samples and the labels."""
        sent = network(batch.raw)
        return Outcome(loss=functional.cross_entropy(answer(sent), batch.labels), seen=sent)

    def opening(self, network: nn.Module, answer: Answer, batch: Batch) -> Outcome:
        """How unlike raw and obfuscated samples are to I, at one of several sizes; no labels."""
        sent = network(batch.raw)
        wanted = sight_of(answer, at_size(batch.raw, batch.size))
        return Outcome(loss=unlike(answer, at_size(sent, batch.size), wanted), seen=sent)

    def closing(self, network: nn.Module, answer: Answer, batch: Batch) -> Outcome:
        """The same of whole samples, and the paper's loss: alone it has O unlearn what labels do not need."""
        sent, wanted = network(batch.raw), sight_of(answer, batch.raw)
        labels = functional.one_hot(batch.labels, wanted.answers.shape[1])
        # Cross-entropy adds up over what is wanted.
        both = replace(wanted, answers=wanted.answers + labels)
        return Outcome(loss=unlike(answer, sent, both), seen=sent)
