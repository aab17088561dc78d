"""Runs an ONNX graph in torch, so that an attacker can follow its gradient back to the input.

A bundle holds an obfuscation network as ONNX and nothing else; whoever attacks it has that. The executor is
`models.onnx_program`'s; what goes backward where an operator has no gradient is `graph_substitutes`'.
"""

from typing import Any, Final, final

import onnx
from torch import Tensor, nn

from obfnet.attacks.graph_substitutes import substitutes
from obfnet.attacks.straight_through import Choice
from obfnet.bundle.chance import Flips, Leave, Noise
from obfnet.core.errors import AttackError, ModelError
from obfnet.models.onnx_file import file_of, model_of
from obfnet.models.onnx_node import type_name
from obfnet.models.onnx_program import OnnxProgram

_TYPES: Final = onnx.TensorProto
# What a device decides besides, and what is taken for it.
_DECIDED: Final = {Flips.name: 0.0, Noise.name: 0.0, Leave.name: 1.0}
_WIRE: Final[dict[int, str]] = {_TYPES.FLOAT: "float32", _TYPES.UINT8: "uint8"}


@final
class OnnxGraph(nn.Module):
    """An ONNX graph as a torch module; its weights are constants.

    Args:
        data: The ONNX file's bytes: one input, one output, weights inside, no control flow. A second input,
            what a device decides, is taken as its likeliest outcome: no bit inverted, no noise, leave given.

    Raises:
        AttackError: the bytes are no such graph, or operators or their settings are not known; the message
            names the operators and the nodes.

    Source: Athalye, Carlini and Wagner 2018, *Obfuscated gradients give a false sense of security*,
        section 4.1, for the backward pass of operators that have no gradient.
    """

    input_dtype: str
    """`float32`, or `uint8`: then samples in 0 ... 255 are expected, as float32."""

    output_dtype: str
    """The same of what comes out."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        try:
            model = onnx.shape_inference.infer_shapes(model_of(data))
            file, types = file_of(model, others=_DECIDED), _types(model.graph)
            self._program = OnnxProgram(file, substitutes=substitutes(types))
        except ModelError as exc:
            remedy = "leave this attack out, or export the network without it"
            raise AttackError(exc.expected, exc.got, remedy) from exc
        except onnx.shape_inference.InferenceError as exc:
            raise AttackError("a graph in ONNX format", type(exc).__name__, "export it again") from exc
        if len(model.graph.output) != 1:
            raise AttackError(
                "a graph of one output", f"{len(model.graph.output)}", "export the obfuscation network alone"
            )
        self._input, self._others = file.input_name, file.others
        self.input_dtype, self.output_dtype = _wire(types[self._input]), _wire(types[file.output_name])

    def forward(self, samples: Tensor) -> Tensor:
        """What the graph makes of the samples.

        Args:
            samples: `(N, ...)` float32 in the unit of the graph's input.

        Returns:
            `(N, ...)` float32 in the unit of its output.

        Raises:
            AttackError: an operator fails on samples of this shape; the message names it and its node.
        """
        given = {self._input: samples}
        for name, shape in self._others.items():
            sizes = (size or 1 for size in shape[1:])
            given[name] = samples.new_full((len(samples), *sizes), _DECIDED[name])
        try:
            result = self._program(given)
        except ModelError as exc:
            raise AttackError(exc.expected, exc.got, "give samples of the graph's own shape") from exc
        output: Tensor = result.index if isinstance(result, Choice) else result
        return output if output.is_floating_point() else output.float()


def _types(graph: Any) -> dict[str, int]:
    values = (*graph.value_info, *graph.input, *graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}


def _wire(kind: int) -> str:
    if kind not in _WIRE:
        raise AttackError(
            f"a graph of {' or '.join(_WIRE.values())} samples",
            type_name(kind),
            "convert samples at the graph's ends",
        )
    return _WIRE[kind]
