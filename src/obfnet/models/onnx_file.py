"""Reads an ONNX classifier into nodes and weights, and refuses with every reason what cannot be run.

Only what leads to the chosen output is read: a label beside the scores may use any operator. Nothing of the
file is run here, and no second file is opened.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import onnx
import onnx.external_data_helper
import onnx.inliner
import torch
from google.protobuf.message import DecodeError
from torch import Tensor

from obfnet.core.errors import ModelError
from obfnet.models.onnx_node import DTYPES, Node, node_of, tensor_of, type_name
from obfnet.models.onnx_operators import DOMAINS, OPERATORS, unsupported_use

OLDEST_OPSET: Final = 7
NEWEST_OPSET: Final[int] = onnx.defs.onnx_opset_version()
_CONTROL_FLOW: Final = frozenset({"If", "Loop", "Scan"})
_SHOWN: Final = 5
_AGAIN: Final = "export the model again as one ONNX file"


@dataclass(frozen=True, kw_only=True, eq=False)
class OnnxFile:
    """What a file says, as far as it leads to one output.

    Args:
        nodes: In the order in which they run.
        weights: Initialisers by name.
        input_name: Of the one input.
        input_shape: As declared; None where an axis is free.
        input_dtype: As declared, as `float32`.
        input_type: What torch computes it in.
        output_name: Of the output taken.
        others: Further inputs by name, with their declared shapes.
    """

    nodes: tuple[Node, ...]
    weights: dict[str, Tensor]
    input_name: str
    input_shape: tuple[int | None, ...]
    input_dtype: str
    input_type: torch.dtype
    output_name: str
    others: Mapping[str, tuple[int | None, ...]]


def read_onnx(data: bytes, *, output: str | None = None) -> OnnxFile:
    """The classifier of an ONNX file.

    Args:
        data: The file's bytes.
        output: Name of the output to take; None for the only one, or the only float tensor of rank 2.

    Returns:
        Its nodes and weights.

    Raises:
        ModelError: not a whole ONNX file, weights in other files, an opset that is too old or too new,
            several inputs, no clear output, or operators that are not supported (all are listed).
    """
    return file_of(model_of(data), output=output)


def model_of(data: bytes) -> Any:
    """What a file holds, its functions written out.

    Args:
        data: The file's bytes.

    Returns:
        An `onnx.ModelProto`.

    Raises:
        ModelError: not a whole ONNX file, weights in other files, or an opset that is too old or too new.
    """
    model = _parsed(data)
    _opset(model)
    return _inlined(model)


def file_of(model: Any, *, output: str | None = None, others: Collection[str] = ()) -> OnnxFile:
    """The network of a model.

    Args:
        model: As `model_of` gives it.
        output: As in `read_onnx`.
        others: Names that further inputs may have, after the first.

    Raises:
        ModelError: as `read_onnx`, for all but the file itself.
    """
    graph = model.graph
    taken = _output(graph, output)
    given, *further = _inputs(graph, others)
    dtype = given.type.tensor_type.elem_type
    nodes = [node_of(proto, _opset(model)) for proto in _leading_to(taken, graph.node)]
    _check_operators(nodes)
    used = {name for node in nodes for name in node.inputs} | {taken}
    weights = {one.name: tensor_of(one) for one in graph.initializer if one.name in used}
    shapes = {one.name: _shape(one) for one in further}
    _check_order(nodes, {given.name, *shapes, *weights}, taken)
    return OnnxFile(
        nodes=tuple(nodes),
        weights=weights,
        input_name=given.name,
        input_shape=_shape(given),
        input_dtype=type_name(dtype),
        input_type=DTYPES[dtype],
        output_name=taken,
        others=shapes,
    )


def _parsed(data: bytes) -> Any:
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError, TypeError) as exc:
        raise ModelError("a whole ONNX file", "one that is truncated or of another format", _AGAIN) from exc
    if not model.ir_version or not model.graph.output:
        raise ModelError("a whole ONNX file", "one that is truncated or of another format", _AGAIN)
    tensors = [*model.graph.initializer]
    for node in (*model.graph.node, *(node for function in model.functions for node in function.node)):
        tensors += [part.t for part in node.attribute if part.HasField("t")]
    away = [one.name for one in tensors if onnx.external_data_helper.uses_external_data(one)]
    if away:
        raise ModelError(
            "an ONNX file with its weights inside",
            f"{len(away)} weights in other files",
            "save a single file: onnx.save(onnx.load('model.onnx'), 'single.onnx')",
        )
    if model.graph.sparse_initializer:
        raise ModelError("an ONNX file with dense weights", "sparse ones", _AGAIN)
    return model


def _opset(model: Any) -> int:
    # Tools that put models together name the same one several times.
    versions = list({one.version for one in model.opset_import if one.domain in ("", "ai.onnx")})
    if len(versions) != 1:
        raise ModelError("one opset of ONNX's own operators", f"{len(versions)}", _AGAIN)
    if not OLDEST_OPSET <= versions[0] <= NEWEST_OPSET:
        raise ModelError(
            f"an ONNX opset from {OLDEST_OPSET} to {NEWEST_OPSET}",
            f"{versions[0]}",
            "convert it with onnx.version_converter, or export it with another opset",
        )
    return int(versions[0])


def _inlined(model: Any) -> Any:
    if not model.functions:
        return model
    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as exc:  # of several kinds, from C++
        raise ModelError("functions that can be written out", type(exc).__name__, _AGAIN) from exc


def _output(graph: Any, wanted: str | None) -> str:
    outputs = {one.name: one for one in graph.output}
    listed = ", ".join(_described(one) for one in graph.output)
    if wanted is not None:
        if wanted not in outputs:
            raise ModelError(f"an output {wanted!r}", listed, "name one of these")
        fitting = [wanted]
    elif len(outputs) == 1:
        fitting = list(outputs)
    else:
        fitting = [name for name, one in outputs.items() if _is_scores(one)]
    if len(fitting) != 1:
        raise ModelError("one float output of rank 2", listed, "name the output that holds the scores")
    if outputs[fitting[0]].type.WhichOneof("value") not in (None, "tensor_type"):
        raise ModelError("an output that is a tensor", listed, "name another one, or export without ZipMap")
    return str(fitting[0])


def _is_scores(output: Any) -> bool:
    kind = output.type.tensor_type
    return (
        output.type.HasField("tensor_type")
        and kind.HasField("shape")
        and len(kind.shape.dim) == 2
        and kind.elem_type in DTYPES
        and DTYPES[kind.elem_type].is_floating_point
    )


def _described(output: Any) -> str:
    kind = output.type.tensor_type
    if not output.type.HasField("tensor_type"):
        return f"{output.name!r} (no tensor)"
    rank = f"rank {len(kind.shape.dim)}" if kind.HasField("shape") else "unknown rank"
    return f"{output.name!r} ({type_name(kind.elem_type)}, {rank})"


def _inputs(graph: Any, others: Collection[str]) -> list[Any]:
    # Before version 4 of the format every weight is listed as an input too.
    weights = {one.name for one in graph.initializer}
    inputs = [one for one in graph.input if one.name not in weights]
    if not inputs or any(one.name not in others for one in inputs[1:]):
        listed = ", ".join(repr(one.name) for one in inputs[:_SHOWN])
        raise ModelError(
            "a model of one input",
            f"{len(inputs)}: {listed}" if inputs else "none",
            "export the classifier alone",
        )
    kind = inputs[0].type.tensor_type
    shaped = kind.HasField("shape")
    if kind.elem_type not in DTYPES or not shaped:
        raise ModelError(
            "an input that is a tensor of numbers, its rank known",
            f"{inputs[0].name!r} of {type_name(kind.elem_type)}, {'a' if shaped else 'no'} shape",
            _AGAIN,
        )
    return inputs


def _shape(given: Any) -> tuple[int | None, ...]:
    # Some exporters write 0 or -1 for an axis that is free.
    sizes = [axis.dim_value for axis in given.type.tensor_type.shape.dim]
    return tuple(size if size > 0 else None for size in sizes)


def _leading_to(taken: str, protos: Iterable[Any]) -> list[Any]:
    wanted, kept = {taken}, []
    for proto in reversed(list(protos)):
        if wanted.intersection(proto.output):
            kept.append(proto)
            wanted.update(filter(None, proto.input))
    return kept[::-1]


def _check_operators(nodes: Iterable[Node]) -> None:
    faults = []
    for node in nodes:
        if node.domain != DOMAINS.get(node.kind, "") or node.kind not in OPERATORS:
            control = not node.domain and node.kind in _CONTROL_FLOW
            faults.append(f"{node}, control flow" if control else str(node))
        elif use := unsupported_use(node):
            faults.append(f"{node} with {use}")
    if faults:
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise ModelError(
            "ONNX operators that ObfNet can run with gradients",
            f"{', '.join(faults[:_SHOWN])}{more}",
            "export the model without them, or give it as a torch module",
        )


def _check_order(nodes: Iterable[Node], known: set[str], taken: str) -> None:
    for node in nodes:
        if missing := [name for name in node.inputs if name and name not in known]:
            raise ModelError(f"the inputs of operator {node} before it", f"no {missing[0]!r}", _AGAIN)
        known.update(node.outputs)
    if taken not in known:
        raise ModelError(f"a graph that computes its output {taken!r}", "none of its nodes does", _AGAIN)
