"""The served network as KServe sees it: a model that checks requests, and a data plane that says so.

Imported only by a server that starts, since KServe takes seconds to load. A request that does not fit is
answered with 400 and its reason; no request's values ever reach a message or a log.
"""

import json
import sys
import uuid
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import MissingExtraError, UsageError
from obfnet.core.spec import Samples
from obfnet.oip.rest import BINARY_EXTENSION
from obfnet.oip.tensors import TensorMetadata
from obfnet.serve.network import ServedNetwork

_HEAD_LENGTH: Final = "inference-header-content-length"
_BINARY: Final[dict[str, np.dtype[Any]]] = {"FP32": np.dtype("<f4"), "UINT8": np.dtype("u1")}

_argv = sys.argv
try:
    # KServe parses the command line while it is imported, and would stop at flags that look like its own.
    sys.argv = sys.argv[:1]
    from kserve import InferOutput, InferRequest, InferResponse, Model
    from kserve.errors import InferenceError, InvalidInput
    from kserve.protocol.dataplane import DataPlane
except ModuleNotFoundError as _exc:
    raise MissingExtraError(_exc.name or "kserve", "serve") from _exc
except TypeError as _exc:
    # Both define the protocol's messages, and protobuf takes one definition a process.
    raise UsageError(
        "a process without a gRPC client to serve in",
        "one with it",
        "use a process of its own: BackendProcess",
    ) from _exc
finally:
    sys.argv = _argv


class OnnxModel(Model):  # type: ignore[misc]
    """Answers inference requests with a `ServedNetwork`.

    Args:
        name: The model's name in URLs and answers.
        network: Loaded, and known to answer.
    """

    def __init__(self, name: str, network: ServedNetwork) -> None:
        super().__init__(name)
        self._network = network
        self.ready = True

    def get_input_types(self) -> list[dict[str, Any]]:
        """The input, as model metadata lists it."""
        return [_described(self._network.input)]

    def get_output_types(self) -> list[dict[str, Any]]:
        """The outputs, as model metadata lists them."""
        return [_described(output) for output in self._network.outputs]

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> InferResponse:
        """Scores for one request.

        Args:
            payload: A version 2 request, from REST or gRPC.
            headers: Not used.
            response_headers: Not used.

        Returns:
            All outputs, in the form that was asked for.

        Raises:
            InvalidInput: the request does not fit the model; KServe answers 400 with the reason.
            InferenceError: the model fails on it; KServe answers 500.
        """
        if not isinstance(payload, InferRequest):
            raise InvalidInput("this server speaks version 2 of the inference protocol only")
        samples = _samples(payload, self._network.input)
        try:
            outputs = self._network.run(samples)
        except Exception as exc:
            raise InferenceError(f"the model failed on this request ({type(exc).__name__})") from None
        return InferResponse(
            response_id=payload.id or uuid.uuid4().hex,
            model_name=self.name,
            infer_outputs=[
                _answered(wanted, output)
                for wanted, output in zip(self._network.outputs, outputs, strict=True)
            ],
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )


class BinaryDataPlane(DataPlane):  # type: ignore[misc]
    """KServe's data plane, which speaks binary tensors, made to say so; malformed bodies are a 400."""

    def metadata(self) -> dict[str, Any]:
        """The server's metadata with the binary extension among its extensions."""
        told: dict[str, Any] = super().metadata()
        return {**told, "extensions": [*told["extensions"], BINARY_EXTENSION]}

    def decode_inference_request(self, body: Any, headers: dict[str, str], model_name: str) -> InferRequest:
        """Parses a request; raises `InvalidInput` where KServe would answer 500.

        A binary tensor stays bytes: KServe itself would make a list of Python numbers of it, which for a
        photograph takes longer than the network does.
        """
        try:
            head_bytes = headers.get(_HEAD_LENGTH) if isinstance(body, bytes) else None
            if head_bytes is None:
                return super().decode_inference_request(body, headers, model_name)
            return _decoded(body, int(head_bytes), model_name)
        except (LookupError, ValueError, TypeError, AttributeError, OverflowError, InferenceError) as exc:
            if isinstance(exc, InvalidInput):
                raise
            raise InvalidInput(f"malformed request ({type(exc).__name__})") from None


def _decoded(body: bytes, head_bytes: int, model_name: str) -> InferRequest:
    head = json.loads(body[:head_bytes])
    tensor = head["inputs"][0]
    size = (tensor.get("parameters") or {}).get("binary_data_size")
    dtype = _BINARY.get(tensor["datatype"])
    if len(head["inputs"]) != 1 or "data" in tensor or size is None or dtype is None:
        return InferRequest.from_bytes(body, head_bytes, model_name)
    values = np.frombuffer(body[head_bytes : head_bytes + size], dtype).reshape(tensor["shape"])
    tensor["data"] = []
    plain = json.dumps(head).encode()
    request = InferRequest.from_bytes(plain, len(plain), model_name)
    request.inputs[0].set_data_from_numpy(values, binary_data=True)
    return request


def _samples(request: InferRequest, wanted: TensorMetadata) -> Samples:
    sizes = ", ".join("N" if size == -1 else str(size) for size in wanted.shape)
    names = [given.name for given in request.inputs]
    if names != [wanted.name]:
        raise InvalidInput(
            f"expected one input named '{wanted.name}', got {len(names)} input(s) of other names"
        )
    given = request.inputs[0]
    if given.datatype != wanted.datatype:
        raise InvalidInput(f"expected input of datatype {wanted.datatype}, got {given.datatype[:20]}")
    shape = tuple(given.shape)
    if not wanted.fits(shape) or any(size < 1 for size in shape):
        raise InvalidInput(f"expected input of shape ({sizes}), got {shape[:8]}")
    # NumPy would cut 0.5 to the uint8 0 without a word.
    if (
        wanted.datatype == "UINT8"
        and isinstance(given.data, list)
        and any(type(v) is float for v in given.data)
    ):
        raise InvalidInput("expected whole numbers for datatype UINT8, got fractions")
    try:
        samples: Samples = given.as_numpy()
    except (ValueError, TypeError, OverflowError):
        raise InvalidInput(f"expected as many numbers as shape {shape} holds, got other data") from None
    return samples


def _answered(wanted: TensorMetadata, output: npt.NDArray[Any]) -> InferOutput:
    answer = InferOutput(name=wanted.name, shape=list(output.shape), datatype=wanted.datatype)
    # Bytes are what KServe turns into every form that may be asked for; arrays it cannot put into gRPC.
    answer.set_data_from_numpy(output, binary_data=True)
    return answer


def _described(tensor: TensorMetadata) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
