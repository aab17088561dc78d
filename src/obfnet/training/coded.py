"""The protection `coded`: at most 2^bits different requests, so that none tells more than so many bits.

The code is trained to be about the label: each class has a word of its own, as far from the others as the
length allows, and the code is a vote of these words. What is left of its room tells of the samples that the
encoder is not sure of, and little of the others.
"""

import math
from typing import Final, NoReturn, Unpack

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from obfnet.core.errors import UsageError
from obfnet.nets import Shape, is_camera_size
from obfnet.nets.channels import Signs
from obfnet.nets.coded import CodedObfuscation, ExactGenerator
from obfnet.nets.coded_encoders import WordEncoder, coded_encoder
from obfnet.nets.spatial import Layout, layout_of
from obfnet.training.protections import Answer, Batch, Limits, Outcome, Protection, Purpose
from obfnet.training.spatial import LABEL_SHARE, is_laid_out, spatial_network, spatial_outcome

MOST_BITS: Final = 4_096
_LONGEST_WORDS: Final = 256
_TRIES: Final = 400
_AT_ONCE: Final = 500
_CAMERA_STRIDE: Final = 4


class Coded(Protection):
    """A code of signs between an encoder and a generator.

    Args:
        bits: Length of the code: the budget of one request.

    Does not guarantee: that a guess is bad that was good beforehand; nor anything about several different
        samples of the same person, each of which has a budget of its own.
    """

    name = "coded"
    times_longer = 3.0
    recipe = 3

    asked_every: int = 3
    """One of so many steps asks I."""

    takes: tuple[str, ...] = ("bits",)

    laid_out: bool = True
    """Whether long codes of photographs are."""

    def __init__(self, bits: int | None = None, **limits: Unpack[Limits]) -> None:
        super().__init__(bits, **limits)
        self.bits = self._checked_bits(bits)
        self.budget_bits: float | None = float(self.bits)

    @property
    def length(self) -> int:
        """How many numbers the encoder decides."""
        return self.bits

    @property
    def word(self) -> int:
        """How many bits of the code name the class."""
        return self.bits

    def channel(self) -> nn.Module:
        """What they pass on their way to the generator."""
        return Signs()

    def _checked_bits(self, bits: int | None) -> int:
        most = MOST_BITS if self.laid_out else _LONGEST_WORDS
        if bits is None or not 1 <= bits <= most:
            raise UsageError(
                f"a code of 1 to {most} bits for protection {self.name}",
                "none" if bits is None else str(bits),
                "give it with --bits",
            )
        return bits

    def build(self, purpose: Purpose) -> nn.Module:
        """An encoder of this architecture with a code of these bits; its words are drawn with its weights.

        A long code of a photograph is laid out over it, and has no words.
        """
        if (layout := self.layout(purpose.shape)) is not None:
            return self.laid_out_network(purpose, layout)
        if self.bits > _LONGEST_WORDS:
            raise UsageError(
                f"at most {_LONGEST_WORDS} bits for protection {self.name} and such samples",
                f"{self.bits}; longer codes are for colour photographs whose sides are multiples of 4, not "
                f"{'x'.join(map(str, purpose.shape))}",
                "lower --bits",
            )
        generator = ExactGenerator(purpose.shape, self.length)
        network = CodedObfuscation(self.encoder(purpose, generator), generator, channel=self.channel())
        # A buffer, so that a resumed run goes on where it stopped.
        network.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        return network

    @property
    def placed(self) -> int:
        """How many numbers of the code have a place on a photograph, where it is laid out."""
        return self.length

    def laid_out_network(self, purpose: Purpose, layout: Layout) -> CodedObfuscation:
        """What `build` makes of a code that is laid out."""
        return spatial_network(purpose, layout, self.channel())

    def layout(self, shape: Shape) -> Layout | None:
        """How the code lies on samples of this shape; None where it does not.

        Raises:
            UsageError: a code that is long enough, but not as many bits for each cell.
        """
        layout = layout_of(shape, self.placed) if self.laid_out else None
        if layout is not None and layout.bits != self.placed:
            self.refuse_layout(layout)
        return layout

    def refuse_layout(self, layout: Layout) -> NoReturn:
        """Says which budgets can be laid out, where this one cannot.

        Args:
            layout: Of the most bits that can be laid out within this budget.

        Raises:
            UsageError: always.
        """
        cells, others = layout.height * layout.width, self.bits - self.placed
        besides = f", and {others} besides" if others else ""
        raise UsageError(
            f"a multiple of {cells} bits, as many for each 4x4 pixels of a photograph{besides}",
            f"{self.bits}",
            f"--bits {layout.bits + others} or {layout.bits + cells + others}",
        )

    def encoder(self, purpose: Purpose, generator: ExactGenerator) -> nn.Module:
        """What decides the code, at what the generator leaves of the cost."""
        words = class_words(purpose.classes, self.length)
        return coded_encoder(purpose.architecture, purpose.shape, purpose.hidden, words, generator=generator)

    def distinct(self, decided: Float[Tensor, "N width"]) -> Bool[Tensor, "N bits"]:
        """What must differ from class to class."""
        return decided > 0

    def outcome(self, network: nn.Module, answer: Answer, batch: Batch) -> Outcome:
        """Cross-entropy of I's answer to what is sent, and of the encoder's own.

        Half of what is wanted is the label, half I's answer to raw samples. I is asked in some of the steps
        only (`asked_every`), and takes most of the time of these; in the others the encoder learns from the
        labels alone. At camera size it is asked about every fourth sample of these steps: codes are few, and
        are soon seen. A code that is laid out is trained otherwise: `spatial_outcome`.
        """
        coded = coded_network(network)
        if is_laid_out(coded):
            return spatial_outcome(coded, answer, batch)
        steps: Tensor = coded.steps  # type: ignore[assignment]
        encoder: WordEncoder = coded.encoder  # type: ignore[assignment]
        scores, decided = encoder.decide(batch.raw)
        wanted = functional.one_hot(batch.labels, scores.shape[1]).float()
        asked = int(steps) % self.asked_every == 0
        steps += 1
        some = slice(None, None, _CAMERA_STRIDE if is_camera_size(batch.raw.shape[1:]) else 1)
        if asked:
            with torch.no_grad():
                wanted[some] = torch.lerp(answer(batch.raw[some]).softmax(1), wanted[some], LABEL_SHARE)
        code = coded.code(decided)
        loss = functional.cross_entropy(scores, wanted)
        if asked:
            answered = answer(coded.generator(code[some]))
            loss = loss + functional.cross_entropy(answered, wanted[some])
        return Outcome(loss=loss, seen=code)

    def warning(self, classes: int, labels: npt.NDArray[np.int64]) -> str | None:
        """That there are fewer codes than labels, and what accuracy is then possible at best."""
        if 2**self.word >= classes:
            return None
        most = np.sort(np.bincount(labels, minlength=classes))[::-1][: 2**self.word].sum() / len(labels)
        return (
            f"{self.word} bits name {2**self.word} of {classes} classes: at best {most:.1%} of answers can "
            f"be right; {math.ceil(math.log2(classes))} bits name them all"
        )

    def fault(self, network: nn.Module, raw: Float[Tensor, "N C H W"], classes: int) -> str | None:
        """That fewer codes are in use than there are labels."""
        coded = coded_network(network)
        with torch.no_grad():
            decided = torch.cat([coded.decide(part) for part in torch.split(raw, _AT_ONCE)])
        used = len(np.unique(self.distinct(decided).numpy(), axis=0))
        if used >= min(classes, 2**self.word):
            return None
        return f"a code that collapsed: {used} in use for {classes} classes"


def coded_network(network: nn.Module) -> CodedObfuscation:
    """The same network; raises `TypeError` unless a protection of this kind built it."""
    if not isinstance(network, CodedObfuscation):
        raise TypeError("not built by this protection")
    return network


def class_words(classes: int, bits: int) -> Float[Tensor, "K bits"]:
    """A word of zeros and ones for each class, all different where the length allows, and far apart.

    Args:
        classes: K.
        bits: Length of a word.

    Returns:
        From torch's present random state. With too few bits for the classes some words are the same.
    """
    words = torch.stack([_fresh_word(bits) for _ in range(classes)])
    nearest = _nearest(words)
    for attempt in range(_TRIES):
        changed = words.clone()
        # The class with the nearest neighbour gets another word; it stays unless it made things worse.
        row = int(_distances(words).min(1).values.argmin()) if attempt % 2 else attempt // 2 % classes
        changed[row] = _fresh_word(bits)
        if (found := _nearest(changed)) >= nearest:
            words, nearest = changed, found
    return words


def _fresh_word(bits: int) -> Tensor:
    return torch.randint(2, (bits,)).float()


def _distances(words: Tensor) -> Tensor:
    apart = torch.cdist(words, words, p=1)
    return apart + torch.eye(len(words)) * words.shape[1] * 2


def _nearest(words: Tensor) -> tuple[float, int]:
    distances = _distances(words)
    least = float(distances.min())
    return least, -int((distances == least).sum())
