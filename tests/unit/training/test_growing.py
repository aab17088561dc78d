"""Training at camera size starts with averaged samples, where the same holds for whole ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from torch import Tensor, nn

from obfnet.core.progress import Silent
from obfnet.data.arrays import array_dataset
from obfnet.data.case import Dataset
from obfnet.data.table import Split
from obfnet.fitting import Checkpoint, Schedule
from obfnet.training import part
from obfnet.training.growing import answers_halves, sizes_asked
from obfnet.training.inference import InferenceCard, InferenceNetwork
from obfnet.training.obfuscation import PoolSettings, train_obfuscation
from obfnet.training.protections import Answer, Batch, Outcome
from obfnet.training.published import Published

SIDE, BATCH, STEPS = 192, 8, 12
FIRST = round(0.85 * STEPS)
SETTINGS = PoolSettings(
    architecture="conv", hidden=4, count=1, schedule=Schedule(epochs=STEPS * BATCH / 80, batch_size=BATCH)
)
SHAPE = (3, SIDE, SIDE)


class Brightness(nn.Module):
    """Dark or bright, of pictures of any size; notes the size of those that training asks about."""

    def __init__(self, sides: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.only, self.asked, self.counts = sides, list[int](), list[int]()

    def forward(self, samples: Tensor) -> Tensor:
        side = samples.shape[-1]
        if self.only and side not in self.only:
            raise RuntimeError(f"a side of {self.only}")
        # One sample alone is passed to see what a pass keeps.
        if samples.requires_grad and len(samples) > 1:
            self.asked.append(side)
            self.counts.append(len(samples))
        mean = samples.mean((1, 2, 3))
        return 8 * torch.stack([0.5 - mean, mean - 0.5], 1)


class Sharpness(Brightness):
    """Whether neighbouring columns differ: nothing that an averaged picture tells."""

    def forward(self, samples: Tensor) -> Tensor:
        super().forward(samples)
        edges = samples.diff(dim=3).abs().mean((1, 2, 3))
        return torch.stack([0.3 - edges, edges - 0.3], 1)


class Flattened(Brightness):
    """Gives fewer rows for small pictures, as one that flattens to a fixed number of values does."""

    def forward(self, samples: Tensor) -> Tensor:
        scores = super().forward(samples)
        return scores if samples.shape[-1] == SIDE else scores[::4]


class Stopped(Silent):
    """Ctrl-C in a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def advance(self, done: int, note: str = "") -> None:
        if done == self.step:
            raise KeyboardInterrupt


class Recorder(Silent):
    """Keeps what the user is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def pictures() -> Dataset:
    random = np.random.default_rng(0)
    labels = np.arange(100) % 2
    level = np.where(labels, 190, 60)[:, None, None, None]
    # Stripes a pixel wide in every other pair: averaged away.
    stripes = np.where((np.arange(100) // 2 % 2 == 0)[:, None], (np.arange(SIDE) % 2) * 120 - 60, 0)
    noise = random.integers(-20, 20, (100, *SHAPE))
    return array_dataset((level + stripes[:, None, None, :] + noise).clip(0, 255).astype(np.uint8), labels)


def inference_of(network: nn.Module, data: Dataset, folder: Path) -> InferenceNetwork:
    card = InferenceCard(
        format_version=1,
        id="0" * 64,
        case=data.spec.name,
        split=data.split,
        architecture="own",
        input=data.spec.input,
        classes=data.spec.classes,
        weights_sha256="0" * 64,
        validation_accuracy=1.0,
        seed=0,
        fingerprint="0" * 64,
    )
    return InferenceNetwork(card=card, network=network.eval(), folder=folder)


def trained(
    network: nn.Module, data: Dataset, out: Path, progress: Silent, settings: PoolSettings = SETTINGS
) -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    inference = inference_of(network, data, out)
    train_obfuscation(data, inference, out=out, key=key, settings=settings, progress=progress)
    return next(out.glob("*.obfnet")).read_bytes()


def test_most_of_the_steps_are_about_averaged_pictures_of_several_sizes(
    pictures: Dataset, tmp_path: Path
) -> None:
    network, told = Brightness(), Recorder()
    trained(network, pictures, tmp_path, told)
    assert set(network.asked[:FIRST]) <= {56, 80, SIDE // 2, 128}
    assert len(set(network.asked[:FIRST])) > 1
    assert network.asked[FIRST:] == [SIDE] * (STEPS - FIRST)
    assert any("averaged by 2x2" in line for line in told.lines)


def test_the_first_part_asks_for_what_the_network_sees_and_needs_no_labels(
    pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[str] = []

    def noted(name: str) -> None:
        former = getattr(Published, name)

        def note(self: Published, network: nn.Module, answer: Answer, batch: Batch) -> Outcome:
            parts.append(name)
            outcome: Outcome = former(self, network, answer, batch)
            other = replace(batch, labels=1 - batch.labels)
            alike = torch.equal(former(self, network, answer, other).loss, outcome.loss)
            assert alike == (name == "opening")
            return outcome

        monkeypatch.setattr(Published, name, note)

    noted("opening")
    noted("closing")
    # One that refuses averaged pictures is trained in two parts too.
    trained(Brightness((SIDE,)), pictures, tmp_path, Silent())
    assert parts == ["opening"] * FIRST + ["closing"] * (STEPS - FIRST)


def test_a_code_is_learnt_from_a_quarter_of_whole_pictures(pictures: Dataset, tmp_path: Path) -> None:
    network = Brightness()
    trained(network, pictures, tmp_path, Silent(), replace(SETTINGS, protection="coded", bits=8))
    # Such a network is asked in every third step.
    assert (network.asked, network.counts) == ([SIDE] * 4, [BATCH // 4] * 4)


def test_opponents_of_whole_pictures_keep_them_whole(pictures: Dataset, tmp_path: Path) -> None:
    network = Brightness()
    trained(network, pictures, tmp_path, Silent(), replace(SETTINGS, protection="adversarial"))
    assert network.asked == [SIDE] * STEPS


@pytest.mark.parametrize(
    ("protection", "bits", "changes"),
    [("published", None, ("flip", "colour")), ("coded", 8, ("flip",)), ("adversarial", None, ("flip",))],
)
def test_few_passes_see_all_that_an_inference_network_is_taught(
    protection: str, bits: int | None, changes: tuple[str, ...], pictures: Dataset
) -> None:
    recipe = replace(
        pictures.spec.recipe, augmentation=("flip", "colour"), obfuscation_augmentation=("flip",)
    )
    data = replace(pictures, spec=replace(pictures.spec, recipe=recipe))
    settings = PoolSettings(architecture="conv", protection=protection, bits=bits)
    assert settings.for_case(data).augmentation == changes
    small = replace(data.spec, input=replace(data.spec.input, shape=(3, 64, 64)))
    assert settings.for_case(replace(data, spec=small)).augmentation == ("flip",)
    assert replace(settings, architecture="mlp").for_case(data).augmentation == ("flip",)


def test_a_network_of_one_size_is_asked_about_whole_pictures(pictures: Dataset, tmp_path: Path) -> None:
    network, told = Brightness((SIDE,)), Recorder()
    trained(network, pictures, tmp_path, told)
    assert network.asked == [SIDE] * STEPS
    assert not any("averaged" in line for line in told.lines)


def test_a_network_that_looks_at_details_is_asked_about_whole_pictures(pictures: Dataset) -> None:
    few = pictures.validation.take(np.arange(3))
    assert answers_halves(Brightness(), pictures.validation, SHAPE)
    assert not answers_halves(Sharpness(), pictures.validation, SHAPE)
    assert not answers_halves(Flattened(), pictures.validation, SHAPE)
    assert not answers_halves(Flattened(), few, SHAPE)


def test_only_sizes_that_it_takes_are_asked_about() -> None:
    assert sizes_asked(Brightness(), SHAPE) == [(56, 56), (80, 80), (96, 96), (128, 128)]
    assert sizes_asked(Brightness((80, 128)), SHAPE) == [(80, 80), (128, 128)]
    assert sizes_asked(Flattened(), SHAPE) == []
    assert sizes_asked(Brightness(), (3, SIDE, 2 * SIDE)) == [(56, 112), (80, 152), (96, 192), (128, 248)]


def test_odd_sides_are_not_halved(pictures: Dataset) -> None:
    odd = Split(samples=pictures.validation.samples[:, :, 1:], labels=pictures.validation.labels)
    assert not answers_halves(Brightness(), odd, (3, SIDE - 1, SIDE))


def test_a_network_of_layers_is_asked_in_parts_for_what_it_sees(
    pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(part, "ROOM_BYTES", 2**26)
    layers = nn.Sequential(
        nn.Conv2d(3, 32, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 2)
    )
    told = Recorder()
    settings = replace(SETTINGS, schedule=Schedule(epochs=4 * 64 / 80, batch_size=64))
    trained(layers, pictures, tmp_path, told, settings)
    assert any("samples at a time and not 64" in line for line in told.lines)


def test_a_stopped_training_goes_on_at_the_size_that_is_next(
    pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Checkpoint.__init__.__kwdefaults__, "every_s", 0.0)
    whole = trained(Brightness(), pictures, tmp_path / "whole", Silent())
    with pytest.raises(KeyboardInterrupt):
        trained(Brightness(), pictures, tmp_path / "stopped", Stopped(11))
    resumed = Brightness()
    assert trained(resumed, pictures, tmp_path / "stopped", Silent()) == whole
    # Step 11 was not saved: it is done again.
    assert resumed.asked == [SIDE, SIDE]


def test_a_first_part_on_whole_pictures_is_resumed_too(
    pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Checkpoint.__init__.__kwdefaults__, "every_s", 0.0)
    whole = trained(Brightness((SIDE,)), pictures, tmp_path / "whole", Silent())
    with pytest.raises(KeyboardInterrupt):
        trained(Brightness((SIDE,)), pictures, tmp_path / "stopped", Stopped(7))
    assert trained(Brightness((SIDE,)), pictures, tmp_path / "stopped", Silent()) == whole
