"""An ONNX classifier as a frozen torch module, through which gradients reach the input.

It serves an inference network that comes as a file, from anybody's exporter. Operators without a gradient are
run as they are: `gradient_faults` names those that cut every way from the scores to the input.
"""

from typing import final

from torch import Tensor, nn

from obfnet.core.errors import DtypeError, ShapeError
from obfnet.models.onnx_file import read_onnx
from obfnet.models.onnx_gradient import gradient_cuts, whole_number_arithmetic
from obfnet.models.onnx_program import OnnxProgram


@final
class OnnxNetwork(nn.Module):
    """A classifier out of an ONNX file; half precision in it is computed in float32.

    Weights are buffers, without gradients; several threads may run it at once.

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
        self._program = OnnxProgram(file)

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
        scores: Tensor = self._program({self.input_name: self._given(samples)})
        return scores

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
