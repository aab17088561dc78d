"""Decodes the average of the many requests as which one raw sample was sent, with what noise is left.

An obfuscator that draws fresh noise for every request hides less with each of them. Against one that always
sends the same this is the plain decoder.
"""

import math
from collections.abc import Callable
from typing import Final, final

import numpy as np
import torch
from torch import Tensor, nn

from obfnet.attacks.attack import Reconstruction, ReconstructionAttack, passes
from obfnet.attacks.decoder_network import decoder_network
from obfnet.attacks.fit_decoder import (
    Lesson,
    Pairs,
    guesses,
    known_pairs,
    plain_schedule,
    reconstruction,
    some_of,
    train_decoder,
)
from obfnet.attacks.held_out import likeness, own_parts
from obfnet.attacks.knowledge import Insider, Labels, Obfuscator, Samples
from obfnet.core.errors import AttackError
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.data.rows import AnyRows, Indices

_CALIBRATION: Final = 1_000


@final
class Averaging(ReconstructionAttack):
    """Decoder of repeated requests: of their average, or the average of its guesses at each.

    Three ways are compared on pairs that the attacker holds out. The plain decoder, trained on requests as
    they are, guesses at each repeat, and the guesses are averaged; or it guesses at the repeats' average; or
    a second decoder, trained on averages of as many requests, does. The attacker repeats its own samples
    through the device's network. Where that is not known (recorded pairs) the guesses are averaged; where it
    always sends the same, one decoder is trained and one request decoded.

    Args:
        effort: Share of a standard training, for each of at most two decoders.
        repeats: How often each sample was sent, ≥ 1.
        hidden: Width of the hidden layers.

    Raises:
        AttackError: fewer than one repeat.

    Source: Dwork and Roth 2014, *The algorithmic foundations of differential privacy*, on composition: what
        many noisy answers to one question give away together. The decoder is the plain attack's.
    """

    name = "averaging"
    threat_level = "T3"
    citation = "averages of repeated noisy answers: Dwork and Roth 2014, The algorithmic foundations of DP"
    assumes = "the same raw sample is sent several times, with fresh noise each time"

    def __init__(self, *, effort: float = 1.0, repeats: int = 8, hidden: int = 1024) -> None:
        super().__init__(effort=effort)
        if repeats < 1:
            raise AttackError("at least 1 repeat", str(repeats), "give more")
        self.repeats, self.hidden = repeats, hidden

    def fit(self, knowledge: Insider, *, seed: int, progress: Progress) -> Reconstruction:
        """Trains the decoders, and keeps the best way of using the repeats.

        Returns:
            An attacker that answers for the first M of the scored requests, whatever M samples it is handed:
            it looks them up in `knowledge.repeats`. So ask it about the requests in their order, once.

        Raises:
            AttackError: no sample was sent again.
        """
        if knowledge.repeats is None:
            raise AttackError(
                "requests that were sent again and again", "none", "leave averaging out, or record repeats"
            )
        kept, held = own_parts(knowledge.labels, values=math.prod(knowledge.raw.shape[1:]), seed=seed)
        schedule = plain_schedule(passes(len(kept), self.effort))

        def trained(pairs: Pairs, some: Tensor, task: str) -> nn.Module:
            torch.manual_seed(seed)
            decoder = decoder_network(some, knowledge.raw.shape[1:], self.hidden)
            lesson = Lesson(schedule=schedule, seed=seed, progress=progress, task=task)
            train_decoder(decoder, pairs, kept, held, lesson)
            return decoder

        pairs = known_pairs(knowledge.received, knowledge.raw)
        plain = trained(pairs, some_of(knowledge.received), "train decoder")
        network, sent = knowledge.network, knowledge.repeats
        if network is None:
            return _Repeated(plain, sent, self.repeats, average=False)
        if self.repeats == 1 or _same_again(network, as_unit(knowledge.raw[:_CALIBRATION])):
            return reconstruction(plain)
        averages = _AveragePairs(network, knowledge.raw, self.repeats)
        first = np.arange(min(len(knowledge.labels), _CALIBRATION), dtype=np.int64)
        second = trained(averages, averages(first)[0], "train decoder of averages")
        ways = ((plain, False), (plain, True), (second, True))
        best = 0
        if len(held) > 0:
            raw, labels = as_unit(knowledge.raw[held]), knowledge.labels[held]
            scores = [
                likeness(
                    raw,
                    _Repeated(decoder, lambda n: network.obfuscate(raw), self.repeats, average=average)(
                        raw, labels
                    ),
                ).mean()
                for decoder, average in ways
            ]
            best = int(np.argmax(scores))
        decoder, average = ways[best]
        return _Repeated(decoder, sent, self.repeats, average=average)


@final
class _Repeated:
    """A decoder that is asked about every repeat, and its guesses averaged; or about the repeats' average."""

    def __init__(
        self, decoder: nn.Module, sent: Callable[[int], Samples], repeats: int, *, average: bool
    ) -> None:
        self._decoder, self._sent, self._repeats, self._average = decoder, sent, repeats, average

    def __call__(self, received: Samples, answered: Labels) -> Samples:
        def mean(of: Callable[[Samples], Samples]) -> Samples:
            # One repeat at a time is held.
            total = of(self._repeat(0, len(received)))
            for number in range(1, self._repeats):
                total += of(self._repeat(number, len(received)))
            return total / np.float32(self._repeats)

        if self._average:
            return guesses(self._decoder, mean(as_unit))
        return mean(lambda sent: guesses(self._decoder, sent))

    def _repeat(self, number: int, count: int) -> Samples:
        sent = self._sent(number)
        if len(sent) < count:
            raise AttackError(
                "repeats of every sample that is asked about",
                f"{len(sent)} of {count}",
                "ask about the scored requests, in their order",
            )
        return sent[:count]


@final
class _AveragePairs:
    def __init__(self, network: Obfuscator, raw: AnyRows, repeats: int) -> None:
        self._network, self._raw, self._repeats = network, raw, repeats

    def __call__(self, rows: Indices) -> tuple[Tensor, Tensor]:
        raw = as_unit(self._raw[rows])
        total = as_unit(self._network.obfuscate(raw))
        for _ in range(1, self._repeats):
            total += as_unit(self._network.obfuscate(raw))
        return torch.from_numpy(total / np.float32(self._repeats)), torch.from_numpy(raw)


def _same_again(network: Obfuscator, raw: Samples) -> bool:
    return np.array_equal(network.obfuscate(raw), network.obfuscate(raw))
