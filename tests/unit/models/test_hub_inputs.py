"""The wire that a preprocessor's document says is what transformers' own preprocessors make of pixels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor

from obfnet.core.errors import ModelError
from obfnet.models.hub_inputs import Preprocessing, labels_of, preprocessing_of
from obfnet.models.source import open_model
from obfnet.models.understand import understand
from obfnet.models.view import ModelView
from obfnet.models.wishes import Wishes, candidate_wires, wire_shape
from tests.unit.models.hub_models import IMAGENET, saved, vit

HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
SIZED = {"do_resize": True, "size": {"height": 8, "width": 8}}


@pytest.mark.parametrize(
    "document",
    [
        {**SIZED, **HALF, "do_normalize": True, "image_processor_type": "ViTImageProcessor"},
        {**SIZED, **IMAGENET, "do_normalize": True, "image_processor_type": "ViTImageProcessor"},
        {**SIZED, "do_normalize": False, "image_processor_type": "ViTImageProcessor"},
        {
            **SIZED,
            **IMAGENET,
            "do_normalize": False,
            "do_rescale": False,
            "image_processor_type": "ViTImageProcessor",
        },
        {**SIZED, **IMAGENET, "rescale_factor": 1 / 127.5, "do_normalize": False},
        {**SIZED, **IMAGENET, "feature_extractor_type": "ViTFeatureExtractor"},
        {
            **SIZED,
            "image_mean": [123.675, 116.28, 103.53],
            "image_std": [58.395, 57.12, 57.375],
            "do_rescale": False,
            "do_normalize": True,
        },
        {
            **{**SIZED, **IMAGENET, "do_normalize": True, "rescale_factor": 1 / 127.5},
            **{"rescale_offset": True, "image_processor_type": "EfficientNetImageProcessor"},
            **{"image_mean": [0.0, 0.0, 0.0], "image_std": [0.4, 0.5, 0.6]},
        },
        {**SIZED, **HALF, "do_normalize": True, "image_processor_type": "EfficientNetImageProcessor"},
        {
            **IMAGENET,
            "size": {"shortest_edge": 8},
            "crop_pct": 0.875,
            "image_processor_type": "ConvNextImageProcessor",
        },
        {
            **{**HALF, "size": {"shortest_edge": 10}, "crop_size": {"height": 8, "width": 8}},
            **{"image_processor_type": "MobileNetV2ImageProcessor"},
        },
    ],
    ids=range(11),
)
def test_pixels_become_what_transformers_own_preprocessor_makes_of_them(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    saved(tmp_path, preprocessor=document)
    model = open_model(tmp_path)
    shape, layout = wire_shape(model, Wishes(), of_data=(3, 32, 32))
    assert shape == (3, 8, 8)
    (spec,) = candidate_wires(model, Wishes(), shape, layout)
    pixels = np.arange(256, dtype=np.uint8)[:192].reshape(8, 8, 3)[::-1].copy()
    pixels[0] = 255
    if "crop_size" in document or "crop_pct" in document:
        # Resized and cut elsewhere: of pictures of one colour the values alone are compared.
        pixels[:] = (255, 0, 77)
    processor = AutoImageProcessor.from_pretrained(tmp_path, local_files_only=True)
    wanted = np.asarray(processor(images=pixels, return_tensors="np")["pixel_values"])
    unit = (pixels.transpose(2, 0, 1)[None] / 255).astype(np.float32)
    np.testing.assert_allclose(spec.to_wire(unit), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        ({}, Preprocessing()),
        # It normalises, and does not say by what: that is worked out.
        ({"do_normalize": True}, Preprocessing()),
        ({"do_normalize": None}, Preprocessing(range=(0.0, 1.0))),
        ({"size": 9, "image_mean": 0.5, "image_std": 0.25}, Preprocessing(size=(9, 9), range=(-2.0, 2.0))),
        ({"size": [8, 9]}, Preprocessing(size=(8, 9))),
        ({"size": {"shortest_edge": 9}}, Preprocessing(edge=9)),
        ({"size": {"longest_edge": 9}}, Preprocessing()),
        ({"size": 9, "do_resize": False}, Preprocessing()),
        ({"size": 9, "crop_size": 7}, Preprocessing(size=(7, 7))),
        ({"size": 9, "crop_size": 7, "do_center_crop": False}, Preprocessing(size=(9, 9))),
    ],
)
def test_what_is_said_is_taken_and_the_rest_is_left_open(
    document: dict[str, Any], wanted: Preprocessing
) -> None:
    assert preprocessing_of(document) == wanted


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"do_flip_channel_order": True}, "channels in the order red, green, blue"),
        ({"image_processor_type": "MobileViTImageProcessor"}, "channels in the order red, green, blue"),
        ({"size": {"height": 8}}, "preprocessor_config.json as transformers writes it"),
        ({"size": 0}, "preprocessor_config.json as transformers writes it"),
        ({"size": 8.5}, "preprocessor_config.json as transformers writes it"),
        ({"size": "8"}, "preprocessor_config.json as transformers writes it"),
        ({"size": [1, 2, 3]}, "preprocessor_config.json as transformers writes it"),
        ({"image_mean": ["x"], "image_std": [1]}, "preprocessor_config.json as transformers writes it"),
        ({"image_mean": [0, 0, 0], "image_std": [1, 1, 0]}, "as transformers writes it, got ValueError"),
        ({"image_mean": [0, 0, 0], "image_std": [1, 1]}, "as transformers writes it, got IndexError"),
        ({**IMAGENET, "rescale_factor": 0}, "as transformers writes it, got ValueError"),
        ({**IMAGENET, "rescale_factor": float("nan")}, "as transformers writes it, got ValueError"),
        ({"image_mean": [2, 0, 0], "image_std": [1, 1, 1]}, r"a mean in \[0, 1\] of each channel"),
    ],
)
def test_what_no_wire_can_be_or_nobody_wrote_is_refused(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        preprocessing_of(document)


@pytest.mark.parametrize(
    ("normalised", "tolerance"),
    [
        (HALF, 1e-4),
        # Scales and offsets of a wire are multiples of 1/4096, which ImageNet's are not.
        (IMAGENET, 5e-4),
    ],
)
def test_scores_are_those_of_the_librarys_own_preprocessor_and_model(
    tmp_path: Path, normalised: dict[str, Any], tolerance: float
) -> None:
    document = {**SIZED, **normalised, "do_normalize": True, "image_processor_type": "ViTImageProcessor"}
    network = saved(tmp_path, preprocessor=document)
    model = open_model(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    processor = AutoImageProcessor.from_pretrained(tmp_path, local_files_only=True)
    with torch.no_grad():
        wanted = network(**processor(images=list(pixels), return_tensors="pt")).logits
        (spec,) = candidate_wires(model, Wishes(), (3, 8, 8), "CHW")
        unit = torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255)
        found = ModelView(model.module, spec)(unit)
    assert float(wanted.std(0).min()) > 0.2
    torch.testing.assert_close(found, wanted, rtol=0, atol=tolerance)


def test_what_the_user_says_goes_before_what_the_model_says(tmp_path: Path) -> None:
    saved(tmp_path, preprocessor={**SIZED, **HALF})
    model = open_model(tmp_path)

    def wires(wishes: Wishes) -> list[tuple[float, float, str]]:
        found = candidate_wires(model, wishes, (3, 8, 8), "CHW")
        return [(one.low, one.high, one.dtype) for one in found]

    assert wires(Wishes()) == [(-1.0, 1.0, "float32")]
    assert wires(Wishes(range="0,1")) == [(0.0, 1.0, "float32")]
    assert wires(Wishes(dtype="uint8")) == [(0.0, 255.0, "uint8")]
    assert wires(Wishes(mean=(0, 0, 0), std=(0.5, 0.5, 0.5))) == [(0.0, 2.0, "float32")]


def test_a_range_that_nothing_says_is_worked_out(tmp_path: Path) -> None:
    saved(tmp_path, vit)
    model, samples = open_model(tmp_path), np.random.default_rng(0).random((64, 3, 8, 8), dtype=np.float32)
    assert len(candidate_wires(model, Wishes(), (3, 8, 8), "CHW")) == 4
    found = understand(model, samples, None, Wishes(range="0,1"), shape=(3, 8, 8), layout="CHW", names=())
    assert found.classes == 4


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({"0": "a", "1": "b"}, ("a", "b")),
        ({"1": "b", "0": "a"}, ("a", "b")),
        ({"0": "LABEL_0", "1": "LABEL_1"}, ()),
        ({"0": "a"}, ()),
        ({"0": "a", "2": "b"}, ()),
        ({"0": "a", "1": 1}, ()),
        (["a", "b"], ()),
        (None, ()),
    ],
)
def test_labels_are_taken_where_all_are_named(said: Any, wanted: tuple[str, ...]) -> None:
    assert labels_of(json.loads(json.dumps({"id2label": said})), 2) == wanted
