"""Opens somebody's inference network from whatever she has: a module, a factory, `.pt2`, ONNX, a folder.

Nothing is unpickled: a file that would need it is refused with the lines that convert it. What the network
takes and gives is found out by `understand`; here it is only opened.
"""

import importlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import MethodType
from typing import Any, Final

import onnx
import torch
from onnx.external_data_helper import load_external_data_for_model, uses_external_data
from torch import nn
from torch.nn.parameter import is_lazy

from obfnet.core.errors import ModelError
from obfnet.core.files import sha256_hex
from obfnet.models.exported import MAX_FILE_BYTES, read_exported
from obfnet.models.hub import open_hub
from obfnet.models.hub_folder import CONFIG
from obfnet.models.onnx_network import OnnxNetwork
from obfnet.nets.mode import evaluating

_PICKLES: Final = (".pth", ".pt", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib", ".h5", ".keras")
_CONVERT: Final = (
    "convert it where you trust it: program = torch.export.export(model.eval(), (example_batch,)); "
    "torch.export.save(program, 'model.pt2')"
)
# HOST:PORT too: no callable has a number for its name.
_SERVERS: Final = re.compile(r"(https?|grpcs?):/|[\w.-]+:\d+(/|$)", re.IGNORECASE)
_KINDS: Final = "give package.module:callable, model.onnx, model.pt2 or a folder of transformers"


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """An inference network as it came.

    Args:
        module: Samples as the model takes them to whatever it gives.
        kind: `module`, `factory`, `exported`, `onnx` or `transformers`.
        title: What to call it.
        input_shape: As the model says, with the batch axis; None where an axis is free, or the whole where
            the model does not say.
        input_dtype: Of samples, as the model says; None where it does not.
        identity: Hash by which bundles name it: of the file, or of the weights.
        range: What [0, 1] is on its wire, as the model says; None where it does not.
        mean: Of each channel, in [0, 1], where the model says that samples are normalised.
        std: Of each channel, likewise.
        classes: Names of its outputs in their order, as the model says; empty where it does not.
    """

    module: nn.Module
    kind: str
    title: str
    input_shape: tuple[int | None, ...] | None
    input_dtype: str | None
    identity: str
    range: tuple[float, float] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()


def open_model(source: nn.Module | Path | str) -> Model:
    """Somebody's inference network.

    Args:
        source: A torch module; `"package.module:callable"`, which gives one without arguments; or the path of
            an ONNX file, a `.pt2` file, or a folder with an image classifier of transformers.

    Returns:
        The model, otherwise untouched: its mode, weights and buffers are its owner's.

    Raises:
        ModelError: nothing there, a pickled file, a broken one, an endpoint's URL, or a factory that raises
            or gives no module.
        MissingExtraError: a folder of transformers, which is not installed.
    """
    if isinstance(source, nn.Module):
        return _of_module(source, kind="module", title=type(source).__name__)
    text = str(source)
    if _SERVERS.match(text):
        # Not shown: a URL may hold a password.
        raise ModelError(
            "the inference network itself",
            "the URL of an endpoint, which answers and has no gradient to train with",
            f"{_KINDS}; try the pool against the endpoint with obfnet evaluate",
        )
    path = Path(text)
    if (path / CONFIG).exists():
        return _of_hub(path)
    if path.suffix.lower() in _PICKLES:
        raise ModelError("a model without pickled code", f"a {path.suffix} file, {path.name}", _CONVERT)
    if path.suffix.lower() == ".pt2":
        return _of_exported(path)
    if path.suffix.lower() == ".onnx":
        return _of_onnx(path)
    if ":" in text and not path.exists():
        return _of_module(_made(text), kind="factory", title=text)
    if path.is_dir():
        remedy = "give the folder that save_pretrained of transformers wrote, or a model's file"
        raise ModelError(f"a folder with {CONFIG}", f"none in {path.name or text}", remedy)
    got = f"{path.name}, a file of another kind" if path.exists() else f"nothing at {text!r}"
    raise ModelError("an inference network", got, _KINDS)


def _made(text: str) -> nn.Module:
    name, _, attribute = text.partition(":")
    # As `python -m` does: a package beside the user's shell is found.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        factory: Any = importlib.import_module(name)
        for part in attribute.split("."):
            factory = getattr(factory, part)
    except Exception as exc:  # an import runs whatever the user's own code raises
        raise ModelError(f"a callable at {text!r}", f"{type(exc).__name__}: {exc}", _KINDS) from exc
    try:
        model = factory() if not isinstance(factory, nn.Module) else factory
    except Exception as exc:  # whatever the user's own code raises
        raise ModelError(
            f"a model from {text}", f"{type(exc).__name__}: {exc}", "mend the factory; it gets no arguments"
        ) from exc
    if not isinstance(model, nn.Module):
        raise ModelError(f"a torch module from {text}", type(model).__name__, "return an nn.Module")
    return model


def _of_module(module: nn.Module, *, kind: str, title: str) -> Model:
    tensors = [*module.parameters(), *module.buffers()]
    if any(is_lazy(tensor) for tensor in tensors):
        raise ModelError("a model with all its weights", "lazy ones", "run it once on a batch")
    if away := sorted({tensor.device.type for tensor in tensors} - {"cpu"}):
        raise ModelError("a model on the CPU", f"one on {', '.join(away)}", "give model.cpu()")
    try:
        with evaluating(module):
            pass
    except NotImplementedError as exc:
        raise ModelError(
            "a module that can be put into evaluation mode",
            "one of torch.export, which cannot",
            "save the program with torch.export.save, and give that file",
        ) from exc
    return Model(
        module=module,
        kind=kind,
        title=title,
        input_shape=None,
        input_dtype=None,
        identity=state_hash(module),
    )


def _of_exported(path: Path) -> Model:
    data = _content(path)
    program = read_exported(data)
    _check_mode(program)
    try:
        module = program.module()
    except Exception as exc:  # of many kinds, none of torch.export's own
        raise ModelError(
            "a program that becomes a module", type(exc).__name__, "export the model again"
        ) from exc
    # An exported program has one mode, and torch refuses to be told so.
    module.train = MethodType(lambda self, mode=True: self, module)  # type: ignore[method-assign]
    module.eval = MethodType(lambda self: self, module)  # type: ignore[method-assign]
    inputs = set(program.graph_signature.user_inputs)
    taken = [node.meta.get("val") for node in program.graph.nodes if node.name in inputs]
    if len(taken) != 1 or not isinstance(taken[0], torch.Tensor):
        raise ModelError("a program of one input", f"{len(taken)}", "export the classifier alone")
    return Model(
        module=module,
        kind="exported",
        title=path.name,
        input_shape=tuple(size if isinstance(size, int) else None for size in taken[0].shape),
        input_dtype=str(taken[0].dtype).removeprefix("torch."),
        identity=sha256_hex(data),
    )


def _of_onnx(path: Path) -> Model:
    data = _content(path)
    try:
        model = onnx.load_from_string(data)
        if any(uses_external_data(tensor) for tensor in model.graph.initializer):
            # As torch's exporter leaves them; ONNX takes files beside this one only.
            load_external_data_for_model(model, str(path.parent))
            data = model.SerializeToString(deterministic=True)
    except Exception as exc:  # of protobuf, of the checker and of the file system
        raise ModelError(
            f"an ONNX model with its weights in it or beside it, {path.name}",
            type(exc).__name__,
            "export it again, with at most 2 GiB of weights",
        ) from exc
    network = OnnxNetwork(data)
    return Model(
        module=network,
        kind="onnx",
        title=path.name,
        input_shape=network.input_shape,
        input_dtype=network.input_dtype,
        identity=sha256_hex(data),
    )


def _of_hub(folder: Path) -> Model:
    found = open_hub(folder)
    said = found.preprocessing
    return Model(
        module=found.module,
        kind="transformers",
        title=folder.resolve().name,
        input_shape=found.input_shape,
        input_dtype="float32",
        identity=found.identity,
        range=said.range,
        mean=said.mean,
        std=said.std,
        classes=found.classes,
    )


def _check_mode(program: torch.export.ExportedProgram) -> None:
    for node in program.graph.nodes:
        if not isinstance(node.target, torch._ops.OpOverload):
            continue
        named = [argument.name for argument in node.target._schema.arguments]
        given = dict(zip(named, node.args, strict=False)) | node.kwargs
        if given.get("train") is True or given.get("training") is True or given.get("dropout_p", 0) > 0:
            raise ModelError(
                "a program in evaluation mode",
                f"{str(node.target).split('.')[1]} in training mode (node {node.name!r})",
                "call model.eval() before torch.export.export",
            )


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise ModelError(f"a model at {path}", exc.strerror or str(exc), "check the path") from exc
    if len(data) > MAX_FILE_BYTES:
        raise ModelError("a model of at most 2 GiB", "a larger file", "give a smaller one")
    return data


def state_hash(module: nn.Module) -> str:
    """SHA-256 over every parameter and buffer of a module, in order."""
    tensors = [*module.parameters(), *module.buffers()]
    parts = [tensor.detach().contiguous().view(-1).view(torch.uint8) for tensor in tensors if tensor.numel()]
    return sha256_hex(b"".join(part.cpu().numpy().tobytes() for part in parts))
