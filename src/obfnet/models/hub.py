"""Opens an image classifier of Hugging Face transformers that lies in a local folder.

The library builds the network from the configuration and is handed the weights: it is told of no folder and
no name, so that there is nothing that it could fetch, unpickle or run. Weights that are not there would be
drawn at random: every one is asked for.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from obfnet.core.errors import MissingExtraError, ModelError
from obfnet.models.hub_folder import CONFIG, PREPROCESSOR, HubFolder, read_folder
from obfnet.models.hub_inputs import Preprocessing, labels_of, preprocessing_of

_SHOWN: Final = 3
_SILENT: Final = 100
_SAVE: Final = "save the model again with save_pretrained(FOLDER)"
_ANOTHER: Final = (
    "give a classifier of pictures, such as ViTForImageClassification, or export yours to ONNX or .pt2"
)
# What would have another implementation fetched, or another form of answer given.
_NOT_TAKEN: Final = frozenset(
    (
        *("attn_implementation", "experts_implementation", "fusion_config", "transformers_weights"),
        *("return_dict", "use_return_dict", "output_attentions", "output_hidden_states", "torchscript"),
        *("dtype", "torch_dtype", "name_or_path"),
    )
)


@final
class HubClassifier(nn.Module):
    """A classifier of transformers that gives its logits alone.

    Args:
        network: It.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, samples: Tensor) -> Tensor:
        """Scores, `(N, K)`, of samples `(N, C, H, W)` as the model's preprocessor gives them."""
        logits: Tensor = self.network(pixel_values=samples).logits
        return logits


@dataclass(frozen=True, kw_only=True, eq=False)
class HubModel:
    """A classifier, and what its folder says of it.

    Args:
        module: The network.
        input_shape: `(None, C, H, W)`; None where a size is not said.
        preprocessing: What its preprocessor makes of a picture.
        classes: Names of the outputs in their order; none where they are not said.
        identity: SHA-256 over configuration and weights.
    """

    module: HubClassifier
    input_shape: tuple[int | None, ...]
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    identity: str


def open_hub(folder: Path) -> HubModel:
    """An image classifier of transformers.

    Args:
        folder: With `config.json`, `model.safetensors` (or its parts and their index), and perhaps
            `preprocessor_config.json`.

    Raises:
        ModelError: a folder that is refused (`read_folder`), a model of another kind, or weights that are
            missing or of another shape.
        MissingExtraError: transformers is not installed.

    Does not guarantee: that the configuration asks for a network of bounded size or time.
    """
    found = read_folder(folder)
    preprocessing = preprocessing_of(found.preprocessor or {})
    with _quiet():
        kind = _architecture(found.config)
        network, told = _built(kind, found)
    _check_weights(told)
    vision = getattr(network.config, "vision_config", network.config)
    size = preprocessing.size or _config_size(vision)
    if size is None and preprocessing.edge:
        size = (preprocessing.edge, preprocessing.edge)
    return HubModel(
        module=HubClassifier(network),
        input_shape=(None, getattr(vision, "num_channels", 3), *(size or (None, None))),
        preprocessing=preprocessing,
        classes=labels_of(found.config, network.config.num_labels),
        identity=found.identity,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the library's progress bars, reports and warnings from the user's terminal."""
    with warnings.catch_warnings():
        # It warns of what it is going to change in itself.
        warnings.simplefilter("ignore")
        try:
            from transformers.utils import logging
        except ModuleNotFoundError as exc:
            raise MissingExtraError((exc.name or "transformers").partition(".")[0], "hub") from exc
        except Exception as exc:  # as when another package that it finds is broken, or too old
            raise ModelError(
                "a transformers that can be imported", _line(exc), "run: pip install --upgrade 'obfnet[hub]'"
            ) from exc
        level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity(_SILENT)
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(level)
            if bars:
                logging.enable_progress_bar()


def _architecture(config: Mapping[str, Any]) -> Any:
    """The class that the configuration names, where it is an image classifier of the library's."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

    named = config.get("architectures")
    if not isinstance(named, list) or len(named) != 1 or not isinstance(named[0], str):
        raise ModelError(f"one name in architectures, in {CONFIG}", "none, or several", _SAVE)
    known = {
        name
        for names in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES.values()
        for name in (names if isinstance(names, tuple | list) else [names])
    }
    got = f"{named[0][:80]!r} (architectures in {CONFIG})"
    if named[0] not in known:
        raise ModelError(f"an image classifier of transformers {transformers.__version__}", got, _ANOTHER)
    try:
        kind = getattr(transformers, named[0])
        takes, of_type = kind.main_input_name, kind.config_class.model_type
    except Exception as exc:  # of many kinds, as when it needs a package that is not there
        raise ModelError(f"{named[0]} in transformers", _line(exc), _ANOTHER) from exc
    if takes != "pixel_values":
        raise ModelError("a model of pixels", f"{got}, one of {takes}", _ANOTHER)
    if config.get("model_type", of_type) != of_type:
        said = str(config["model_type"])[:80]
        raise ModelError(f"model_type {of_type!r}, of {named[0]}", repr(said), f"correct {CONFIG}")
    return kind


def _built(kind: Any, found: HubFolder) -> tuple[Any, Mapping[str, Any]]:
    """The network with its weights, and what the library says of them."""
    try:
        config = kind.config_class.from_dict(_plain(found.config))
        network, told = kind.from_pretrained(
            None,
            config=config,
            state_dict=dict(found.weights),
            dtype=torch.float32,
            local_files_only=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as exc:  # of many kinds, none of the library's own
        raise ModelError(f"a model that transformers builds from {CONFIG}", _line(exc), _SAVE) from exc
    return network.eval(), told


def _plain(document: Any) -> Any:
    """A copy of the configuration without what is not the network's."""
    if isinstance(document, dict):
        return {
            key: _plain(value)
            for key, value in document.items()
            if key not in _NOT_TAKEN and not key.startswith("_")
        }
    return [_plain(one) for one in document] if isinstance(document, list) else document


def _check_weights(told: Mapping[str, Any]) -> None:
    if missing := sorted(told["missing_keys"]):
        raise ModelError(
            "all weights of the model",
            f"none for {_listed(missing)}, which would be random",
            f"{_SAVE}, after its training",
        )
    if other := sorted(told["mismatched_keys"]):
        shapes = [f"{name} of {tuple(stored)} for {tuple(wanted)}" for name, stored, wanted in other]
        raise ModelError(f"weights of the shapes that {CONFIG} says", _listed(shapes), _SAVE)
    if told.get("error_msgs"):
        raise ModelError("weights that the model takes", _line(told["error_msgs"][0]), _SAVE)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _line(said: Any) -> str:
    text = " ".join(str(said).split())[:160]
    return f"{type(said).__name__}: {text}" if isinstance(said, Exception) else text


def _config_size(config: Any) -> tuple[int, int] | None:
    said = getattr(config, "image_size", None)
    if said is None:
        return None
    sides = list(said) if isinstance(said, list | tuple) else [said, said]
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ModelError(
            f"image_size of one or two numbers in {CONFIG}", str(said)[:80], f"correct it, or {PREPROCESSOR}"
        )
    return sides[0], sides[1]
