"""Runs the graph of an ONNX file, whatever it is for: the one executor of the project.

What depends on no input is computed once; the rest with every pass. Operators run as `onnx_operators` has
them, or as a caller substitutes them: an attacker wants a way backward where they have no gradient.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from obfnet.core.errors import ModelError
from obfnet.models.onnx_file import OnnxFile
from obfnet.models.onnx_gradient import reached_by_values
from obfnet.models.onnx_node import Node
from obfnet.models.onnx_operators import OPERATORS, Operator

_SHOWN: Final = 160
_LAYERS: Final = ("Conv", "Gemm", "MatMul")


@final
class OnnxProgram(nn.Module):
    """A graph as a torch module; its constants are buffers, without gradients.

    A forward pass keeps nothing on the module, so that several threads may run it at once, and drops each
    value after its last use. What each layer with weights gives passes a module of its own (`outlets`), where
    hooks can look at it.

    Args:
        file: What to run.
        substitutes: Operators by kind that stand in for the ordinary ones wherever the values of an input
            come in; where only its shape does, the ordinary ones run. They may hand each other anything.

    Raises:
        ModelError: an operator fails on constants alone.
    """

    def __init__(self, file: OnnxFile, *, substitutes: Mapping[str, Operator] | None = None) -> None:
        super().__init__()
        constants, nodes = _without_inputs(file)
        self._constants: dict[str, str] = {}
        for place, (name, value) in enumerate(constants.items()):
            self._constants[name] = f"constant_{place}"
            self.register_buffer(self._constants[name], value)
        self._output = file.output_name
        valued, other = reached_by_values(file), {**OPERATORS, **(substitutes or {})}
        outlets = [nn.Identity() if node.kind in _LAYERS else None for node in nodes]
        self.outlets = nn.ModuleList(outlet for outlet in outlets if outlet is not None)
        last_uses = _last_uses(nodes, {*constants, self._output})
        self._steps = tuple(
            (node, (other if node in valued else OPERATORS)[node.kind], outlet, dropped)
            for node, outlet, dropped in zip(nodes, outlets, last_uses, strict=True)
        )

    def forward(self, given: Mapping[str, Tensor]) -> Any:
        """The output that the file was read for.

        Args:
            given: A value to each input's name.

        Returns:
            A tensor, or what a substitute made.

        Raises:
            ModelError: an operator fails on values of these shapes.
        """
        values = {name: self.get_buffer(buffer) for name, buffer in self._constants.items()}
        values.update(given)
        for node, function, outlet, dropped in self._steps:
            found = _results(node, function, values)
            if outlet is not None:
                found = {name: outlet(value) for name, value in found.items()}
            values.update(found)
            for name in dropped:
                values.pop(name, None)
        return values[self._output]


def _without_inputs(file: OnnxFile) -> tuple[dict[str, Tensor], list[Node]]:
    """What the other nodes need of all that does not depend on an input, and these nodes."""
    values, kept, late = dict(file.weights), [], {file.input_name, *file.others}
    with torch.no_grad():
        for node in file.nodes:
            if late.intersection(node.inputs):
                late.update(filter(None, node.outputs))
                kept.append(node)
            else:
                values.update(_results(node, OPERATORS[node.kind], values))
    used = {name for node in kept for name in node.inputs} | {file.output_name}
    return {name: value.detach() for name, value in values.items() if name in used}, kept


def _last_uses(nodes: list[Node], kept: Iterable[str]) -> list[tuple[str, ...]]:
    """By node, the values that nothing needs after it."""
    seen, dropped = set(kept), []
    for node in reversed(nodes):
        names = {name for name in (*node.inputs, *node.outputs) if name} - seen
        dropped.append(tuple(names))
        seen |= names
    return dropped[::-1]


def _results(node: Node, function: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    given = [values[name] if name else None for name in node.inputs]
    try:
        found = function(node, *given)
    except (torch.OutOfMemoryError, ModelError):
        raise
    except Exception as exc:  # torch has many kinds for shapes that do not fit
        shapes = ", ".join(str(tuple(value.shape)) for value in given if isinstance(value, Tensor))
        reason = str(exc).splitlines()[0][:_SHOWN] if str(exc) else ""
        raise ModelError(
            f"operator {node} to run on {shapes or 'nothing'}",
            f"{type(exc).__name__}: {reason}",
            "give samples and a batch of the size of the export, or export the model again",
        ) from exc
    results = found if isinstance(found, tuple) else (found,)
    return {name: value for name, value in zip(node.outputs, results, strict=False) if name}
