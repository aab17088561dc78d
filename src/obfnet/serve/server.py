"""Runs the reference backend in the calling process: KServe over one ONNX model, until it is told to stop.

Binds only the address that it was given, where KServe alone would take all of them, and is silent: KServe's
logs are off, since a backend of ours must not keep what it is sent. Workers, TLS and model repositories are
left out; a deployment puts a real KServe in this one's place.
"""

import asyncio
import logging
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from obfnet.core.errors import OutputError, UsageError
from obfnet.serve.network import ServedNetwork

_GRACE_S: Final = 2
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

Ready = Callable[[int, int | None], None]


def run_server(
    model: Path,
    *,
    port: int,
    host: str = "127.0.0.1",
    grpc_port: int | None = None,
    name: str = "model",
    threads: int = 1,
    on_ready: Ready | None = None,
) -> None:
    """Serves an ONNX model over the Open Inference Protocol v2 until SIGTERM or SIGINT; once a process.

    Args:
        model: The ONNX file, served as it is: one input of float32 or uint8.
        port: TCP port of REST (JSON and binary tensors); 0 takes a free one.
        host: Address to listen on; only this machine can reach the default.
        grpc_port: TCP port of gRPC; 0 takes a free one, None leaves gRPC out.
        name: The model's name in URLs.
        threads: CPU threads that one request may use.
        on_ready: Called with the two ports once the server answers; the second is None without gRPC.

    Raises:
        DataError: no model that can be served.
        OutputError: a port is in use or may not be taken; nothing was started.
        UsageError: a name or a number cannot be used.
        MissingExtraError: KServe is not installed.
    """
    if not name or "/" in name or threads < 1:
        raise UsageError("a name without '/' and threads >= 1", f"{name!r}, {threads}", "give others")
    stop = _Stop()
    # Deprecations inside KServe are no news to whoever runs a server.
    with _stop_signals(stop), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # A busy port is found before anything slow is done.
        for wanted in (port, grpc_port):
            if wanted:
                _listening(host, wanted).close()
        network = ServedNetwork(model, threads=threads)
        if stop.asked:
            return
        _silence()
        rest, grpc_server = _servers(name, network, with_grpc=grpc_port is not None)
        if stop.asked:
            return
        asyncio.run(
            _serve(rest, grpc_server, stop, host=host, port=port, grpc_port=grpc_port, on_ready=on_ready)
        )


class _Stop:
    # No `threading.Event`: its lock would be taken twice if a second signal interrupts the first's handler.
    asked = False


@contextmanager
def _stop_signals(stop: _Stop) -> Iterator[None]:
    # Python lets only the main thread set handlers.
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        # Only noted: an exception raised here may land in an import that swallows it. Once it serves,
        # uvicorn takes the signals; it repeats them when it is done, which must not hurt.
        stop.asked = True

    before = {number: signal.signal(number, on_signal) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _servers(name: str, network: ServedNetwork, *, with_grpc: bool) -> tuple[Any, Any]:
    # The import comes first, since it turns a missing KServe into a line that helps.
    from obfnet.serve.kserve_model import BinaryDataPlane, OnnxModel

    # isort: split
    from kserve.model_repository import ModelRepository
    from kserve.protocol.model_repository_extension import ModelRepositoryExtension
    from kserve.protocol.rest.server import RESTServer

    repository = ModelRepository()
    repository.update(OnnxModel(name, network))
    plane, extension = BinaryDataPlane(repository), ModelRepositoryExtension(repository)
    rest = RESTServer("kserve.model_server:app", plane, extension, http_port=0, grace_period=_GRACE_S)
    rest.create_application()
    if not with_grpc:
        return rest, None

    def grpc_server() -> Any:
        from grpc import aio
        from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
        from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
        from kserve.protocol.grpc.servicer import InferenceServicer

        server = aio.server(
            interceptors=(ExceptionToStatusInterceptor(),),
            # By default gRPC shares a port that is in use with whoever holds it.
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
            ],
        )
        add_GRPCInferenceServiceServicer_to_server(InferenceServicer(plane, extension), server)
        return server

    return rest, grpc_server


async def _serve(
    rest: Any,
    grpc_server: Any,
    stop: _Stop,
    *,
    host: str,
    port: int,
    grpc_port: int | None,
    on_ready: Ready | None,
) -> None:
    import uvicorn

    listening = _listening(host, port)
    grpc, bound_grpc_port = None, None
    try:
        if grpc_server is not None:
            grpc = grpc_server()
            bound_grpc_port = _bind_grpc(grpc, host, grpc_port or 0)
            await grpc.start()
        server = uvicorn.Server(rest.config)
        serving = asyncio.ensure_future(server.serve(sockets=[listening]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.005)
        # A signal that came before uvicorn took them over was noted, and nobody else acts on it.
        server.should_exit = server.should_exit or stop.asked
        if on_ready is not None and not serving.done() and not server.should_exit:
            on_ready(listening.getsockname()[1], bound_grpc_port)
        await serving
    finally:
        if grpc is not None:
            await grpc.stop(grace=_GRACE_S)
        listening.close()


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, number)
    except OSError as exc:
        raise OutputError(
            f"an address to listen on, got host {host!r}", exc.strerror or "unknown", "check it"
        ) from exc
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(256)
    except OSError as exc:
        listening.close()
        raise _port_error(host, port, exc.strerror or "refused") from exc
    return listening


def _bind_grpc(server: Any, host: str, port: int) -> int:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = int(server.add_insecure_port(target))
    except RuntimeError as exc:
        raise _port_error(host, port, "Address already in use") from exc
    if bound == 0:
        raise _port_error(host, port, "Address already in use")
    return bound


def _port_error(host: str, port: int, why: str) -> OutputError:
    return OutputError(
        f"port {port} of {host} to be free", why.lower(), "choose another port, or 0 for any free one"
    )


def _silence() -> None:
    for logger in ("kserve", "kserve.trace", "uvicorn", "uvicorn.error", "uvicorn.access"):
        quiet = logging.getLogger(logger)
        # Uvicorn writes access logs wherever its logger has a handler.
        quiet.handlers = [] if logger == "uvicorn.access" else [logging.NullHandler()]
        quiet.propagate = False
        quiet.setLevel(logging.CRITICAL + 1)
