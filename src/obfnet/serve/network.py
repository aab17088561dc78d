"""The served inference network: an ONNX file run by ONNX Runtime, exactly as it is.

Loads, describes and runs it; answers a sample of zeros before anybody may call it ready. Knows nothing of
servers and wires, so that it can be tested and reused without them.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from obfnet.core.errors import DataError
from obfnet.core.spec import Samples
from obfnet.oip.tensors import TensorMetadata

_INPUTS: Final = {"tensor(float)": ("FP32", "float32"), "tensor(uint8)": ("UINT8", "uint8")}
_OUTPUTS: Final = {
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(float16)": "FP16",
    "tensor(int64)": "INT64",
    "tensor(uint8)": "UINT8",
}


class ServedNetwork:
    """An ONNX model with one input of float32 or uint8.

    Args:
        path: The ONNX file.
        threads: CPU threads that one request may use, ≥ 1.

    Raises:
        DataError: no such file, no ONNX model, several inputs, another datatype, or a model that does
            not answer a sample of zeros.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        if not path.is_file():
            raise DataError("an ONNX model to serve", f"no file {path}", "check the path")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        # Waiting threads that spin would take the processor from whoever shares the machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as exc:
            raise DataError(
                "an ONNX model", f"{path}, which ONNX Runtime does not load", "export it again"
            ) from exc
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise DataError(
                "a model of one input", f"{path} with {len(inputs)}", "serve a model of one input"
            )
        if inputs[0].type not in _INPUTS:
            raise DataError(
                "a model input of float32 or uint8", inputs[0].type, "export it with such an input"
            )
        datatype, self._dtype = _INPUTS[inputs[0].type]
        self.input = TensorMetadata(name=inputs[0].name, datatype=datatype, shape=_sizes(inputs[0].shape))
        outputs = self._session.get_outputs()
        unknown = [output.type for output in outputs if output.type not in _OUTPUTS]
        if unknown:
            raise DataError(
                "model outputs that are numeric tensors", str(unknown[0]), "export it with such outputs"
            )
        self.outputs = tuple(
            TensorMetadata(name=output.name, datatype=_OUTPUTS[output.type], shape=_sizes(output.shape))
            for output in outputs
        )
        self._answer_zeros(path)

    def run(self, samples: Samples) -> list[npt.NDArray[Any]]:
        """The network's outputs, in the order of `outputs`.

        Args:
            samples: `(N, ...)` of the input's shape and dtype.

        Returns:
            One array an output.
        """
        outputs: list[npt.NDArray[Any]] = self._session.run(None, {self.input.name: samples})
        return outputs

    def _answer_zeros(self, path: Path) -> None:
        shape = tuple(1 if size == -1 else size for size in self.input.shape)
        try:
            self.run(np.zeros(shape, self._dtype))
        except Exception as exc:
            raise DataError(
                f"an answer of {path} to zeros of shape {shape}",
                f"{type(exc).__name__}",
                "export the model again",
            ) from exc


def _sizes(shape: list[Any]) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else -1 for size in shape)
