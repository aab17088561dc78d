"""A substitute for the inference network, trained by somebody who was never given it.

It measures what public samples, a bundle's networks and the backend's answers each tell about I. The
attacker knows neither I's architecture nor its training samples, and selects on a part of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from obfnet.attacks.attack import passes
from obfnet.attacks.knowledge import Labels, Obfuscator, Samples
from obfnet.attacks.substitute_network import SubstituteNetwork
from obfnet.core.errors import AttackError
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.data.rows import AnyRows
from obfnet.data.splits import hold_out
from obfnet.fitting import Budget, Schedule, Selection, run_schedule
from obfnet.nets.mode import evaluating

RAW: Final = -1
"""In `Answers.through`: the sample was asked as it is."""

_BATCH: Final = 128
_VALIDATION: Final = 0.1
_MOST_VALIDATION: Final = 1_000
_FEWEST: Final = 20
# What goes on from a trained substitute is a quarter as long and slower.
_FURTHER: Final = 1 / 4
_PEAK_RATE: Final = 3e-3
_FURTHER_RATE: Final = 2e-3
_GRAPH_WEIGHT: Final = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """What the backend answered to the attacker's own samples.

    Args:
        rows: Which of the attacker's samples were asked, `(Q,)` int64.
        through: Number of the pool's network that each went through, `(Q,)` int64; `RAW` for none.
        shares: The answers as shares of the classes, `(Q, K)` float32, each row summing to 1; a row of one 1
            where the backend gives labels only.
    """

    rows: npt.NDArray[np.int64]
    through: npt.NDArray[np.int64]
    shares: npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelKnowledge:
    """What somebody who wants the inference network has.

    Args:
        raw: The attacker's own samples, `(N, *raw_shape)` float32 in [0, 1] or uint8, or lazy rows; never one
            that the substitute is scored on.
        labels: Their true labels, `(N,)` int64 in 0 ... classes-1.
        classes: Number of labels, K.
        pool: The obfuscation networks of the bundles that it holds; empty without any. They must give samples
            of the raw shape, since I takes both.
        answers: The backend's answers; None where it was not asked.

    Raises:
        AttackError: too few samples, labels out of range, or lengths that differ.
    """

    raw: AnyRows
    labels: Labels
    classes: int
    pool: tuple[Obfuscator, ...] = ()
    answers: Answers | None = None

    def __post_init__(self) -> None:
        if len(self.raw) != len(self.labels) or len(self.labels) < _FEWEST:
            raise AttackError(
                f"a label for each of at least {_FEWEST} samples",
                f"{len(self.raw)} samples, {len(self.labels)} labels",
                "give the attacker more samples",
            )
        if self.labels.min() < 0 or self.labels.max() >= self.classes:
            raise AttackError(
                f"labels of 0 to {self.classes - 1}", "labels outside", "number them as the backend does"
            )
        if self.answers is not None and not (
            len(self.answers.rows) == len(self.answers.through) == len(self.answers.shares) > 0
            and self.answers.shares.shape[1:] == (self.classes,)
        ):
            raise AttackError(
                f"{self.classes} shares for each of at least one question", "others", "ask the backend again"
            )


def train_substitute(
    known: ModelKnowledge,
    *,
    effort: float,
    seed: int,
    progress: Progress,
    start: nn.Module | None = None,
    through_graph: bool = False,
    task: str = "train substitute",
) -> nn.Module:
    """Trains a small network to answer as I does.

    Every step shows it public samples with their labels (the backend's answer instead, where it is known),
    the same samples through a network of the pool, since I was found to answer their label there, and asked
    samples with the backend's answers. The weights of the epoch that does best on the attacker's own held-out
    samples are kept.

    Args:
        known: What the attacker has.
        effort: Share of a standard training, as in `attack.passes`.
        seed: Of weights, order and everything else that is random.
        progress: Told of every step.
        start: A substitute of `train_substitute` to go on from, with a quarter of the effort; it is not
            changed. None starts afresh.
        through_graph: Whether to use the bundles a second way too: each O was trained until its loss through
            I hardly depended on O's weights any more, so that a substitute through which it still does is not
            like I. The likeness of that gradient on two halves of a batch is made small, by going backward
            through O's own graph. Takes three times as long.
        task: What to call the work.

    Returns:
        A network in evaluation mode, `(N, *raw_shape)` float32 in [0, 1] to `(N, K)` logits.

    Raises:
        AttackError: no effort; `through_graph` without a pool.
        TrainingError: the loss is not finite.

    Source: Orekondy et al. 2019, *Knockoff Nets* (training on a victim's answers); Papernot et al. 2017,
        *Practical Black-Box Attacks against Machine Learning* (a substitute, to attack by transfer). What is
        made of bundles is our own.
    Differs from paper: no synthetic samples; true labels and obfuscated samples are used as well.

    Does not guarantee: that a larger substitute, or more samples, would not agree more.
    """
    if effort <= 0:
        raise AttackError("an effort above 0", str(effort), "raise it")
    if through_graph and not known.pool:
        raise AttackError("bundles to match through", "none", "leave the second way out")
    torch.manual_seed(seed)
    network = SubstituteNetwork(tuple(known.raw.shape[1:]), known.classes)
    if start is not None:
        network.load_state_dict(start.state_dict())
        effort *= _FURTHER
    held_count = min(_MOST_VALIDATION, max(1, round(_VALIDATION * len(known.labels))))
    kept, held = hold_out(known.labels, held_count, seed=seed)
    training = _Training(known, kept=kept, held=held, seed=seed, through_graph=through_graph)
    budget = Budget(
        schedule=Schedule(
            epochs=passes(len(kept), effort),
            batch_size=_BATCH,
            peak_rate=_PEAK_RATE if start is None else _FURTHER_RATE,
            warm_up=0.2,
            weight_decay=1e-4,
        ),
        seed=seed,
        checkpoint=None,
        progress=progress,
        task=task,
        selection=Selection(score=lambda: training.score(network)),
    )
    network.train()
    run_schedule(network, lambda batch: training.step(network, batch), samples=len(kept), budget=budget)
    return network.eval()


def scores_of(network: nn.Module, samples: AnyRows) -> npt.NDArray[np.float32]:
    """The network's scores, `(N, K)`, batch by batch; its mode is put back.

    Args:
        network: `(N, *shape)` float32 in [0, 1] to `(N, K)` scores.
        samples: `(N, *shape)` float32 in [0, 1] or uint8, or lazy rows.
    """
    with torch.no_grad(), evaluating(network):
        parts = [
            network(_tensor(samples[start : start + 256])).numpy() for start in range(0, len(samples), 256)
        ]
    return np.concatenate(parts).astype(np.float32, copy=False)


def seen_by_backend(
    raw: AnyRows,
    rows: npt.NDArray[np.int64],
    through: npt.NDArray[np.int64],
    pool: Sequence[Obfuscator],
) -> Samples:
    """Some of the samples as they are sent: raw, or through the network of the pool that is named.

    Args:
        raw: `(N, *raw_shape)`.
        rows: Which, `(Q,)`.
        through: Number of the network, `(Q,)`; `RAW` for none.
        pool: The networks.

    Returns:
        `(Q, *raw_shape)` float32 in [0, 1].

    Raises:
        AttackError: a network gives samples of another shape, which cannot be mixed with raw ones.
    """
    samples = as_unit(raw[rows])
    for number in np.unique(through[through != RAW]):
        chosen = through == number
        obfuscated = pool[int(number)].obfuscate(samples[chosen])
        if obfuscated.shape[1:] != samples.shape[1:]:
            raise AttackError(
                f"obfuscated samples of shape {samples.shape[1:]}",
                str(obfuscated.shape[1:]),
                "leave the model's side out of this audit",
            )
        samples[chosen] = as_unit(obfuscated)
    return samples


class _Training:
    """The steps and the score of one training."""

    def __init__(
        self,
        known: ModelKnowledge,
        *,
        kept: npt.NDArray[np.int64],
        held: npt.NDArray[np.int64],
        seed: int,
        through_graph: bool,
    ) -> None:
        self.known, self.kept = known, kept
        self.random = np.random.default_rng(seed)
        self.targets = np.eye(known.classes, dtype=np.float32)[known.labels]
        # An answer says more than the true label: where I errs, the substitute must err.
        if (answers := known.answers) is not None:
            plain = answers.through == RAW
            self.targets[answers.rows[plain]] = answers.shares[plain]
            self.asked = np.flatnonzero(np.isin(answers.rows, kept))
        else:
            self.asked = np.empty(0, np.int64)
        self.held_through = [np.full(len(held), RAW)]
        if known.pool:
            self.held_through.append(np.arange(len(held)) % len(known.pool))
        self.held_samples = [
            seen_by_backend(known.raw, held, through, known.pool) for through in self.held_through
        ]
        self.held_labels = [self.targets[held].argmax(1), known.labels[held]][: len(self.held_samples)]
        self.graphs = [_Graph(network.differentiable()) for network in known.pool] if through_graph else []

    def step(self, network: nn.Module, batch: Tensor) -> float:
        rows = self.kept[batch.numpy()]
        shown, targets = [as_unit(self.known.raw[rows])], [self.targets[rows]]
        number = int(self.random.integers(len(self.known.pool))) if self.known.pool else RAW
        if number != RAW:
            through = np.full(len(rows), number)
            shown.append(seen_by_backend(self.known.raw, rows, through, self.known.pool))
            targets.append(np.eye(self.known.classes, dtype=np.float32)[self.known.labels[rows]])
        if self.known.answers is not None and len(self.asked):
            # Answers are few and worth more than labels: each step sees half as many of them.
            picked = self.random.choice(self.asked, min(len(self.asked), _BATCH // 2), replace=False)
            answers = self.known.answers
            shown.append(
                seen_by_backend(
                    self.known.raw, answers.rows[picked], answers.through[picked], self.known.pool
                )
            )
            targets.append(answers.shares[picked])
        scores = network(torch.from_numpy(np.concatenate(shown)))
        loss = functional.cross_entropy(scores, torch.from_numpy(np.concatenate(targets)))
        if self.graphs:
            labels = torch.from_numpy(self.known.labels[rows])
            loss = loss + _GRAPH_WEIGHT * self.graphs[number].pull(
                network, torch.from_numpy(shown[0]), labels
            )
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def score(self, network: nn.Module) -> float:
        right = [
            float((scores_of(network, samples).argmax(1) == labels).mean())
            for samples, labels in zip(self.held_samples, self.held_labels, strict=True)
        ]
        return sum(right) / len(right)


class _Graph:
    """How much O's weights would still change, had O been trained through this substitute."""

    def __init__(self, network: Any) -> None:
        self.network = network
        # A graph that was read from a bundle holds its weights as buffers; its scalars are bounds.
        weights = dict(network.named_parameters()) or {
            name: value
            for name, value in network.named_buffers()
            if value.is_floating_point() and value.ndim > 0
        }
        if not weights:
            raise AttackError("an obfuscation network with weights", "none", "leave the second way out")
        self.weights = {name: value.detach().clone().requires_grad_() for name, value in weights.items()}

    def pull(self, substitute: nn.Module, raw: Tensor, labels: Tensor) -> Tensor:
        obfuscated = torch.func.functional_call(self.network, self.weights, (raw,))
        # Means and spreads of the batch are those of all that is shown in a step, not of this part.
        with evaluating(substitute):
            losses = functional.cross_entropy(substitute(obfuscated), labels, reduction="none")
        half = len(losses) // 2
        one, other = (
            torch.cat([part.flatten() for part in self._gradient(some)])
            for some in (losses[:half], losses[half:])
        )
        # At a minimum the gradients of two halves have nothing in common; their sizes say nothing.
        return functional.cosine_similarity(one, other, dim=0, eps=1e-6)

    def _gradient(self, losses: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(
            losses.mean(), list(self.weights.values()), create_graph=True, materialize_grads=True
        )


def _tensor(samples: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(as_unit(samples))
