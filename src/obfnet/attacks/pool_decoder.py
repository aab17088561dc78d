"""One decoder for a whole pool: the attack of someone who does not know which member a device picked.

It learns from pairs of every member at once, made while it trains. It leaves out guessing the member first:
the network is free to do so by itself.
"""

import math
from typing import final

import numpy as np
import torch
from torch import Tensor

from obfnet.attacks.attack import Reconstruction, ReconstructionAttack, passes
from obfnet.attacks.decoder_network import decoder_network
from obfnet.attacks.fit_decoder import (
    Lesson,
    plain_schedule,
    reconstruction,
    tensor,
    train_decoder,
)
from obfnet.attacks.held_out import own_parts
from obfnet.attacks.knowledge import Obfuscator, PoolKnown, Samples
from obfnet.core.errors import AttackError
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.data.rows import AnyRows, Indices
from obfnet.fitting import Checkpoint

_CALIBRATION = 2_000


@final
class PoolDecoder(ReconstructionAttack):
    """The plain decoder, trained on samples that go through a random member of the pool at every visit.

    Args:
        effort: Share of a standard training.
        hidden: Width of the hidden layers.
        checkpoint: State of an unfinished training, or None to keep none.

    Source: He, Zhang and Lee 2019, *Model inversion attacks against collaborative inference* (ACSAC): the
        inverse network; that one network is trained for a whole pool is ours.
    """

    name = "pool-decoder"
    threat_level = "T1"
    citation = (
        "He, Zhang and Lee 2019, Model inversion attacks against collaborative inference (ACSAC), "
        "over an unknown member of the pool"
    )
    assumes = "every obfuscation network of the pool is known, and the device uses one of them"

    def __init__(
        self, *, effort: float = 1.0, hidden: int = 1024, checkpoint: Checkpoint | None = None
    ) -> None:
        super().__init__(effort=effort)
        self.hidden, self.checkpoint = hidden, checkpoint

    def fit(self, knowledge: PoolKnown, *, seed: int, progress: Progress) -> Reconstruction:
        """Trains the decoder on pairs of all members.

        Raises:
            AttackError: no pool is known, or its members send samples of different shapes.
        """
        pool = knowledge.pool
        if not pool:
            raise AttackError("the networks of a pool", "none", "leave pool-decoder out, or audit a pool")
        kept, held = own_parts(knowledge.labels, values=math.prod(knowledge.raw.shape[1:]), seed=seed)
        torch.manual_seed(seed)
        every = max(1, len(knowledge.labels) // _CALIBRATION)
        some = _obfuscated(pool, as_unit(knowledge.raw[::every]))
        network = decoder_network(some, knowledge.raw.shape[1:], self.hidden)
        lesson = Lesson(
            schedule=plain_schedule(passes(len(kept), self.effort)),
            seed=seed,
            progress=progress,
            task="train pool decoder",
            checkpoint=self.checkpoint,
        )
        train_decoder(network, _Pairs(pool, knowledge.raw), kept, held, lesson)
        return reconstruction(network)


@final
class _Pairs:
    def __init__(self, pool: tuple[Obfuscator, ...], raw: AnyRows) -> None:
        self._pool, self._raw = pool, raw

    def __call__(self, rows: Indices) -> tuple[Tensor, Tensor]:
        raw = as_unit(self._raw[rows])
        return _obfuscated(self._pool, raw), torch.from_numpy(raw)


def _obfuscated(pool: tuple[Obfuscator, ...], raw: Samples) -> Tensor:
    # torch's random numbers, because a checkpoint keeps their state.
    members = torch.randint(len(pool), (len(raw),)).numpy()
    received = None
    for number in np.unique(members):
        chosen = members == number
        part = tensor(pool[number].obfuscate(raw[chosen]))
        if received is None:
            received = torch.empty(len(raw), *part.shape[1:])
        if part.shape[1:] != received.shape[1:]:
            raise AttackError(
                "a pool whose members send samples of one shape",
                f"{tuple(part.shape[1:])} and {tuple(received.shape[1:])}",
                "audit them one by one",
            )
        received[torch.from_numpy(chosen)] = part
    if received is None:
        raise AttackError("at least one sample", "none", "record some")
    return received
