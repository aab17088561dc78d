"""From a case's recipe to schedules; and that training with all of it selects, resumes and stays small."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from obfnet.core.errors import UsageError
from obfnet.core.progress import Silent
from obfnet.data.case import Dataset, Recipe
from obfnet.data.cases import CASES, split_table
from obfnet.data.table import TEST, TRAIN, Table
from obfnet.fitting import Checkpoint, Schedule
from obfnet.nets import INFERENCE_ARCHITECTURES, OBFUSCATION_ARCHITECTURES
from obfnet.training.classifier import accuracy
from obfnet.training.inference import train_inference
from obfnet.training.recipes import ClassifierRecipe, inference_recipe, obfuscation_schedule

SPEC = dataclasses.replace(
    CASES.get("digits"),
    recipe=Recipe(
        inference_epochs={"mlp": 3.5, "": 7.0},
        obfuscation_epochs=2.5,
        optimiser="sgd",
        augmentation=("crop", "erase"),
    ),
)


def test_the_epochs_are_the_architectures_own_or_those_of_any_other() -> None:
    assert inference_recipe(SPEC, "mlp").schedule.epochs == 3.5
    assert inference_recipe(SPEC, "cnn").schedule.epochs == 7
    assert inference_recipe(SPEC, "cnn", epochs=0.5).schedule.epochs == 0.5
    assert obfuscation_schedule(SPEC).epochs == 2.5
    assert obfuscation_schedule(SPEC, epochs=9).epochs == 9


@pytest.mark.parametrize("architecture", INFERENCE_ARCHITECTURES.names())
def test_plain_descent_is_for_networks_that_take_its_rates(architecture: str) -> None:
    made = inference_recipe(SPEC, architecture)
    normed = architecture in ("residual", "compact")
    assert (made.schedule.optimiser == "sgd") == normed
    assert (made.smoothing > 0) == (made.schedule.weight_decay > 0) == normed
    assert made.augmentation == ("crop", "erase")
    adam = dataclasses.replace(SPEC, recipe=dataclasses.replace(SPEC.recipe, optimiser="adam"))
    assert inference_recipe(adam, architecture).schedule.optimiser == "adam"


@pytest.mark.parametrize("epochs", [0, -1, float("nan")])
def test_impossible_epochs_are_refused_before_any_data_is_read(epochs: float) -> None:
    with pytest.raises(UsageError):
        inference_recipe(SPEC, "cnn", epochs=epochs)
    with pytest.raises(UsageError):
        obfuscation_schedule(SPEC, epochs=epochs)


@pytest.mark.parametrize("case", CASES.names())
def test_every_cases_networks_are_registered_and_can_be_named_both_ways(case: str) -> None:
    spec = CASES.get(case)
    for name, architecture in spec.inference.items():
        assert architecture in INFERENCE_ARCHITECTURES.names()
        assert spec.inference_architecture(name) == architecture
        assert inference_recipe(spec, architecture).schedule.epochs > 0
    for name, architecture in spec.obfuscation.items():
        assert architecture in OBFUSCATION_ARCHITECTURES.names()
        assert spec.obfuscation_architecture(name) == architecture
    assert spec.inference_architecture() == next(iter(spec.inference.values()))
    assert spec.obfuscation_architecture() == next(iter(spec.obfuscation.values()))
    assert spec.inference_architecture("residual") == "residual"


class Stopper(Silent):
    """Interrupts a training in one of its steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def advance(self, done: int, note: str = "") -> None:
        if done == self.step:
            raise KeyboardInterrupt


RECIPE = ClassifierRecipe(
    schedule=Schedule(
        epochs=4, batch_size=64, peak_rate=0.1, warm_up=0.25, optimiser="sgd", weight_decay=5e-4
    ),
    augmentation=("crop", "colour", "erase"),
    smoothing=0.1,
)


@pytest.fixture(scope="module")
def photographs() -> Dataset:
    """Sixteen-pixel pictures of three classes that differ in colour and position."""
    random = np.random.default_rng(0)
    count = 420
    labels = np.arange(count) % 3
    samples = random.integers(0, 90, (count, 3, 16, 16)).astype(np.uint8)
    for number, label in enumerate(labels):
        samples[number, label, 2 + 4 * label : 7 + 4 * label] += 100
    spec = dataclasses.replace(
        CASES.get("cifar10"),
        name="toy",
        classes=("a", "b", "c"),
        input=dataclasses.replace(CASES.get("cifar10").input, shape=(3, 16, 16)),
    )
    part = np.where(np.arange(count) < 360, TRAIN, TEST)
    table = Table(samples=samples, labels=labels, part=part)
    return split_table(spec, table, dataclasses.replace(spec.splits[0], validation=60))


def test_a_residual_network_trained_by_the_whole_recipe_learns_and_resumes_to_the_same_bytes(
    photographs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Checkpoint.__init__.__kwdefaults__, "every_s", 0.0)

    def train(name: str, progress: Silent) -> dict[str, bytes]:
        trained = train_inference(
            photographs,
            out=tmp_path / name,
            architecture="compact",
            recipe=RECIPE,
            patience=3,
            place="cpu",
            progress=progress,
        )
        assert trained.card.validation_accuracy > 0.9
        assert trained.card.validation_accuracy == accuracy(trained.network, photographs.validation)
        return {path.name: path.read_bytes() for path in trained.folder.iterdir()}

    whole = train("whole", Silent())
    with pytest.raises(KeyboardInterrupt):
        train("stopped", Stopper(7))
    assert train("stopped", Silent()) == whole


LIMIT_BYTES = 420_000_000
# Trains on the rows of a file and says how much memory the process ever had.
MEMORY = """
import dataclasses, json, resource, sys
from pathlib import Path
import numpy as np
from obfnet.data.cases import CASES, split_table
from obfnet.data.prepared import Entry, prepare
from obfnet.data.table import TEST, TRAIN
from obfnet.fitting import Schedule
from obfnet.core.progress import Silent
from obfnet.training.classifier import accuracy
from obfnet.training.inference import train_inference
from obfnet.training.recipes import ClassifierRecipe
from obfnet.nets import INFERENCE_ARCHITECTURES
from torch import nn
import torch

class Tiny(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.scores = nn.Linear(3, classes)
    def forward(self, samples):
        return self.scores(samples.mean((2, 3)))

import types
tiny = types.ModuleType("tiny")
tiny.Tiny = Tiny
sys.modules["tiny"] = tiny
INFERENCE_ARCHITECTURES.add("tiny", "tiny:Tiny")
count, out, limit_bytes = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
spec = dataclasses.replace(CASES.get("asl"), name=f"toy{count}", classes=("a", "b"))
one = np.zeros((3, 64, 64), np.uint8)

def entries():
    for number in range(count):
        yield Entry(name=str(number), label=number % 2, part=TEST if number % 10 == 0 else TRAIN), lambda: one

table, _ = prepare(spec.name, {}, spec.input, entries, count=count, progress=Silent())
data = split_table(spec, table, dataclasses.replace(spec.splits[0], validation_by_group=False))
if limit_bytes:
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
recipe = ClassifierRecipe(schedule=Schedule(epochs=1, batch_size=256))
trained = train_inference(data, out=out, architecture="tiny", recipe=recipe, place="cpu")
accuracy(trained.network, data.test)
print(json.dumps({
    "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    "samples": count * spec.input.values,
}))
"""


def trained_in_its_own_process(count: int, folder: Path, limit_bytes: int = 0) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(count), str(folder / str(count)), str(limit_bytes)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_memory_does_not_grow_with_the_samples_of_which_there_are_more_than_it_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBFNET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    few = trained_in_its_own_process(9_000, tmp_path)
    # As bytes they are more than the process may allocate; as float32 they would be four times that.
    many = trained_in_its_own_process(36_000, tmp_path, limit_bytes=LIMIT_BYTES)
    assert many["samples"] > LIMIT_BYTES
    assert many["peak"] < 1.1 * few["peak"]
