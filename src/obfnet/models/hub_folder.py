"""Reads a folder that `save_pretrained` of transformers wrote: its documents and its weights, nothing else.

All of it is foreign: documents are plain JSON of bounded size, weights are safetensors. Pickled weights and
folders that bring code of their own are refused. What the documents mean is for `hub_inputs` and `hub`.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from obfnet.core.errors import ModelError
from obfnet.core.files import sha256_hex

CONFIG: Final = "config.json"
PREPROCESSOR: Final = "preprocessor_config.json"
MAX_WEIGHT_BYTES: Final = 2 * 1024**3
_WEIGHTS: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"
_MAX_JSON_BYTES: Final = 16 * 1024**2
_PICKLES: Final = ("*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
_SAVE: Final = "save the model with save_pretrained(FOLDER)"
_CONVERT: Final = (
    "convert it where you trust it: transformers.AutoModelForImageClassification.from_pretrained(FOLDER)"
    ".save_pretrained(FOLDER, safe_serialization=True)"
)
_OWN_CODE: Final = (
    "a folder's own code is never run: give --model package.module:callable, a factory of yours that builds "
    "the model, or export it to ONNX"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class HubFolder:
    """What lies in a folder.

    Args:
        config: `config.json`.
        preprocessor: `preprocessor_config.json`; None where there is none.
        weights: By name, as they are stored.
        identity: SHA-256 over `config.json` and the weights' files.
    """

    config: Mapping[str, Any]
    preprocessor: Mapping[str, Any] | None
    weights: dict[str, Tensor]
    identity: str


def read_folder(folder: Path) -> HubFolder:
    """The documents and weights of a folder.

    Args:
        folder: What `save_pretrained` wrote; links are followed, as a cache of downloads has them.

    Raises:
        ModelError: no configuration, code of its own, quantised or an adapter, no weights, pickled ones
            alone, or broken ones.
    """
    # 1. The configuration is a plain document, and asks for nothing that is elsewhere.
    content = _content(folder / CONFIG, _MAX_JSON_BYTES)
    config = _document(content, CONFIG)
    preprocessor = None
    if (folder / PREPROCESSOR).exists():
        preprocessor = _document(_content(folder / PREPROCESSOR, _MAX_JSON_BYTES), PREPROCESSOR)
    # 2. Nothing in the folder would be run.
    _check_code(config, CONFIG)
    _check_code(preprocessor or {}, PREPROCESSOR)
    if (folder / "adapter_config.json").exists():
        raise ModelError("a whole model", "an adapter to another", f"merge it into the model, and {_SAVE}")
    if config.get("quantization_config"):
        raise ModelError("weights in floats", "quantised ones", f"dequantise the model, and {_SAVE}")
    # 3. Weights are safetensors, of this folder.
    names = _weight_files(folder)
    weights: dict[str, Tensor] = {}
    hashes, left = [sha256_hex(content)], MAX_WEIGHT_BYTES
    for name in names:
        data = _content(folder / name, left)
        left -= len(data)
        hashes.append(sha256_hex(data))
        weights |= _tensors(data, name)
    return HubFolder(
        config=config,
        preprocessor=preprocessor,
        weights=weights,
        identity=sha256_hex("".join(hashes).encode()),
    )


def _content(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as exc:
        raise ModelError(f"{path.name} in {path.parent.name}", exc.strerror or str(exc), _SAVE) from exc
    if len(data) > limit:
        raise ModelError(
            f"at most {_size(MAX_WEIGHT_BYTES)} of weights and {_size(_MAX_JSON_BYTES)} of configuration",
            f"more in {path.name}",
            "give a smaller model",
        )
    return data


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:,.0f} MiB"


def _document(data: bytes, name: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise ModelError(f"{name} in JSON", f"a broken one ({type(exc).__name__})", _SAVE) from exc
    if not isinstance(document, dict):
        raise ModelError(f"an object in {name}", type(document).__name__, _SAVE)
    return document


def _check_code(document: Any, name: str) -> None:
    """Nowhere in a document may `auto_map` name code that lies in the folder, or on the internet."""
    waiting = [document]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if one.get("auto_map"):
                raise ModelError("a model of transformers' own code", f"auto_map in {name}", _OWN_CODE)
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _weight_files(folder: Path) -> list[str]:
    """Names of the files with weights, in order."""
    if (folder / _WEIGHTS).exists():
        return [_WEIGHTS]
    if (folder / _INDEX).exists():
        index = _document(_content(folder / _INDEX, _MAX_JSON_BYTES), _INDEX)
        parts = index.get("weight_map")
        if not isinstance(parts, dict) or not parts or not all(map(_is_part, parts.values())):
            raise ModelError(f"safetensors files of this folder in {_INDEX}", "something else", _SAVE)
        return sorted(set(parts.values()))
    pickled = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickled:
        raise ModelError("weights without pickled code", f"{pickled[0]} in {folder.name}", _CONVERT)
    raise ModelError(f"weights in {folder.name}, {_WEIGHTS}", "none", _SAVE)


def _is_part(name: Any) -> bool:
    return isinstance(name, str) and name.endswith(".safetensors") and not set(name) & {"/", "\\"}


def _tensors(data: bytes, name: str) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as exc:
        raise ModelError(
            f"a whole file {name}", f"a broken one ({type(exc).__name__})", "copy it again, or save it again"
        ) from exc
    return tensors


def finite(number: Any) -> float:
    """A number of a document.

    Raises:
        TypeError, ValueError: it is none, or not finite.
    """
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError(type(number).__name__)
    if not math.isfinite(number):
        raise ValueError(str(number))
    return float(number)
