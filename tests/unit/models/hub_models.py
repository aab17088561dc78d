"""Tiny image classifiers of transformers, of a few thousand weights, and folders of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from transformers import (
    ConvNextConfig,
    ConvNextForImageClassification,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

IMAGENET: Final = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def vit(**changed: Any) -> PreTrainedModel:
    said = {
        **{"image_size": 8, "patch_size": 4, "num_channels": 3, "hidden_size": 16, "num_labels": 4},
        # Wider than usual, so that the scores of different pictures differ.
        **{
            "initializer_range": 0.3,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
        },
    }
    return ViTForImageClassification(ViTConfig(**said | changed))


def resnet(**changed: Any) -> PreTrainedModel:
    said = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "num_labels": 4, **changed}
    return ResNetForImageClassification(ResNetConfig(layer_type="basic", **said))


def convnext(**changed: Any) -> PreTrainedModel:
    said = {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "patch_size": 2, "num_labels": 4}
    return ConvNextForImageClassification(ConvNextConfig(**said, image_size=16, **changed))


def saved(
    folder: Path,
    build: Callable[..., PreTrainedModel] = vit,
    *,
    preprocessor: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    shards: str = "1GB",
    **changed: Any,
) -> PreTrainedModel:
    """A model saved to a folder, its configuration changed afterwards."""
    torch.manual_seed(0)
    model = build(**changed).eval()
    with torch.no_grad():
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.add_(0.1 * torch.rand_like(buffer))
    model.save_pretrained(folder, safe_serialization=True, max_shard_size=shards)
    if preprocessor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | (config or {})))
    return model
