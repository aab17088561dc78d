"""An ONNX classifier as a frozen torch module, through which gradients reach the input.

It serves an inference network that comes as a file, from anybody's exporter. Operators without a gradient are
run as they are: `gradient_faults` names those that cut every way from the scores to the input.
"""

from collections.abc import Iterable, Mapping
from typing import Final, final

import torch
from torch import Tensor, nn

from obfnet.core.errors import DtypeError, ModelError, ShapeError
from obfnet.models.onnx_file import OnnxFile, read_onnx
from obfnet.models.onnx_gradient import gradient_cuts, whole_number_arithmetic
from obfnet.models.onnx_node import Node
from obfnet.models.onnx_operators import OPERATORS

_SHOWN: Final = 160


@final
class OnnxNetwork(nn.Module):
    """A classifier out of an ONNX file; half precision in it is computed in float32.

    Weights are buffers, without gradients. A forward pass keeps nothing on the module, so that several
    threads may run it at once, and drops each value after its last use.

    Args:
        data: The file's bytes; opset 7 or newer, one input.
        output: Name of the output to take. None for the only one, or, beside a label, the one float tensor of
            rank 2.

    Attributes:
        input_name: Of the one input.
        input_shape: As the file says, with the batch axis; None where an axis is free.
        input_dtype: As the file says, as `float32` or `uint8`.
        output_name: Of the output taken.
        fixed_batch: The batch size that the file declares; None if it is free. Another one often runs as
            well, but not where a `Reshape` holds this one.

    Raises:
        ModelError: the file cannot be read or run; names every operator that is not supported.

    Does not guarantee: that a gradient is useful; see `gradient_faults`.
    """

    def __init__(self, data: bytes, *, output: str | None = None) -> None:
        super().__init__()
        file = read_onnx(data, output=output)
        self.input_name, self.output_name = file.input_name, file.output_name
        self.input_shape, self.input_dtype = file.input_shape, file.input_dtype
        self.fixed_batch = file.input_shape[0] if file.input_shape else None
        self._cuts = tuple(gradient_cuts(file))
        self._input_type = file.input_type
        # Whole numbers may come in floats, so that they have gradients, where no operator could tell.
        self._takes_floats = file.input_type.is_floating_point or not whole_number_arithmetic(file)
        constants, self._nodes = _without_input(file)
        self._constants: dict[str, str] = {}
        for place, (name, value) in enumerate(constants.items()):
            self._constants[name] = f"constant_{place}"
            self.register_buffer(self._constants[name], value)
        self._last_uses = _last_uses(self._nodes, {*constants, file.output_name})

    def forward(self, samples: Tensor) -> Tensor:
        """The chosen output.

        Args:
            samples: Of the file's shape and dtype; any float for a float input. For an input of whole numbers
                also floats that hold them, with gradients where the network converts them before it computes.

        Returns:
            As the file computes it; float32 where it says half precision.

        Raises:
            DtypeError: whole numbers for a float input, or of another type than the file's.
            ShapeError: not the file's shape behind the batch axis.
            ModelError: an operator fails on samples of this shape.
        """
        values = {name: self.get_buffer(buffer) for name, buffer in self._constants.items()}
        values[self.input_name] = self._given(samples)
        for node, dropped in zip(self._nodes, self._last_uses, strict=True):
            values.update(_results(node, values))
            for name in dropped:
                values.pop(name, None)
        return values[self.output_name]

    def gradient_faults(self) -> list[str]:
        """What keeps every gradient from the input, as the function `gradient_faults` tells it."""
        return list(self._cuts)

    def _given(self, samples: Tensor) -> Tensor:
        sizes = zip(self.input_shape[1:], samples.shape[1:], strict=False)
        if samples.ndim != len(self.input_shape) or any(size not in (None, given) for size, given in sizes):
            wanted = ("N", *self.input_shape[1:]) if self.input_shape else ()
            raise ShapeError(
                f"samples of shape {wanted}", f"{tuple(samples.shape)}", "give what the model takes"
            )
        if self._input_type.is_floating_point:
            if not samples.is_floating_point():
                raise DtypeError(f"samples of {self.input_dtype}", f"{samples.dtype}", "convert them")
            return samples.to(self._input_type)
        if samples.is_floating_point():
            return samples if self._takes_floats else samples.to(self._input_type)
        if samples.dtype != self._input_type:
            raise DtypeError(f"samples of {self.input_dtype}", f"{samples.dtype}", "convert them")
        return samples


def gradient_faults(network: OnnxNetwork) -> list[str]:
    """The operators that keep every gradient of the scores from the input.

    Args:
        network: Told from its graph alone; nothing is run.

    Returns:
        One text to an operator, with its node's name, as "Round (node 'r'): no gradient". Empty where a
        gradient gets through by any way: a comparison that only chooses between values is no fault.

    Does not guarantee: that the gradient is not zero, as behind an activation that is saturated.
    """
    return network.gradient_faults()


def _without_input(file: OnnxFile) -> tuple[dict[str, Tensor], tuple[Node, ...]]:
    """What the other nodes need of all that does not depend on the input, and these nodes."""
    values, kept, late = dict(file.weights), [], {file.input_name}
    with torch.no_grad():
        for node in file.nodes:
            if late.intersection(node.inputs):
                late.update(filter(None, node.outputs))
                kept.append(node)
            else:
                values.update(_results(node, values))
    used = {name for node in kept for name in node.inputs} | {file.output_name}
    return {name: value.detach() for name, value in values.items() if name in used}, tuple(kept)


def _last_uses(nodes: tuple[Node, ...], kept: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """By node, the values that nothing needs after it."""
    seen, dropped = set(kept), []
    for node in reversed(nodes):
        names = {name for name in (*node.inputs, *node.outputs) if name} - seen
        dropped.append(tuple(names))
        seen |= names
    return tuple(reversed(dropped))


def _results(node: Node, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    try:
        given = [values[name] if name else None for name in node.inputs]
        found = OPERATORS[node.kind](node, *given)
    except (torch.OutOfMemoryError, ModelError):
        raise
    except (RuntimeError, IndexError, KeyError, TypeError, ValueError) as exc:
        shapes = ", ".join(str(tuple(value.shape)) for value in given if value is not None)
        reason = str(exc).splitlines()[0][:_SHOWN] if str(exc) else ""
        raise ModelError(
            f"operator {node} to run on {shapes or 'nothing'}",
            f"{type(exc).__name__}: {reason}",
            "give samples and a batch of the size of the export, or export the model again",
        ) from exc
    results = found if isinstance(found, tuple) else (found,)
    return {name: value for name, value in zip(node.outputs, results, strict=False) if name}
