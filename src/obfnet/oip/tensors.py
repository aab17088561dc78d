"""Tensors as the Open Inference Protocol names them, and what an answer must look like to be believed.

REST and gRPC answers end in the same check, `scores_of`, so that both fail in the same words. Strings,
integers of other widths and tensors that are no score matrix are left out: no classifier answers them.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import BackendProtocolError, DtypeError
from obfnet.core.spec import Samples

INPUT_DATATYPES: Final = {"float32": "FP32", "uint8": "UINT8"}
SCORE_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "FP16": np.dtype("<f2"),
}
MAX_RESPONSE_BYTES: Final = 16 * 1024 * 1024

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class TensorMetadata:
    """One input or output of a served model.

    Args:
        name: The tensor's name.
        datatype: As the protocol spells it, e.g. `"FP32"`.
        shape: With the batch axis; -1 where any size goes.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of `shape` (batch axis included) can be this one.

        Example:
            >>> TensorMetadata(name="x", datatype="FP32", shape=(-1, 4)).fits((7, 4))
            True
        """
        return len(shape) == len(self.shape) and all(
            wanted in (-1, size) for wanted, size in zip(self.shape, shape, strict=True)
        )


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """What a server says of a model.

    Args:
        name: The model's name.
        inputs: At least one.
        outputs: In the server's order; empty where the server does not say.
    """

    name: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]

    @property
    def input(self) -> TensorMetadata:
        """The only input; a model with several raises `BackendProtocolError`."""
        if len(self.inputs) != 1:
            raise BackendProtocolError(
                f"model {self.name!r} with one input",
                f"{len(self.inputs)} inputs",
                "serve a model of one input",
            )
        return self.inputs[0]

    @property
    def output(self) -> TensorMetadata | None:
        """The first output, which holds the scores; None where the server lists none."""
        return self.outputs[0] if self.outputs else None


@dataclass(frozen=True, kw_only=True)
class ReceivedTensor:
    """An output as it came, not yet believed.

    Args:
        name, datatype, shape: As the server says.
        data: Little-endian bytes, or numbers in row-major order.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | list[float]


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and its answer.

    Args:
        scores: `(N, classes)` float32, finite.
        protocol: `"binary"`, `"json"` or `"grpc"`.
        request_bytes: Size of the request's body (of its message for gRPC), without headers.
        encode_s: Seconds to build the request.
        decode_s: Seconds to parse and check the answer.
        total_s: Seconds of the whole exchange.
    """

    scores: Scores
    protocol: str
    request_bytes: int
    encode_s: float
    decode_s: float
    total_s: float


def datatype_of(samples: Samples) -> str:
    """The protocol's name of the samples' dtype.

    Args:
        samples: `(N, ...)` float32 or uint8.

    Returns:
        `"FP32"` or `"UINT8"`.

    Raises:
        DtypeError: another dtype.

    Example:
        >>> datatype_of(np.zeros((1, 4), np.float32))
        'FP32'
    """
    name = samples.dtype.name
    if name not in INPUT_DATATYPES:
        raise DtypeError("samples of float32 or uint8", name, "convert the samples first")
    return INPUT_DATATYPES[name]


def scores_of(received: ReceivedTensor, *, wanted: TensorMetadata | None, samples: int) -> Scores:
    """Believes an output, or says why not.

    Args:
        received: The output as it came.
        wanted: The output that the model's metadata promised; None where it promised nothing.
        samples: How many samples were sent.

    Returns:
        `(samples, classes)` float32, finite, writable.

    Raises:
        BackendProtocolError: wrong name, datatype, shape or size, or scores that are not finite.
    """
    shape = received.shape
    if wanted is not None and received.name != wanted.name:
        raise _distrust(f"output {wanted.name!r}", repr(received.name[:80]))
    if wanted is not None and received.datatype != wanted.datatype:
        raise _distrust(f"output of datatype {wanted.datatype}", repr(received.datatype[:20]))
    dtype = SCORE_DTYPES.get(received.datatype)
    if dtype is None:
        raise _distrust("scores of FP32, FP64 or FP16", repr(received.datatype[:20]))
    promised = (samples, -1) if wanted is None else (samples, *wanted.shape[1:])
    fits = TensorMetadata(name="", datatype="", shape=promised).fits(shape)
    if len(shape) != 2 or not fits or shape[1] < 1:
        raise _distrust(f"scores of shape {promised}", str(shape[:8]))
    count = math.prod(shape)
    if isinstance(received.data, bytes):
        if len(received.data) != count * dtype.itemsize:
            raise _distrust(f"{count * dtype.itemsize} bytes of scores", f"{len(received.data)} bytes")
        values: npt.NDArray[Any] = np.frombuffer(received.data, dtype)
    else:
        if len(received.data) != count:
            raise _distrust(f"{count} scores", f"{len(received.data)} numbers")
        values = np.array(received.data, np.float64)
    with np.errstate(over="ignore"):
        scores: Scores = values.astype(np.float32).reshape(shape)
    if not bool(np.isfinite(scores).all()):
        raise _distrust("finite scores", "NaN or infinity")
    return scores


def _distrust(expected: str, got: str) -> BackendProtocolError:
    return BackendProtocolError(expected, got, "check that the URL and the model name are the backend's")
