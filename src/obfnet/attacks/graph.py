"""Runs an ONNX graph in torch, so that an attacker can follow its gradient back to the input.

A bundle holds an obfuscation network as ONNX and nothing else; whoever attacks it has that. What operators do
is `models.onnx_operators`', and what goes backward where they have no gradient is `graph_substitutes`'.
"""

from typing import Any, Final, final

import onnx
import torch
from torch import Tensor, nn

from obfnet.attacks.graph_substitutes import (
    REARRANGING,
    SUBSTITUTED,
    TAKES_CHOICES,
    Value,
    divide_whole,
    smooth,
)
from obfnet.attacks.straight_through import Choice
from obfnet.bundle.chance import Flips, Leave, Noise
from obfnet.core.errors import AttackError, ModelError
from obfnet.models.onnx_node import DTYPES, Node, node_of, tensor_of
from obfnet.models.onnx_operators import unsupported_use

_TYPES: Final = onnx.TensorProto
# What a device decides besides, and what is taken for it.
_DECIDED: Final = {Flips.name: 0.0, Noise.name: 0.0, Leave.name: 1.0}
_REMEDY: Final = "leave this attack out, or export the network without it"
_WIRE: Final = {_TYPES.FLOAT: "float32", _TYPES.UINT8: "uint8"}


@final
class OnnxGraph(nn.Module):
    """An ONNX graph as a torch module; its weights are constants.

    Args:
        data: The ONNX file's bytes: one input, one output, weights inside, no control flow. A second input,
            what a device decides, is taken as its likeliest outcome: no bit inverted, no noise, leave given.

    Raises:
        AttackError: the bytes are no such graph, or an operator or one of its settings is not known here;
            the message names the operator and the node.

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
            model = onnx.shape_inference.infer_shapes(onnx.load_from_string(data))
        except Exception as exc:
            raise AttackError("a graph in ONNX format", type(exc).__name__, "export it again") from exc
        graph = model.graph
        given = [value for value in graph.input if value.name not in {x.name for x in graph.initializer}]
        self._drawn = [value for value in given[1:] if value.name in _DECIDED]
        if len(given) - len(self._drawn) != 1 or len(graph.output) != 1:
            raise AttackError(
                "a graph of one input and one output",
                f"{len(given)} and {len(graph.output)}",
                "export the obfuscation network alone",
            )
        self._input, self._output = given[0].name, graph.output[0].name
        self.input_dtype, self.output_dtype = _wire(given[0]), _wire(graph.output[0])
        self._weights: dict[str, str] = {}
        for number, tensor in enumerate(graph.initializer):
            self._weights[tensor.name] = f"weight_{number}"
            self.register_buffer(f"weight_{number}", smooth(tensor_of(tensor)))
        types = {
            value.name: value.type.tensor_type.elem_type
            for value in (*graph.value_info, *graph.input, *graph.output)
        }
        versions = [one.version for one in model.opset_import if one.domain in ("", "ai.onnx")]
        self._nodes = [_node(proto, max(versions, default=1)) for proto in graph.node]
        self._whole = {
            name for name, kind in types.items() if not DTYPES.get(kind, torch.float32).is_floating_point
        }

    def forward(self, samples: Tensor) -> Tensor:
        """What the graph makes of the samples.

        Args:
            samples: `(N, ...)` float32 in the unit of the graph's input.

        Returns:
            `(N, ...)` float32 in the unit of its output.

        Raises:
            AttackError: an operator fails on samples of this shape; the message names it and its node.
        """
        values: dict[str, Value] = {"": None, self._input: samples}
        values.update({name: getattr(self, buffer) for name, buffer in self._weights.items()})
        for drawn in self._drawn:
            width = drawn.type.tensor_type.shape.dim[1].dim_value
            values[drawn.name] = samples.new_full((len(samples), width), _DECIDED[drawn.name])
        for node in self._nodes:
            inputs = [values[name] for name in node.inputs]
            try:
                results = self._run(node, inputs)
            except Exception as exc:
                raise AttackError(
                    f"samples that operator {node} works on",
                    f"{type(exc).__name__} on {tuple(samples.shape)}",
                    "give samples of the graph's own shape",
                ) from exc
            values.update(zip(node.outputs, results, strict=False))
        result = values[self._output]
        output = result.index if isinstance(result, Choice) else torch.as_tensor(result)
        return output if output.is_floating_point() else output.float()

    def _run(self, node: Node, inputs: list[Value]) -> tuple[Value, ...]:
        function = SUBSTITUTED[node.kind]
        if node.kind == "Div" and node.outputs[0] in self._whole:
            function = divide_whole
        if node.kind in TAKES_CHOICES:
            result = function(node, *inputs)
        else:
            result = function(node, *(one.index if isinstance(one, Choice) else one for one in inputs))
            if inputs and isinstance(inputs[0], Choice) and node.kind in REARRANGING:
                result = inputs[0].rearranged(result)
        return result if isinstance(result, tuple) else (result,)


def _node(proto: Any, opset: int) -> Node:
    try:
        node = node_of(proto, opset)
    except ModelError as exc:
        raise AttackError(exc.expected, exc.got, _REMEDY) from exc
    use = "" if node.domain or node.kind not in SUBSTITUTED else unsupported_use(node)
    if node.domain or node.kind not in SUBSTITUTED or use:
        got = f"{node} with {use}" if use else str(node)
        raise AttackError("operators that are known to this attack", got, _REMEDY)
    return node


def _wire(value: Any) -> str:
    kind = value.type.tensor_type.elem_type
    if kind not in _WIRE:
        raise AttackError(
            f"a graph of {' or '.join(_WIRE.values())} samples",
            _TYPES.DataType.Name(kind).lower(),
            "convert samples at the graph's ends",
        )
    return _WIRE[kind]
