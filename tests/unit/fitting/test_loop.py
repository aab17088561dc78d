"""The training loop: its schedule, its errors, and that a resumed run ends as one that was never stopped."""

import math
from collections.abc import Callable
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from obfnet.core.errors import OutputError, TrainingError, UsageError
from obfnet.core.progress import Progress, Silent
from obfnet.fitting import Budget, Checkpoint, Schedule, run_schedule

SAMPLES = 60
# 14 steps over three and a half epochs of four.
SCHEDULE = Schedule(epochs=3.5, batch_size=15, peak_rate=1e-2)
STEPS = 14


class Recorder:
    """Keeps what a progress display is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def start(self, task: str, total: int) -> None:
        self.told.append(("start", task, total))

    def advance(self, done: int, note: str = "") -> None:
        self.told.append(("advance", done))

    def finish(self, note: str = "") -> None:
        self.told.append(("finish",))

    def say(self, line: str) -> None:
        self.told.append(("say", line))


def network() -> nn.Sequential:
    """Everything that holds a state: channels-last weights, dropout, running statistics, a frozen part."""
    torch.manual_seed(5)
    layers = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(16, 3),
        nn.Linear(3, 3).requires_grad_(False),
    )  # fmt: skip
    return layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def train(
    modules: nn.Module,
    checkpoint: Checkpoint | None = None,
    *,
    schedule: Schedule = SCHEDULE,
    seed: int = 3,
    progress: Progress | None = None,
    before: Callable[[int], None] = lambda number: None,
    loss_of: Callable[[Tensor], Tensor] = lambda loss: loss,
) -> list[list[int]]:
    """Runs the loop on noise; `before` is called before each step computes. Returns the batches."""
    generator = torch.Generator().manual_seed(0)
    samples = torch.rand(SAMPLES, 2, 4, 4, generator=generator)
    labels = torch.randint(0, 3, (SAMPLES,), generator=generator)
    batches: list[list[int]] = []

    def step(batch: Tensor) -> float:
        before(len(batches))
        batches.append(batch.tolist())
        loss = loss_of(nn.functional.cross_entropy(modules(samples[batch]), labels[batch]))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    torch.manual_seed(seed)
    budget = Budget(
        schedule=schedule, seed=seed, checkpoint=checkpoint, progress=progress or Silent(), task="train"
    )
    run_schedule(modules, step, samples=SAMPLES, budget=budget)
    return batches


def checkpoint_in(folder: Path, *, fingerprint: str = "this run") -> Checkpoint:
    return Checkpoint(path=folder / "state", fingerprint=fingerprint, every_s=0)


def state_of(modules: nn.Module) -> dict[str, bytes]:
    return {name: value.contiguous().numpy().tobytes() for name, value in modules.state_dict().items()}


def stopper(number: int, error: BaseException) -> Callable[[int], None]:
    def stop(done: int) -> None:
        if done == number:
            raise error

    return stop


@pytest.fixture(scope="module")
def uninterrupted() -> dict[str, bytes]:
    modules = network()
    train(modules)
    return state_of(modules)


def test_the_same_seed_gives_the_same_weights(uninterrupted: dict[str, bytes]) -> None:
    again, other = network(), network()
    train(again)
    train(other, seed=4)
    assert state_of(again) == uninterrupted
    assert state_of(other) != uninterrupted


@pytest.mark.parametrize("error", [RuntimeError("killed"), KeyboardInterrupt()], ids=type)
@pytest.mark.parametrize("number", [1, 3, 4, 13])
def test_a_stopped_run_ends_as_an_uninterrupted_one(
    tmp_path: Path, uninterrupted: dict[str, bytes], number: int, error: BaseException
) -> None:
    with pytest.raises(type(error)):
        train(network(), checkpoint_in(tmp_path), before=stopper(number, error))
    resumed = network()
    batches = train(resumed, checkpoint_in(tmp_path))
    assert len(batches) == STEPS - number
    assert state_of(resumed) == uninterrupted


def test_a_run_may_be_stopped_again_and_again(tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    runs = 0
    while True:
        runs += 1
        modules = network()
        try:
            train(modules, checkpoint_in(tmp_path), before=stopper(3, KeyboardInterrupt()))
        except KeyboardInterrupt:
            continue
        break
    assert runs == 5
    assert state_of(modules) == uninterrupted


def test_keeping_a_checkpoint_changes_nothing(tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    modules = network()
    train(modules, checkpoint_in(tmp_path))
    assert state_of(modules) == uninterrupted


def test_a_finished_run_is_not_run_again(tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    train(network(), checkpoint_in(tmp_path))
    modules = network()
    assert train(modules, checkpoint_in(tmp_path)) == []
    assert state_of(modules) == uninterrupted


def test_a_checkpoint_of_other_settings_is_not_used(tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    other = checkpoint_in(tmp_path, fingerprint="other")
    with pytest.raises(KeyboardInterrupt):
        train(network(), other, seed=9, before=stopper(5, KeyboardInterrupt()))
    modules = network()
    assert len(train(modules, checkpoint_in(tmp_path))) == STEPS
    assert state_of(modules) == uninterrupted


def test_a_checkpoint_of_another_network_says_so(tmp_path: Path) -> None:
    train(network(), checkpoint_in(tmp_path))
    with pytest.raises(TrainingError, match="a checkpoint of this run, got another one; delete it"):
        train(nn.Sequential(nn.Flatten(), nn.Linear(32, 3)), checkpoint_in(tmp_path))


def test_a_frozen_part_stays_as_it_is() -> None:
    modules = network()
    frozen = modules[-1].weight.clone()  # type: ignore[operator, union-attr]
    train(modules)
    assert torch.equal(modules[-1].weight, frozen)  # type: ignore[arg-type]


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path, factor: float) -> None:
    def broken(loss: Tensor) -> Tensor:
        return loss * factor

    modules = network()
    with pytest.raises(TrainingError, match=r"a finite loss, got (nan|inf) in step 0; lower the learning"):
        train(modules, checkpoint_in(tmp_path), loss_of=broken)
    assert not (tmp_path / "state").exists()


def test_a_checkpoint_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError):
        train(network(), checkpoint_in(tmp_path / "file"))


def test_each_epoch_sees_every_sample_once_in_an_order_of_its_own() -> None:
    batches = train(network())
    epochs = [list(chain(*batches[start : start + 4])) for start in range(0, 12, 4)]
    assert all(sorted(order) == list(range(SAMPLES)) for order in epochs)
    assert len({tuple(order) for order in epochs}) == 3
    assert batches != train(network(), seed=4)


def test_progress_is_told_of_every_step() -> None:
    recorder = Recorder()
    train(network(), progress=recorder)
    steps = [("advance", number) for number in range(1, STEPS + 1)]
    assert recorder.told == [("start", "train", STEPS), *steps, ("finish",)]


def test_a_resumed_run_shows_what_is_left(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(network(), checkpoint_in(tmp_path), before=stopper(10, KeyboardInterrupt()))
    recorder = Recorder()
    train(network(), checkpoint_in(tmp_path), progress=recorder)
    assert recorder.told[:2] == [("start", "train", STEPS), ("advance", 11)]


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"epochs": -1},
        {"epochs": math.nan},
        {"epochs": math.inf},
        {"batch_size": 0},
        {"peak_rate": 0.0},
        {"peak_rate": math.nan},
        {"peak_rate": math.inf},
        {"warm_up": 0.0},
        {"warm_up": 1.0},
    ],
)
def test_an_impossible_schedule_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Schedule(**{"epochs": 1.0, **change})


def test_the_number_of_steps_follows_the_samples() -> None:
    assert Schedule(epochs=4, batch_size=128).steps(55_000) == 1719
    assert Schedule(epochs=0.5, batch_size=10).steps(100) == 5
    assert Schedule(epochs=0.001, batch_size=128).steps(10) == 1


def test_fewer_samples_than_a_batch_make_one_batch() -> None:
    schedule = Schedule(epochs=2, batch_size=1000)
    (batch,) = train(network(), schedule=schedule)
    assert sorted(batch) == list(range(SAMPLES))


@pytest.mark.parametrize("warm_up", [0.1, 0.25, 0.5])
def test_the_rate_rises_to_its_peak_and_falls_to_almost_nothing(warm_up: float) -> None:
    schedule = Schedule(epochs=1, peak_rate=2e-3, warm_up=warm_up)
    steps = 1000
    rates = [schedule.rate(step, steps) for step in range(steps)]
    peak = round(warm_up * steps)
    assert rates[0] == pytest.approx(0.04 * 2e-3)
    assert rates[peak] == max(rates) == pytest.approx(2e-3)
    assert all(a < b for a, b in pairwise(rates[: peak + 1]))
    assert all(a > b for a, b in pairwise(rates[peak:]))
    assert 0 < rates[-1] < 2e-3 * 1e-4
