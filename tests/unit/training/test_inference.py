"""Inference networks on disk: whole, reused where the settings are the same, refused where changed."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from obfnet.core.errors import OutputError, TrainingError, UnknownNameError, UsageError
from obfnet.core.progress import Silent
from obfnet.core.spec import InputSpec
from obfnet.data.cases import Dataset, Split
from obfnet.export import inference_onnx
from obfnet.fitting import Schedule
from obfnet.training.classifier import accuracy
from obfnet.training.inference import InferenceNetwork, load_inference, train_inference, wire_spec
from tests.unit.training.conftest import SCHEDULE

SHORT = Schedule(epochs=0.1, batch_size=64)
FILES = ["inference.json", "inference.onnx", "weights.safetensors"]


class Recorder(Silent):
    """Keeps what the user is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.tasks: list[str] = []

    def start(self, task: str, total: int) -> None:
        self.tasks.append(task)

    def say(self, line: str) -> None:
        self.lines.append(line)


def train_again(dataset: Dataset, folder: Path, **change: Any) -> tuple[InferenceNetwork, Recorder]:
    recorder = Recorder()
    options = {"architecture": "mlp", "schedule": SCHEDULE, **change}
    return train_inference(dataset, out=folder, progress=recorder, **options), recorder


@pytest.fixture
def copy(inference: InferenceNetwork, tmp_path: Path) -> Path:
    return Path(shutil.copytree(inference.folder, tmp_path / "copy"))


def test_the_folder_holds_three_files_and_the_card_says_what_they_are(inference: InferenceNetwork) -> None:
    folder, card = inference.folder, inference.card
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert card.id == hashlib.sha256((folder / "inference.onnx").read_bytes()).hexdigest()
    assert card.weights_sha256 == hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    assert (card.case, card.architecture, card.seed) == ("digits", "mlp", 0)
    assert card.input.shape == (1, 8, 8)
    assert card.classes == tuple("0123456789")
    assert inference.onnx_path == folder / "inference.onnx"


def test_it_has_learnt_and_is_frozen(inference: InferenceNetwork, digits: Dataset) -> None:
    assert inference.card.validation_accuracy > 0.93
    assert inference.card.validation_accuracy == accuracy(inference.network, digits.validation)
    assert not any(module.training for module in inference.network.modules())
    assert not any(value.requires_grad for value in inference.network.parameters())


def test_what_is_served_answers_as_what_was_trained(inference: InferenceNetwork, digits: Dataset) -> None:
    session = onnxruntime.InferenceSession(inference.onnx_path, providers=["CPUExecutionProvider"])
    samples = digits.validation.samples
    (scores,) = session.run(None, {"input": samples})
    expected = inference.network(torch.tensor(samples)).softmax(1).numpy()
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)


def test_the_card_says_nothing_of_the_machine(inference: InferenceNetwork) -> None:
    text = (inference.folder / "inference.json").read_text()
    assert str(inference.folder) not in text
    assert str(Path.home()) + "/" not in text


def test_a_loaded_network_exports_to_its_own_id(inference: InferenceNetwork) -> None:
    graph = inference_onnx(load_inference(inference.folder).network, inference.card.input)
    assert hashlib.sha256(graph).hexdigest() == inference.card.id


def test_the_same_settings_are_not_trained_again(inference: InferenceNetwork, digits: Dataset) -> None:
    again, recorder = train_again(digits, inference.folder)
    assert again.card == inference.card
    assert recorder.tasks == []
    assert recorder.lines == [
        f"inference network: {inference.folder} was trained with these settings before, reused"
    ]


@pytest.mark.parametrize("change", [{"seed": 1}, {"schedule": SHORT}, {"dtype": "uint8"}])
def test_other_settings_are_trained(digits: Dataset, copy: Path, change: dict[str, Any]) -> None:
    former = load_inference(copy).card
    again, recorder = train_again(digits, copy, **{"schedule": SHORT, **change})
    assert recorder.tasks == ["train inference network"]
    assert again.card.fingerprint != former.fingerprint
    assert again.card.id != former.id
    assert sorted(path.name for path in copy.iterdir()) == FILES


def test_other_data_are_trained_on(digits: Dataset, copy: Path) -> None:
    part = Split(samples=digits.train.samples[:500], labels=digits.train.labels[:500])
    _, recorder = train_again(dataclasses.replace(digits, train=part), copy, schedule=SHORT)
    assert recorder.tasks == ["train inference network"]


def test_test_samples_are_not_read(digits: Dataset, inference: InferenceNetwork, tmp_path: Path) -> None:
    garbled = Split(samples=1 - digits.test.samples, labels=(digits.test.labels + 1) % 10)
    again, _ = train_again(dataclasses.replace(digits, test=garbled), tmp_path)
    assert again.card.id == inference.card.id


@pytest.mark.parametrize("name", ["inference.onnx", "weights.safetensors"])
def test_a_changed_file_is_refused_and_trained_again(digits: Dataset, copy: Path, name: str) -> None:
    good = (copy / name).read_bytes()
    (copy / name).write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(TrainingError, match="changed files; train the network again"):
        load_inference(copy)
    _, recorder = train_again(digits, copy)
    assert recorder.tasks == ["train inference network"]
    assert (copy / name).read_bytes() == good


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(UsageError, match=f"no {name}; run: obfnet train inference"):
        load_inference(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "format version 1, got 2"),
        ({"extra": 1}, "unknown field 'extra'"),
        ({"id": None}, "'id' must be str"),
        ({"architecture": "cnn"}, "weights of cnn, got others"),
        ({"classes": ["a"]}, "weights of mlp, got others"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(copy: Path, change: dict[str, Any], message: str) -> None:
    card = json.loads((copy / "inference.json").read_text())
    (copy / "inference.json").write_text(json.dumps({**card, **change}))
    with pytest.raises(TrainingError, match=message):
        load_inference(copy)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_card_that_is_none_is_refused(copy: Path, content: bytes) -> None:
    (copy / "inference.json").write_bytes(content)
    with pytest.raises(TrainingError, match="a readable inference"):
        load_inference(copy)


def test_the_onnx_file_stands_for_its_folder(inference: InferenceNetwork) -> None:
    assert load_inference(inference.onnx_path).card == inference.card


def test_an_unknown_architecture_lists_the_known_ones(digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="known: cnn, mlp"):
        train_again(digits, tmp_path / "new", architecture="resnet")
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_one_is_an_output_error(digits: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError):
        train_again(digits, tmp_path / "file", schedule=SHORT)


def test_a_diverging_run_is_a_training_error_and_leaves_nothing(digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train_again(digits, tmp_path / "new", schedule=Schedule(epochs=1, peak_rate=1e30))
    assert not (tmp_path / "new").exists()


def test_the_wire_may_be_bytes(digits: Dataset) -> None:
    spec = wire_spec(digits.spec.input, "uint8")
    assert (spec.shape, spec.dtype, spec.low, spec.high) == ((1, 8, 8), "uint8", 0.0, 255.0)
    assert wire_spec(digits.spec.input, "float32") == digits.spec.input
    with pytest.raises(UsageError, match="'float64'; choose one of them"):
        wire_spec(digits.spec.input, "float64")


def test_samples_that_are_no_pictures_are_refused(digits: Dataset, tmp_path: Path) -> None:
    fields = {**digits.spec.input.to_dict(), "shape": (64,), "layout": "F"}
    spec = dataclasses.replace(digits.spec, input=InputSpec(**fields))
    with pytest.raises(UsageError, match=r"shape \(C, H, W\), got \(64,\)"):
        train_again(dataclasses.replace(digits, spec=spec), tmp_path)
