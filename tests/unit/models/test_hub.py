"""A folder of transformers becomes a model whose every weight is the folder's, or is refused in one line."""

import json
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageClassification, BertConfig, BertForSequenceClassification
from transformers.utils import logging

from obfnet.core.errors import MissingExtraError, ModelError
from obfnet.models.source import open_model
from obfnet.models.wishes import Wishes, wire_shape
from tests.unit.models.hub_models import convnext, resnet, saved, vit


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        open_model(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("build", "changed", "shape"),
    [
        (vit, {"num_channels": 1}, (None, 1, 8, 8)),
        (vit, {"image_size": [8, 16]}, (None, 3, 8, 16)),
        (resnet, {}, (None, 3, None, None)),
        (convnext, {}, (None, 3, 16, 16)),
    ],
)
def test_it_gives_the_scores_of_the_model_that_was_saved(
    tmp_path: Path, build: Callable[..., Any], changed: dict[str, Any], shape: tuple[int | None, ...]
) -> None:
    network = saved(tmp_path / "own", build, **changed)
    model = open_model(tmp_path / "own")
    assert (model.kind, model.title, model.input_dtype) == ("transformers", "own", "float32")
    assert model.input_shape == shape
    samples = torch.rand(2, shape[1] or 3, shape[2] or 16, shape[3] or 16, requires_grad=True)
    scores = model.module(samples)
    torch.testing.assert_close(scores, network(samples).logits)
    scores.square().sum().backward()
    assert bool(samples.grad is not None and samples.grad.any())


def test_weights_in_parts_are_put_together(tmp_path: Path) -> None:
    network = saved(tmp_path, shards="8KB")
    assert len(list(tmp_path.glob("model-*-of-*.safetensors"))) > 1
    samples = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(open_model(tmp_path).module(samples), network(samples).logits)
    sorted(tmp_path.glob("model-*"))[0].unlink()
    assert "expected model-00001-of-" in refusal(tmp_path)


@pytest.mark.parametrize("parts", [{}, {"a": "../a.safetensors"}, {"a": "a.bin"}, {"a": 1}, [], None])
def test_an_index_of_something_else_is_refused(tmp_path: Path, parts: Any) -> None:
    saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    assert "safetensors files of this folder" in refusal(tmp_path)


def test_weights_in_half_precision_are_computed_in_float32(tmp_path: Path) -> None:
    saved(tmp_path, config={"dtype": "float16"})
    weights = {name: one.half() for name, one in load_file(tmp_path / "model.safetensors").items()}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert {one.dtype for one in open_model(tmp_path).module.parameters()} == {torch.float32}


def test_its_identity_is_of_configuration_and_weights(tmp_path: Path) -> None:
    saved(tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "same")
    saved(tmp_path / "trained", config={"note": "other"})
    saved(tmp_path / "other")
    weights = load_file(tmp_path / "other" / "model.safetensors")
    weights["classifier.bias"] += 1
    save_file(weights, tmp_path / "other" / "model.safetensors", metadata={"format": "pt"})
    first, same, trained, other = (
        open_model(tmp_path / one).identity for one in ("first", "same", "trained", "other")
    )
    assert first == same
    assert len({first, trained, other}) == 3


def test_it_is_said_what_the_outputs_are(tmp_path: Path) -> None:
    names = {"0": "night", "1": "dusk", "2": "dawn", "3": "day"}
    saved(tmp_path / "named", config={"id2label": names})
    saved(tmp_path / "plain")
    assert open_model(tmp_path / "named").classes == ("night", "dusk", "dawn", "day")
    assert open_model(tmp_path / "plain").classes == ()


def test_nothing_is_fetched_and_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    # Names of other models and of fetched implementations are in configurations that are shared.
    elsewhere = {
        "_name_or_path": "somebody/else",
        "_attn_implementation": "somebody/kernel",
        "attn_implementation": "somebody/kernel",
        "transformers_weights": "other.safetensors",
        "output_attentions": True,
        "return_dict": False,
    }
    network = saved(tmp_path, config=elsewhere)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    capfd.readouterr()
    samples = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(open_model(tmp_path).module(samples), network(samples).logits)
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (level, bars)


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "own")
    (tmp_path / "own" / "config.json").unlink()
    assert refusal(tmp_path / "own") == (
        "expected a folder with config.json, got none in own; give the folder that save_pretrained of "
        "transformers wrote, or a model's file"
    )


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000])
def test_a_broken_configuration_is_refused(tmp_path: Path, text: str) -> None:
    saved(tmp_path)
    (tmp_path / "config.json").write_text(text)
    assert "config.json" in refusal(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert "model.safetensors, got none; save the model with save_pretrained" in refusal(tmp_path)


def test_pickled_weights_are_refused_with_the_line_that_converts_them(tmp_path: Path) -> None:
    network = saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    told = refusal(tmp_path)
    assert f"expected weights without pickled code, got pytorch_model.bin in {tmp_path.name}" in told
    assert "save_pretrained(FOLDER, safe_serialization=True)" in told
    # As it says.
    AutoModelForImageClassification.from_pretrained(tmp_path).save_pretrained(
        tmp_path, safe_serialization=True
    )
    samples = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(open_model(tmp_path).module(samples), network(samples).logits)


@pytest.mark.parametrize("kept", [0, 6, 100, 5000])
def test_weights_cut_short_are_refused(tmp_path: Path, kept: int) -> None:
    saved(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    assert "a whole file model.safetensors, got a broken one" in refusal(tmp_path)


@pytest.mark.parametrize(("build", "part"), [(vit, "classifier.weight"), (resnet, "running_mean")])
def test_weights_that_are_not_there_are_not_drawn_at_random(
    tmp_path: Path, build: Callable[..., Any], part: str
) -> None:
    saved(tmp_path, build)
    path = tmp_path / "model.safetensors"
    weights = {name: one for name, one in load_file(path).items() if part not in name}
    save_file(weights, path, metadata={"format": "pt"})
    told = refusal(tmp_path)
    assert "expected all weights of the model, got none for" in told
    assert "which would be random" in told


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    weights["classifier.weight"] = weights["classifier.weight"][:3].clone()
    save_file(weights, path, metadata={"format": "pt"})
    assert "got classifier.weight of (3, 16) for (4, 16)" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("architectures", "message"),
    [
        (["DetrForObjectDetection"], "an image classifier of transformers .* got 'DetrForObjectDetection'"),
        (["ViTModel"], "got 'ViTModel'"),
        (["os.system"], "got 'os.system'"),
        (["ImageGPTForImageClassification"], "a model of pixels, got .* one of input_ids"),
        (["ResNetForImageClassification"], "model_type 'resnet', .* got 'vit'"),
        ([], "one name in architectures"),
        (["ViTForImageClassification", "ViTModel"], "one name in architectures"),
        (None, "one name in architectures"),
    ],
)
def test_what_is_no_classifier_of_pictures_is_refused(
    tmp_path: Path, architectures: Any, message: str
) -> None:
    saved(tmp_path, config={"architectures": architectures})
    with pytest.raises(ModelError, match=message):
        open_model(tmp_path)


def test_a_model_of_texts_is_refused(tmp_path: Path) -> None:
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertForSequenceClassification(BertConfig(vocab_size=9, **small)).save_pretrained(tmp_path)
    assert "got 'BertForSequenceClassification'" in refusal(tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        {"auto_map": {"AutoModelForImageClassification": "own.Own"}},
        {"vision_config": {"auto_map": {"AutoModel": "somebody/else--own.Own"}}},
    ],
)
def test_code_in_the_folder_is_not_run(tmp_path: Path, config: dict[str, Any]) -> None:
    saved(tmp_path, config=config)
    (tmp_path / "own.py").write_text("raise AssertionError('it ran')")
    told = refusal(tmp_path)
    assert "got auto_map in config.json; a folder's own code is never run" in told
    saved(tmp_path / "other", preprocessor={"auto_map": {"AutoImageProcessor": "own.Own"}})
    assert "auto_map in preprocessor_config.json" in refusal(tmp_path / "other")


def test_what_needs_another_model_or_package_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "quantised", config={"quantization_config": {"quant_method": "gptq"}})
    assert "got quantised ones" in refusal(tmp_path / "quantised")
    saved(tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    assert "got an adapter to another" in refusal(tmp_path / "adapter")


@pytest.mark.parametrize(
    "config",
    [{"hidden_size": "x"}, {"num_attention_heads": 0}, {"hidden_act": "none"}, {"patch_size": 0}],
)
def test_a_configuration_that_builds_nothing_is_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    saved(tmp_path, config=config)
    assert "a model that transformers builds from config.json" in refusal(tmp_path)


def test_without_transformers_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path)
    for name in [one for one in sys.modules if one.partition(".")[0] == "transformers"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"'transformers'.*pip install 'obfnet\[hub\]'"):
        open_model(tmp_path)


def test_a_transformers_that_is_broken_says_by_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path)

    def broken(name: str) -> None:
        raise ImportError(f"{name}: tokenizers of another version\nare required")

    monkeypatch.delattr("transformers.utils.logging")
    monkeypatch.setattr("transformers.utils.__getattr__", broken, raising=False)
    monkeypatch.setitem(sys.modules, "transformers.utils.logging", None)
    assert "a transformers that can be imported, got ImportError: " in refusal(tmp_path)


def test_larger_weights_than_can_be_held_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path)
    monkeypatch.setattr("obfnet.models.hub_folder.MAX_WEIGHT_BYTES", 1000)
    assert "more in model.safetensors; give a smaller model" in refusal(tmp_path)


def test_a_size_that_is_not_said_is_asked_for(tmp_path: Path) -> None:
    saved(tmp_path / "own", resnet)
    model = open_model(tmp_path / "own")
    with pytest.raises(ModelError, match=r"image_size in config.json, got none in own; .*3,HEIGHT,WIDTH"):
        wire_shape(model, Wishes(), of_data=(3, 32, 32))
    assert wire_shape(model, Wishes(shape=(3, 16, 16)), of_data=(3, 32, 32)) == ((3, 16, 16), "CHW")
    saved(tmp_path / "said", resnet, preprocessor={"size": {"height": 16, "width": 16}})
    assert wire_shape(open_model(tmp_path / "said"), Wishes(), of_data=(3, 8, 8)) == ((3, 16, 16), "CHW")


def test_the_preprocessors_size_is_taken_before_the_networks(tmp_path: Path) -> None:
    saved(tmp_path, convnext, preprocessor={"size": {"shortest_edge": 32}, "crop_pct": 0.875})
    assert open_model(tmp_path).input_shape == (None, 3, 32, 32)
