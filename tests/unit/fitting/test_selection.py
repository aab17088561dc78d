"""Selection on validation: the best epoch is kept, and a run that gets no better stops; after a stop too."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from obfnet.core.errors import UsageError
from obfnet.core.progress import Silent
from obfnet.fitting import Budget, Checkpoint, Schedule, Selection, processor, run_schedule
from obfnet.fitting.loop import OPTIMISERS

SAMPLES, BATCH = 60, 15
PER_EPOCH = SAMPLES // BATCH


class Told(Silent):
    """Keeps the notes of a run's steps."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, str]] = []

    def advance(self, done: int, note: str = "") -> None:
        self.steps.append((done, note))


class Run:
    """A run on noise with scores that are given, one an epoch; keeps the weights of each epoch's end."""

    def __init__(
        self, scores: list[float] | None = None, *, optimiser: str = "adam", epochs: float = 6
    ) -> None:
        torch.manual_seed(5)
        self.network = nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(16, 3)
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.scores, self.ends, self.steps, self.told = scores, list[dict[str, bytes]](), 0, Told()
        self.schedule = Schedule(
            epochs=epochs, batch_size=BATCH, peak_rate=1e-2, optimiser=optimiser, weight_decay=1e-3
        )
        generator = torch.Generator().manual_seed(0)
        self.samples = torch.rand(SAMPLES, 2, 4, 4, generator=generator)
        self.labels = torch.randint(0, 3, (SAMPLES,), generator=generator)

    def start(
        self,
        folder: Path | None = None,
        *,
        patience: int | None = None,
        before: Callable[[int], None] = lambda number: None,
    ) -> "Run":
        def step(batch: Tensor) -> float:
            before(self.steps)
            self.steps += 1
            loss = nn.functional.cross_entropy(self.network(self.samples[batch]), self.labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.item()

        checkpoint = None
        if folder is not None:
            checkpoint = Checkpoint(path=folder / "state", fingerprint="this run", every_s=0)
        self.selection = Selection(score=self.score, patience=patience)
        torch.manual_seed(3)
        budget = Budget(
            schedule=self.schedule, seed=3, checkpoint=checkpoint, progress=self.told, task="train",
            selection=self.selection,
        )  # fmt: skip
        run_schedule(self.network, step, samples=SAMPLES, budget=budget)
        return self

    def score(self) -> float:
        self.ends.append(self.state)
        if self.scores is not None:
            return self.scores[len(self.ends) - 1]
        # A score of the network's own, as validation accuracy is, which a resumed run sees too.
        self.network.eval()
        with torch.no_grad():
            right = (self.network(self.samples).argmax(1) == self.labels).float().mean()
        self.network.train()
        return float(right)

    @property
    def state(self) -> dict[str, bytes]:
        return {
            name: value.contiguous().numpy().tobytes() for name, value in self.network.state_dict().items()
        }


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([0.1, 0.5, 0.3, 0.4, 0.2, 0.1], 1),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 5),
        ([0.9, 0.2, 0.3, 0.4, 0.5, 0.6], 0),
        ([0.5, 0.5, 0.5, 0.5, 0.5, 0.5], 0),
        ([math.nan, 0.1, math.nan, 0.2, 0.1, math.nan], 3),
    ],
)
def test_the_weights_of_the_best_epoch_are_kept(scores: list[float], best: int, optimiser: str) -> None:
    run = Run(scores, optimiser=optimiser).start()
    assert len(run.ends) == 6
    assert run.steps == 6 * PER_EPOCH
    assert run.selection.best == scores[best]
    assert run.state == run.ends[best]


def test_where_no_score_is_a_number_the_last_weights_are_kept() -> None:
    run = Run([math.nan] * 6).start()
    assert run.state == run.ends[-1]


@pytest.mark.parametrize(
    ("scores", "patience", "epochs"),
    [
        ([0.5, 0.4, 0.4, 0.9, 0.9, 0.9], 2, 3),
        ([0.5, 0.4, 0.6, 0.5, 0.5, 0.9], 2, 5),
        ([0.5, 0.5, 0.9, 0.9, 0.9, 0.9], 1, 2),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 1, 6),
        ([0.5, 0.4, 0.3, 0.2, 0.1, 0.0], 9, 6),
    ],
)
def test_a_run_that_gets_no_better_stops(scores: list[float], patience: int, epochs: int) -> None:
    run = Run(scores).start(patience=patience)
    assert len(run.ends) == epochs
    assert run.steps == epochs * PER_EPOCH
    assert run.state == run.ends[scores.index(max(scores[:epochs]))]
    # Whoever watches sees a finished run, and what the best was.
    assert run.told.steps[-1][0] == 6 * PER_EPOCH
    assert f"best validation {max(scores[:epochs]):.2%}" in run.told.steps[-1][1]


def test_the_end_of_an_unfinished_epoch_is_looked_at_too() -> None:
    assert len(Run([0.1, 0.2, 0.3], epochs=2.5).start().ends) == 3
    run = Run([0.3], epochs=0.5).start()
    assert (run.steps, run.state) == (2, run.ends[0])


def test_looking_changes_nothing_but_which_weights_are_kept() -> None:
    """A run without selection ends with the weights that one with it had at its end."""
    chosen, plain = Run([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).start(), Run()
    torch.manual_seed(3)

    def step(batch: Tensor) -> float:
        loss = nn.functional.cross_entropy(plain.network(plain.samples[batch]), plain.labels[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    budget = Budget(schedule=plain.schedule, seed=3, checkpoint=None, progress=Silent(), task="train")
    run_schedule(plain.network, step, samples=SAMPLES, budget=budget)
    assert plain.state == chosen.state


def stopper(number: int) -> Callable[[int], None]:
    def stop(done: int) -> None:
        if done == number:
            raise KeyboardInterrupt

    return stop


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("patience", [None, 2])
@pytest.mark.parametrize("number", [1, 4, 9])
def test_a_stopped_run_selects_as_an_uninterrupted_one(
    tmp_path: Path, optimiser: str, patience: int | None, number: int
) -> None:
    whole = Run(optimiser=optimiser).start(patience=patience)
    with pytest.raises(KeyboardInterrupt):
        Run(optimiser=optimiser).start(tmp_path, patience=patience, before=stopper(number))
    resumed = Run(optimiser=optimiser).start(tmp_path, patience=patience)
    assert resumed.steps == whole.steps - number
    assert resumed.state == whole.state
    assert resumed.selection.best == whole.selection.best


@pytest.mark.parametrize("patience", [None, 1])
def test_a_finished_run_is_not_run_again_and_keeps_its_best(tmp_path: Path, patience: int | None) -> None:
    scores = [0.1, 0.9, 0.2, 0.3, 0.4, 0.5]
    first = Run(scores).start(tmp_path, patience=patience)
    again = Run(scores).start(tmp_path, patience=patience)
    assert again.steps == 0
    assert again.ends == []
    assert again.state == first.state == first.ends[1]


def test_the_optimisers_are_not_the_same() -> None:
    adam, sgd = (Run([1.0] * 6, optimiser=name).start() for name in OPTIMISERS)
    assert adam.state != sgd.state


@pytest.mark.parametrize(
    "change", [{"optimiser": "adagrad"}, {"weight_decay": -1.0}, {"weight_decay": math.nan}]
)
def test_an_impossible_optimiser_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="an optimiser of adam, sgd and weight_decay"):
        Schedule(epochs=1, **change)  # type: ignore[arg-type]


def test_descent_is_pytorchs_with_decay_of_weights_only() -> None:
    """One step by hand: Nesterov's first step is 1.9 times the gradient, decay goes to what has two axes."""
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    weight, bias = network.weight.detach().clone(), network.bias.detach().clone()
    schedule = Schedule(
        epochs=1, batch_size=4, peak_rate=0.1, warm_up=0.5, optimiser="sgd", weight_decay=0.25
    )

    def step(batch: Tensor) -> float:
        network(torch.ones(1, 3)).sum().backward()
        return 0.0

    budget = Budget(schedule=schedule, seed=0, checkpoint=None, progress=Silent(), task="train")
    run_schedule(network, step, samples=4, budget=budget)
    rate = schedule.rate(0, 1)
    torch.testing.assert_close(network.weight.detach(), weight - rate * 1.9 * (1 + 0.25 * weight))
    torch.testing.assert_close(network.bias.detach(), bias - rate * 1.9)


def test_processors_have_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert processor("cpu") == processor("auto") == torch.device("cpu")
    with pytest.raises(UsageError, match="a GPU that this torch can use, got none; use --processor cpu"):
        processor("cuda")
    with pytest.raises(UsageError, match="a processor of auto, cpu, cuda, got 'tpu'"):
        processor("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (processor("cpu").type, processor("auto").type, processor("cuda").type) == ("cpu", "cuda", "cuda")
