"""A classifier of transformers, saved to a folder, goes through the public door like any other model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoImageProcessor, AutoModelForImageClassification, PreTrainedModel

from obfnet import load_case, load_pool, protect, verify
from obfnet.core.errors import ModelError
from obfnet.core.spec import as_unit
from obfnet.edge import ObfuscationSession
from obfnet.models.source import open_model
from obfnet.protecting.run import Protected
from obfnet.protecting.settings import ProtectSettings
from tests.unit.models.hub_models import resnet

QUICK = ProtectSettings(bits=8, count=1, epochs=12, attacks=("ridge",))
# The model's outputs are in another order than the digits.
ORDER = (3, 0, 4, 1, 5, 9, 2, 6, 7, 8)
PREPROCESSOR = {
    **{"image_processor_type": "ViTImageProcessor", "size": {"height": 8, "width": 8}},
    **{"do_normalize": True, "image_mean": [0.25], "image_std": [0.5]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A residual network for digits, trained for seconds and saved as its owner would."""
    torch.manual_seed(0)
    names = {place: str(digit) for place, digit in enumerate(ORDER)}
    network: PreTrainedModel = resnet(
        num_channels=1,
        embedding_size=16,
        hidden_sizes=[16, 32],
        num_labels=10,
        id2label=names,
        label2id={name: place for place, name in names.items()},
    )
    train = load_case("digits").train
    samples = (torch.from_numpy(as_unit(train.samples[:])) - 0.25) / 0.5
    labels = torch.tensor([ORDER.index(one) for one in train.labels])
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    network.train()
    for _ in range(12):
        for rows in torch.randperm(len(samples)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(samples[rows]).logits, labels[rows]).backward()
            optimiser.step()
    path = tmp_path_factory.mktemp("hub") / "digits"
    network.save_pretrained(path, safe_serialization=True)
    (path / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return path


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Protected:
    return protect(folder, "digits", out=tmp_path_factory.mktemp("protect") / "pool", settings=QUICK)


def test_it_takes_range_and_order_of_labels_from_the_folder(made: Protected) -> None:
    right, told = made.figures["accuracy"], made.figures["model"]
    assert (told["source"], told["title"]) == ("transformers", "digits")
    assert "takes float32 CHW 1x8x8, range -0.5,1.5" in told["worked_out"]
    assert "labels in the order that the model says" in told["worked_out"]
    assert told["classes"] == [str(digit) for digit in ORDER]
    assert not any("worked out from raw samples" in note for note in told["worked_out"])
    assert right["raw"] > 0.93
    # Ten classes, so chance is 0.1.
    assert right["obfuscated"] > 0.6


def test_its_requests_are_the_models_own(made: Protected, folder: Path) -> None:
    bundle = load_pool(made.folder).bundles[0]
    assert (bundle.input.low, bundle.input.high, bundle.input.shape) == (-0.5, 1.5, (1, 8, 8))
    assert bundle.manifest.inference_network_id == open_model(folder).identity
    assert {check.step: check.made for check in verify(made.folder).checks}["budget-exact"]
    raw = bundle.input.to_wire(as_unit(load_case("digits").test.samples[:50]))
    sent = ObfuscationSession(bundle).obfuscate(raw)
    bundle.input.check(sent)
    assert len(np.unique(sent.reshape(50, -1), axis=0)) <= 2**8


def test_what_was_measured_is_what_transformers_itself_answers(made: Protected, folder: Path) -> None:
    test = load_case("digits").test
    processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    network = AutoModelForImageClassification.from_pretrained(folder, local_files_only=True)
    pixels = np.rint(as_unit(test.samples[:]) * 255).astype(np.uint8)
    given: Any = processor(list(pixels), input_data_format="channels_first", return_tensors="pt")
    with torch.no_grad():
        answered = network(given["pixel_values"]).logits.argmax(1).tolist()
    named = np.array([int(network.config.id2label[place]) for place in answered])
    assert float((named == test.labels).mean()) == pytest.approx(made.figures["accuracy"]["raw"], abs=0.005)


def test_names_that_are_not_the_samples_leave_the_order_as_it_was(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in folder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    config = json.loads((other / "config.json").read_text())
    config["id2label"] = {place: f"digit {name}" for place, name in config["id2label"].items()}
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="another order: give --classes 3,0,4,1,5,9,2,6,7,8"):
        protect(other, "digits", out=tmp_path / "pool", settings=QUICK)
