"""One resumable training loop for every network of ObfNet.

It knows batches, the one-cycle learning rate, checkpoints and progress; what a step computes is
handed to it. A run that was killed and started again ends with the same weights as one that was not.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from obfnet.core.errors import TrainingError, UsageError
from obfnet.core.progress import Progress
from obfnet.fitting.checkpoint import Checkpoint, State
from obfnet.fitting.selection import Selection

# What an optimiser keeps for each parameter, Adam and gradient descent alike.
_MOMENTS: Final = ("step", "exp_avg", "exp_avg_sq", "momentum_buffer")
_MOMENTUM: Final = 0.9
OPTIMISERS: Final = ("adam", "sgd")

Step = Callable[[Tensor], float]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long to train and how fast: a one-cycle learning rate with Adam, or with Nesterov momentum.

    Args:
        epochs: Passes over the training samples, > 0; may be a fraction.
        batch_size: Samples a step, ≥ 1.
        peak_rate: Highest learning rate, > 0; the rate rises to it, then falls to 0 along a cosine.
        warm_up: Share of the steps in which the rate rises, in (0, 1).
        optimiser: `"adam"`, or `"sgd"`: stochastic gradient descent with Nesterov momentum 0.9.
        weight_decay: Of weights, ≥ 0; of parameters with one axis (biases, norms) there is none.

    Source: Smith and Topin 2018, *Super-Convergence* (the one-cycle policy).
    """

    epochs: float
    batch_size: int = 64
    peak_rate: float = 4e-3
    warm_up: float = 0.1
    optimiser: str = "adam"
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.epochs < math.inf:
            raise UsageError("epochs above 0", f"{self.epochs}", "give a finite number above 0")
        if self.batch_size < 1:
            raise UsageError("a batch size of at least 1", f"{self.batch_size}", "use a larger one")
        if not (0 < self.peak_rate < math.inf and 0 < self.warm_up < 1):
            raise UsageError(
                "peak_rate > 0 and warm_up in (0, 1)", f"{self.peak_rate}, {self.warm_up}", "change it"
            )
        if self.optimiser not in OPTIMISERS or not 0 <= self.weight_decay < math.inf:
            raise UsageError(
                f"an optimiser of {', '.join(OPTIMISERS)} and weight_decay ≥ 0",
                f"{self.optimiser!r}, {self.weight_decay}",
                "change it",
            )

    def steps(self, samples: int) -> int:
        """Number of steps for that many training samples, at least 1."""
        return max(1, round(self.epochs * samples / self.batch_size))

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step (0-based) out of `steps`.

        Example:
            >>> schedule = Schedule(epochs=1, peak_rate=1.0, warm_up=0.5)
            >>> [round(schedule.rate(step, 4), 3) for step in range(4)]
            [0.04, 0.52, 1.0, 0.5]
        """
        position = step / steps
        if position < self.warm_up:
            return self.peak_rate * (0.04 + 0.96 * position / self.warm_up)
        return self.peak_rate * 0.5 * (1 + math.cos(math.pi * (position - self.warm_up) / (1 - self.warm_up)))


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a training run may use: length, seed, where to keep its state, whom to tell.

    Args:
        schedule: Length and learning rate.
        seed: Of initial weights, sample order and dropout.
        checkpoint: State of an unfinished run, or None to keep none.
        progress: Told of every step.
        task: What to call the work.
        selection: Keeps the weights that do best on validation, and may end the run; None keeps the last.
    """

    schedule: Schedule
    seed: int
    checkpoint: Checkpoint | None
    progress: Progress
    task: str
    selection: Selection | None = None


def run_schedule(
    modules: nn.Module,
    step: Step,
    *,
    samples: int,
    budget: Budget,
) -> None:
    """Trains `modules` in place, from their present weights or from the checkpoint's.

    Args:
        modules: Everything that is trained, as one module; its parameters with gradients are optimised.
        step: Gets the indices of a batch, `(B,)` int64, computes gradients (backward included) and
            returns the loss to show.
        samples: Number of training samples, indices 0 ... samples-1.
        budget: Length, seed, checkpoint (it holds the finished state at the end; drop it when the result is
            kept elsewhere), progress.

    Raises:
        TrainingError: the loss is not finite.
        OutputError: a checkpoint cannot be written.
    """
    schedule, checkpoint, progress = budget.schedule, budget.checkpoint, budget.progress
    parameters = {name: value for name, value in modules.named_parameters() if value.requires_grad}
    buffers = dict(modules.named_buffers())
    optimiser = _optimiser(parameters, schedule)
    steps = schedule.steps(samples)
    selection = budget.selection
    done = _restore(checkpoint, parameters, buffers, optimiser, selection)
    per_epoch = max(1, samples // schedule.batch_size)
    progress.start(budget.task, steps)
    for number, batch in _batches(samples, schedule.batch_size, budget.seed, first=done, steps=steps):
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate(number, steps)
        optimiser.zero_grad(set_to_none=True)
        loss = step(batch)
        if not math.isfinite(loss):
            raise TrainingError("a finite loss", f"{loss} in step {number}", "lower the learning rate")
        optimiser.step()
        done = number + 1
        epoch_ended = done % per_epoch == 0 or done == steps
        ended = epoch_ended and selection is not None and selection.look(modules)
        if ended:
            done = steps
        progress.advance(done, f"loss {loss:.3f}" + _best(selection))
        # Only here is the state whole: a Ctrl-C elsewhere falls back to the last save.
        if checkpoint is not None and checkpoint.due():
            checkpoint.save(_state(done, parameters, buffers, optimiser, selection))
        if ended:
            break
    if checkpoint is not None:
        checkpoint.save(_state(steps, parameters, buffers, optimiser, selection))
    if selection is not None:
        selection.restore(modules)
    progress.finish()


def _best(selection: Selection | None) -> str:
    return f", best validation {selection.best:.2%}" if selection is not None and selection.best >= 0 else ""


def _optimiser(parameters: dict[str, nn.Parameter], schedule: Schedule) -> torch.optim.Optimizer:
    groups = [
        {
            "params": [value for value in parameters.values() if value.ndim > 1],
            "weight_decay": schedule.weight_decay,
        },
        {"params": [value for value in parameters.values() if value.ndim <= 1], "weight_decay": 0.0},
    ]
    if schedule.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=schedule.peak_rate, momentum=_MOMENTUM, nesterov=True, fused=True)
    return torch.optim.Adam(groups, lr=schedule.peak_rate, fused=True)


def _batches(
    samples: int, batch_size: int, seed: int, *, first: int, steps: int
) -> Iterator[tuple[int, Tensor]]:
    # Each epoch's order comes from its own generator, so that a resumed run needs no replay.
    per_epoch = max(1, samples // batch_size)
    epoch, order = -1, torch.empty(0, dtype=torch.int64)
    for number in range(first, steps):
        if number // per_epoch != epoch:
            epoch = number // per_epoch
            order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
        start = (number % per_epoch) * batch_size
        yield number, order[start : start + batch_size]


def _state(
    done: int,
    parameters: dict[str, nn.Parameter],
    buffers: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    selection: Selection | None,
) -> State:
    tensors = {"rng": torch.get_rng_state()}
    tensors.update({f"buffer/{name}": value for name, value in buffers.items()})
    for name, parameter in parameters.items():
        tensors[f"weight/{name}"] = parameter.detach()
        moments = optimiser.state.get(parameter, {})
        tensors.update({f"{key}/{name}": moments[key] for key in _MOMENTS if key in moments})
    if selection is not None:
        tensors.update(selection.state())
    return State(done=done, tensors={name: value.cpu() for name, value in tensors.items()})


def _restore(
    checkpoint: Checkpoint | None,
    parameters: dict[str, nn.Parameter],
    buffers: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    selection: Selection | None,
) -> int:
    state = checkpoint.load() if checkpoint is not None else None
    if state is None:
        return 0
    try:
        with torch.no_grad():
            for name, value in buffers.items():
                value.copy_(state.tensors[f"buffer/{name}"])
            for name, parameter in parameters.items():
                parameter.copy_(state.tensors[f"weight/{name}"])
                moments = {
                    key: state.tensors[f"{key}/{name}"].to(parameter.device)
                    for key in _MOMENTS
                    if f"{key}/{name}" in state.tensors
                }
                for key in set(moments) - {"step"}:
                    # Same memory layout as an uninterrupted run has, or sums are rounded otherwise.
                    moments[key] = torch.empty_like(parameter).copy_(moments[key])
                optimiser.state[parameter] = moments
        torch.set_rng_state(state.tensors["rng"])
        if selection is not None:
            selection.resume(state.tensors)
    except (KeyError, RuntimeError) as exc:
        raise TrainingError("a checkpoint of this run", "another one", "delete it and train again") from exc
    return state.done
