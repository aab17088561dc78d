"""The Open Inference Protocol v2 over gRPC, with the message classes of `tritonclient[grpc]`.

Imported only when a `grpc://` or `grpcs://` URL is asked for, so that a device without the extra loses
nothing else. Streaming, compression and gRPC's own hidden retries are left out: what is sent, and how
often, is decided here.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from obfnet.core.errors import (
    BackendError,
    BackendRefusedError,
    MissingExtraError,
    UsageError,
)
from obfnet.core.spec import Samples
from obfnet.oip.channel import Channel, Endpoint, TransientError, timed_out, unreachable, untrue, with_retries
from obfnet.oip.tensors import (
    MAX_RESPONSE_BYTES,
    Exchange,
    ModelMetadata,
    ReceivedTensor,
    TensorMetadata,
    datatype_of,
    scores_of,
)

try:
    import grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc
except (ModuleNotFoundError, RuntimeError) as _exc:
    raise MissingExtraError("tritonclient.grpc", "grpc") from _exc
except TypeError as _exc:
    # Both define the protocol's messages, and protobuf takes one definition a process.
    raise UsageError(
        "a process without KServe for a gRPC client", "one with it", "serve in a process of its own"
    ) from _exc

_TYPED_CONTENTS: Final = {"FP32": "fp32_contents", "FP64": "fp64_contents"}


class GrpcChannel(Channel):
    """Speaks gRPC to one model.

    Args:
        endpoint: Where and how patiently.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", MAX_RESPONSE_BYTES),
            ("grpc.enable_retries", 0),
            ("grpc.enable_http_proxy", int(endpoint.use_environment_proxies)),
            ("grpc.service_config_disable_resolution", 1),
            # A connection of this client's own, not one shared with the process's other channels.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
        ]
        target = f"{host}:{endpoint.port}"
        if endpoint.secure:
            roots = None if endpoint.ca_path is None else Path(endpoint.ca_path).read_bytes()
            credentials = grpc.ssl_channel_credentials(root_certificates=roots)
            self._channel = grpc.secure_channel(target, credentials, options)
        else:
            self._channel = grpc.insecure_channel(target, options)
        self._stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    @property
    def protocol(self) -> str:
        """Always `"grpc"`: there is nothing to negotiate."""
        return "grpc"

    def metadata(self) -> ModelMetadata:
        """What the server says of the model; raises `BackendError`."""
        model = self._endpoint.model
        answer = self._call(self._stub.ModelMetadata, service_pb2.ModelMetadataRequest(name=model))
        if answer.name != model:
            raise untrue(self._endpoint, f"metadata of model {model!r}", f"of {answer.name[:80]!r}")
        return ModelMetadata(name=model, inputs=_tensors(answer.inputs), outputs=_tensors(answer.outputs))

    def ready(self) -> bool:
        """Whether the server answers and says that the model is ready; asks once."""
        request = service_pb2.ModelReadyRequest(name=self._endpoint.model)
        try:
            return bool(self._once(self._stub.ModelReady, request).ready)
        except (TransientError, BackendError):
            return False

    def exchange(self, samples: Samples, metadata: ModelMetadata) -> Exchange:
        """Sends samples and waits for their scores.

        Args:
            samples: `(N, ...)` float32 or uint8.
            metadata: The model's, as `metadata` gave it.

        Returns:
            The scores, sizes and times. The message's size depends on names, shape and datatype only.

        Raises:
            BackendError: no connection, a refusal, or an answer that is not to be believed.
        """
        started = time.perf_counter()
        datatype = datatype_of(samples)
        request = service_pb2.ModelInferRequest(model_name=self._endpoint.model)
        sent = request.inputs.add()
        sent.name, sent.datatype = metadata.input.name, datatype
        sent.shape.extend(samples.shape)
        if metadata.output is not None:
            request.outputs.add().name = metadata.output.name
        little = samples.astype("<f4", copy=False) if datatype == "FP32" else samples
        request.raw_input_contents.append(little.tobytes())
        size = request.ByteSize()
        encoded = time.perf_counter()
        answer = self._call(self._stub.ModelInfer, request)
        answered = time.perf_counter()
        if answer.model_name != self._endpoint.model:
            raise untrue(
                self._endpoint,
                f"an answer of model {self._endpoint.model!r}",
                f"of {answer.model_name[:80]!r}",
            )
        wanted = metadata.output
        scores = scores_of(self._received(answer, wanted), wanted=wanted, samples=len(samples))
        done = time.perf_counter()
        return Exchange(
            scores=scores,
            protocol="grpc",
            request_bytes=size,
            encode_s=encoded - started,
            decode_s=done - answered,
            total_s=done - started,
        )

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def _received(self, answer: Any, wanted: TensorMetadata | None) -> ReceivedTensor:
        if not answer.outputs:
            raise untrue(self._endpoint, "an output in the answer", "none")
        names = [output.name for output in answer.outputs]
        index = names.index(wanted.name) if wanted is not None and wanted.name in names else 0
        output = answer.outputs[index]
        data: bytes | list[float]
        if answer.raw_output_contents:
            if len(answer.raw_output_contents) != len(names):
                raise untrue(
                    self._endpoint,
                    "as many contents as outputs",
                    f"{len(answer.raw_output_contents)} of {len(names)}",
                )
            data = answer.raw_output_contents[index]
        else:
            data = list(getattr(output.contents, _TYPED_CONTENTS.get(output.datatype, "fp32_contents")))
        shape = tuple(output.shape)
        if any(size < 0 for size in shape):
            raise untrue(self._endpoint, "an output of a definite shape", str(shape[:8]))
        return ReceivedTensor(name=output.name, datatype=output.datatype, shape=shape, data=data)

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        return with_retries(lambda: self._once(method, request), retries=self._endpoint.retries)

    def _once(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return method(request, timeout=self._endpoint.timeout_s)
        except grpc.RpcError as exc:
            code: Any = exc.code()
            details = str(exc.details() or "")
            if code == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise timed_out(self._endpoint) from exc
            if code == grpc.StatusCode.UNAVAILABLE:
                fault = unreachable(self._endpoint, "no connection, or one that was closed without an answer")
                fault.__cause__ = exc
                raise TransientError from fault
            if "deserializing response" in details or "message larger than max" in details:
                raise untrue(
                    self._endpoint, "a message of the protocol, within the size limit", "another"
                ) from exc
            raise BackendRefusedError(
                code.name,
                f"{self._endpoint.url} to accept the request",
                f"gRPC status {code.name}",
                "check the model's name, and that the pool was trained for this backend's model",
            ) from exc


def _tensors(listed: Any) -> tuple[TensorMetadata, ...]:
    return tuple(
        TensorMetadata(name=entry.name, datatype=entry.datatype, shape=tuple(entry.shape)) for entry in listed
    )
