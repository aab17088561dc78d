"""A pool: signed, of networks that differ, the same for the same seed, and I untouched by its training."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from torch import Tensor, nn

from obfnet.bundle import Pool, Trust, public_key_text, read_pool
from obfnet.core.errors import OutputError, TrainingError, UnknownNameError, UsageError
from obfnet.core.progress import Silent
from obfnet.data.cases import Dataset
from obfnet.edge import ObfuscationSession
from obfnet.fitting import Schedule
from obfnet.training.inference import InferenceNetwork, train_inference
from obfnet.training.obfuscation import PoolSettings, TrainedPool, train_obfuscation
from obfnet.training.protections import Batch, Outcome
from obfnet.training.published import Published
from tests.unit.training.conftest import SCHEDULE, SETTINGS

SHORT = dataclasses.replace(SETTINGS, count=1, schedule=Schedule(epochs=0.2, batch_size=64))


class Recorder(Silent):
    """Keeps what the user is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.tasks: list[str] = []

    def start(self, task: str, total: int) -> None:
        self.tasks.append(task)

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def short_pool(
    digits: Dataset,
    inference: InferenceNetwork,
    key: Ed25519PrivateKey,
    tmp_path_factory: pytest.TempPathFactory,
) -> TrainedPool:
    folder = tmp_path_factory.mktemp("short")
    return train_obfuscation(digits, inference, out=folder, key=key, settings=SHORT)


def read(folder: Path, key: Ed25519PrivateKey) -> Pool:
    return read_pool(folder, trust=Trust(explicit=(public_key_text(key),)))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def served_accuracy(
    pool: Pool, inference: InferenceNetwork, dataset: Dataset, *, scale: float
) -> list[float]:
    """What a device and a backend get together, on samples that training did not see."""
    backend = onnxruntime.InferenceSession(inference.onnx_path, providers=["CPUExecutionProvider"])
    raw = dataset.test.samples
    if scale != 1:
        raw = np.round(raw * scale).astype(np.uint8)
    shares = []
    for bundle in pool.bundles:
        obfuscated = ObfuscationSession(bundle).obfuscate(raw)
        assert (obfuscated.dtype, obfuscated.shape) == (raw.dtype, raw.shape)
        (scores,) = backend.run(None, {"input": obfuscated})
        shares.append(float((scores.argmax(1) == dataset.test.labels).mean()))
    return shares


def test_the_pool_is_what_a_device_accepts(
    pool: TrainedPool, inference: InferenceNetwork, key: Ed25519PrivateKey
) -> None:
    read_back = read(pool.folder, key)
    assert read_back.inference_network_id == inference.card.id
    assert [bundle.manifest.name for bundle in read_back.bundles] == ["digits-000", "digits-001"]
    manifest = read_back.bundles[0].manifest
    assert (manifest.case, manifest.protection, manifest.architecture) == ("digits", "published", "mlp")
    assert (manifest.hidden, manifest.budget_bits) == (24, None)
    assert (manifest.parameters, manifest.macs) == (2 * 64 * 24 + 24 + 64, 2 * 64 * 24)
    assert manifest.input == inference.card.input
    assert sorted(files(pool.folder)) == [
        "digits-000.obfnet", "digits-001.obfnet", "pool.json", "training.json",
    ]  # fmt: skip


def test_the_backend_still_answers_right(
    pool: TrainedPool, inference: InferenceNetwork, key: Ed25519PrivateKey, digits: Dataset
) -> None:
    assert min(pool.validation_accuracy) > 0.85
    assert min(served_accuracy(read(pool.folder, key), inference, digits, scale=1)) > 0.85


def test_the_inference_network_is_the_same_bytes_before_and_after(
    digits: Dataset, inference: InferenceNetwork, key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    def state() -> tuple[dict[str, bytes], dict[str, bytes]]:
        tensors = inference.network.state_dict()
        return files(inference.folder), {name: value.numpy().tobytes() for name, value in tensors.items()}

    before = state()
    train_obfuscation(digits, inference, out=tmp_path, key=key, settings=SHORT)
    assert state() == before
    assert not any(module.training for module in inference.network.modules())
    assert all(value.grad is None for value in inference.network.parameters())


def test_no_weight_of_the_inference_network_is_in_a_bundle(
    pool: TrainedPool, inference: InferenceNetwork
) -> None:
    rows = [
        value[0].numpy().tobytes() for value in inference.network.state_dict().values() if value.ndim == 2
    ]
    for data in files(pool.folder).values():
        assert not any(row in data for row in rows)


def test_an_inference_network_that_training_changes_is_noticed(
    digits: Dataset,
    inference: InferenceNetwork,
    key: Ed25519PrivateKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    published = Published.outcome

    def careless(self: Published, network: nn.Module, answer: Any, batch: Batch) -> Outcome:
        with torch.no_grad():
            next(inference.network.parameters()).add_(1e-6)
        return published(self, network, answer, batch)

    weights = {name: value.clone() for name, value in inference.network.state_dict().items()}
    monkeypatch.setattr(Published, "outcome", careless)
    try:
        with pytest.raises(TrainingError, match="weights that changed in training"):
            train_obfuscation(digits, inference, out=tmp_path, key=key, settings=SHORT)
    finally:
        inference.network.load_state_dict(weights)
    assert not (tmp_path / "pool.json").exists()


def test_the_networks_of_a_pool_differ(pool: TrainedPool, key: Ed25519PrivateKey, digits: Dataset) -> None:
    first, second = (
        ObfuscationSession(bundle).obfuscate(digits.test.samples[:50])
        for bundle in read(pool.folder, key).bundles
    )
    assert np.abs(first - second).mean() > 0.05


def test_the_same_seed_gives_the_same_files_and_another_others(
    digits: Dataset,
    inference: InferenceNetwork,
    key: Ed25519PrivateKey,
    short_pool: TrainedPool,
    tmp_path: Path,
) -> None:
    for name, seed in (("same", 0), ("other", 1)):
        settings = dataclasses.replace(SHORT, seed=seed)
        train_obfuscation(digits, inference, out=tmp_path / name, key=key, settings=settings)
    first, same, other = (
        files(folder) for folder in (short_pool.folder, tmp_path / "same", tmp_path / "other")
    )
    assert same == first
    assert other["digits-000.obfnet"] != first["digits-000.obfnet"]


def test_a_networks_weights_do_not_depend_on_how_many_there_are(
    digits: Dataset,
    inference: InferenceNetwork,
    key: Ed25519PrivateKey,
    short_pool: TrainedPool,
    tmp_path: Path,
) -> None:
    settings = dataclasses.replace(SHORT, count=2)
    train_obfuscation(digits, inference, out=tmp_path, key=key, settings=settings)
    both = files(tmp_path)
    assert both["digits-000.obfnet"] == files(short_pool.folder)["digits-000.obfnet"]
    assert both["digits-001.obfnet"] != both["digits-000.obfnet"]


def test_the_same_settings_are_not_trained_again(
    digits: Dataset, inference: InferenceNetwork, key: Ed25519PrivateKey, pool: TrainedPool
) -> None:
    recorder, before = Recorder(), files(pool.folder)
    again = train_obfuscation(
        digits, inference, out=pool.folder, key=key, settings=SETTINGS, progress=recorder
    )
    assert again == dataclasses.replace(pool, reused=True)
    assert recorder.tasks == []
    assert recorder.lines == [f"pool: {pool.folder} was trained with these settings before, reused"]
    assert files(pool.folder) == before


@pytest.mark.parametrize("damage", ["changed", "deleted", "unlisted"])
def test_a_damaged_pool_is_trained_again(
    digits: Dataset,
    inference: InferenceNetwork,
    key: Ed25519PrivateKey,
    short_pool: TrainedPool,
    tmp_path: Path,
    damage: str,
) -> None:
    copy = Path(shutil.copytree(short_pool.folder, tmp_path / "copy"))
    bundle = copy / "digits-000.obfnet"
    if damage == "changed":
        bundle.write_bytes(bundle.read_bytes()[:-1] + b"x")
    elif damage == "deleted":
        bundle.unlink()
    else:
        (copy / "pool.json").unlink()
    again = train_obfuscation(digits, inference, out=copy, key=key, settings=SHORT)
    assert not again.reused
    assert files(copy) == files(short_pool.folder)


def test_another_key_signs_another_pool(
    digits: Dataset, inference: InferenceNetwork, key: Ed25519PrivateKey, pool: TrainedPool, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(pool.folder, tmp_path / "copy"))
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    again = train_obfuscation(digits, inference, out=copy, key=other, settings=SHORT)
    assert not again.reused
    assert len(read(copy, other).bundles) == 1
    assert "digits-001.obfnet" not in files(copy)


def test_a_pool_of_a_former_recipe_is_trained_anew(
    digits: Dataset, inference: InferenceNetwork, key: Ed25519PrivateKey, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    train_obfuscation(digits, inference, out=tmp_path, key=key, settings=SHORT)
    monkeypatch.setattr(Published, "recipe", 2)
    assert not train_obfuscation(digits, inference, out=tmp_path, key=key, settings=SHORT).reused
    assert train_obfuscation(digits, inference, out=tmp_path, key=key, settings=SHORT).reused


def test_bytes_work_end_to_end(
    digits: Dataset, key: Ed25519PrivateKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inference = train_inference(
        digits, out=tmp_path / "inference", architecture="mlp", dtype="uint8", schedule=SCHEDULE
    )
    seen: list[tuple[bool, bool]] = []
    published = Published.outcome

    def note(module: nn.Module, given: tuple[Tensor]) -> None:
        levels = given[0].detach() * 255
        seen.append((bool((levels - levels.round()).abs().max() < 1e-4), given[0].requires_grad))

    def watched(self: Published, network: nn.Module, answer: Any, batch: Batch) -> Outcome:
        handle = inference.network.register_forward_pre_hook(note)
        try:
            return published(self, network, answer, batch)
        finally:
            handle.remove()

    monkeypatch.setattr(Published, "outcome", watched)
    settings = dataclasses.replace(SETTINGS, count=1)
    trained = train_obfuscation(digits, inference, out=tmp_path / "pool", key=key, settings=settings)
    # What the network is trained on is what will be sent, and gradients pass the rounding.
    assert set(seen) == {(True, True)}
    pool = read(trained.folder, key)
    assert pool.input.dtype == "uint8"
    assert served_accuracy(pool, inference, digits, scale=255)[0] > 0.85


@pytest.mark.parametrize("change", [{"count": 0}, {"count": -1}, {"hidden": 0}])
def test_an_impossible_setting_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        PoolSettings(**change)


@pytest.mark.parametrize(
    ("change", "known"),
    [({"protection": "magic"}, "known: published"), ({"architecture": "rnn"}, "known: mlp, cnn")],
)
def test_an_unknown_name_lists_the_known_ones(
    digits: Dataset,
    inference: InferenceNetwork,
    key: Ed25519PrivateKey,
    tmp_path: Path,
    change: dict[str, str],
    known: str,
) -> None:
    with pytest.raises(UnknownNameError, match=known):
        train_obfuscation(
            digits, inference, out=tmp_path / "new", key=key, settings=dataclasses.replace(SHORT, **change)
        )
    assert not (tmp_path / "new").exists()


def test_the_inference_network_of_another_case_is_refused(
    digits: Dataset, inference: InferenceNetwork, key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    card = dataclasses.replace(
        inference.card, case="mnist", input=dataclasses.replace(inference.card.input, shape=(1, 28, 28))
    )
    with pytest.raises(
        UsageError, match=r"as mnist, got .* of digits; give the inference network of this case"
    ):
        train_obfuscation(
            digits, dataclasses.replace(inference, card=card), out=tmp_path, key=key, settings=SHORT
        )


def test_a_diverging_run_is_a_training_error_and_leaves_nothing(
    digits: Dataset, inference: InferenceNetwork, key: Ed25519PrivateKey, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    published = Published.outcome

    def diverging(self: Published, network: nn.Module, answer: Any, batch: Batch) -> Outcome:
        outcome = published(self, network, answer, batch)
        return dataclasses.replace(outcome, loss=outcome.loss * float("nan"))

    monkeypatch.setattr(Published, "outcome", diverging)
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train_obfuscation(digits, inference, out=tmp_path / "new", key=key, settings=SHORT)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_one_is_an_output_error(
    digits: Dataset, inference: InferenceNetwork, key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError):
        train_obfuscation(digits, inference, out=tmp_path / "file", key=key, settings=SHORT)


def test_what_is_left_to_the_case_is_filled_in(digits: Dataset) -> None:
    settings = PoolSettings().for_case(digits)
    assert (settings.architecture, settings.hidden) == ("mlp", 100)
    assert settings.schedule is not None
    assert settings.schedule.epochs == digits.spec.recipe.obfuscation_epochs
    assert settings.augmentation == digits.spec.recipe.obfuscation_augmentation
    assert dataclasses.replace(SETTINGS, augmentation=("shift",)).for_case(digits).augmentation == ("shift",)


def test_augmented_samples_teach_otherwise_and_the_same_by_seed(
    digits: Dataset, inference: InferenceNetwork, key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    def bundle(folder: str, augmentation: tuple[str, ...]) -> bytes:
        settings = dataclasses.replace(SHORT, augmentation=augmentation)
        trained = train_obfuscation(digits, inference, out=tmp_path / folder, key=key, settings=settings)
        return files(trained.folder)["digits-000.obfnet"]

    plain, shifted = bundle("plain", ()), bundle("shifted", ("shift",))
    assert plain != shifted
    assert shifted == bundle("again", ("shift",))


def test_networks_with_dropout_are_the_same_by_seed(
    digits: Dataset, inference: InferenceNetwork, key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    settings = dataclasses.replace(SHORT, architecture="asl-mlp", count=2)
    pools = [
        files(train_obfuscation(digits, inference, out=tmp_path / name, key=key, settings=settings).folder)
        for name in ("one", "other")
    ]
    assert pools[0] == pools[1]
