"""The one client for every Open Inference Protocol v2 server: `connect(url).infer(samples)`.

Whatever is sent takes the same path with the same headers, so that a server cannot tell obfuscated samples
from raw ones by anything but their values. Obfuscating, and refusing to send what is not obfuscated, is
the business of `edge`.
"""

import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import httpx

from obfnet.core.errors import DtypeError, ShapeError, UsageError
from obfnet.core.spec import Samples
from obfnet.oip.channel import Channel, Endpoint
from obfnet.oip.tensors import Exchange, ModelMetadata, Scores, datatype_of

PROTOCOLS: Final = ("auto", "binary", "json", "grpc")
DEFAULT_MODEL: Final = "model"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "grpc": 8001, "grpcs": 443}


class Client:
    """A connection to one model; reused for every request, may be shared by threads, a context manager.

    Args:
        channel: The wire; `connect` makes it.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._metadata: ModelMetadata | None = None
        self._request_bytes = 0

    @property
    def protocol(self) -> str:
        """`"binary"`, `"json"` or `"grpc"`; `"auto"` before the first request settled it."""
        return self._channel.protocol

    @property
    def request_bytes(self) -> int:
        """Size in bytes of the last request's body; 0 before the first."""
        return self._request_bytes

    def metadata(self) -> ModelMetadata:
        """What the server says of the model; asked once a connection.

        Returns:
            Names, datatypes and shapes of its inputs and outputs.

        Raises:
            BackendError: no connection, a refusal, or an answer that is not to be believed.
        """
        with self._lock:
            if self._metadata is None:
                self._metadata = self._channel.metadata()
            return self._metadata

    def ready(self) -> bool:
        """Whether the server answers now and says that the model is ready; never raises a `BackendError`."""
        return self._channel.ready()

    def check(self, shape: tuple[int, ...], datatype: str) -> None:
        """Raises unless the model takes a batch of this shape and datatype; sends no samples.

        Args:
            shape: With the batch axis.
            datatype: As the protocol spells it.

        Raises:
            ShapeError, DtypeError: the model takes something else.
            BackendError: the server did not tell.
        """
        wanted = self.metadata().input
        if wanted.datatype != datatype:
            raise DtypeError(
                f"samples of {wanted.datatype}, as the backend's model takes",
                datatype,
                "use a pool made for this model",
            )
        if not wanted.fits(shape):
            sizes = ", ".join("N" if size == -1 else str(size) for size in wanted.shape)
            raise ShapeError(
                f"samples of shape ({sizes}), as the backend's model takes",
                str(shape),
                "use a pool made for this model",
            )

    def exchange(self, samples: Samples) -> Exchange:
        """Sends samples in one request; says how long each part took.

        Args:
            samples: `(N, ...)` float32 or uint8, as the model takes them, N ≥ 1.

        Returns:
            Scores `(N, classes)` float32 with the request's size and times.

        Raises:
            ShapeError, DtypeError: the model does not take such samples; nothing was sent.
            BackendUnavailableError: no connection, or no answer in time.
            BackendRefusedError: 4xx, 5xx or a redirect.
            BackendProtocolError: an answer that is not the protocol's, or not of this model.
        """
        if samples.ndim < 2 or len(samples) == 0:
            raise ShapeError("a batch of at least one sample", str(samples.shape), "add the batch axis")
        self.check(samples.shape, datatype_of(samples))
        done = self._channel.exchange(samples, self.metadata())
        self._request_bytes = done.request_bytes
        return done

    def infer(self, samples: Samples) -> Scores:
        """The model's scores; as `exchange`, without the figures.

        Args:
            samples: `(N, ...)` float32 or uint8, as the model takes them, N ≥ 1.

        Returns:
            `(N, classes)` float32, finite.

        Raises:
            ShapeError, DtypeError, BackendError: as `exchange`.
        """
        return self.exchange(samples).scores

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(
    url: str,
    *,
    model: str | None = None,
    protocol: str = "auto",
    timeout_s: float = 10.0,
    retries: int = 2,
    ca_path: Path | str | None = None,
    use_environment_proxies: bool = False,
    transport: httpx.BaseTransport | None = None,
) -> Client:
    """A client for the model at `url`; nothing is sent until it is used.

    Args:
        url: `http://`, `https://`, `grpc://` or `grpcs://`, host and port; a path before `v2/` if any.
        model: The model's name on the server; `"model"` by default, as `obfnet serve` names it.
        protocol: `"auto"` settles on binary tensors or JSON with a sample of zeros before the first
            request, and keeps to it; `"binary"` and `"json"` insist. gRPC follows from the URL.
        timeout_s: Longest wait to connect, and longest wait for an answer; seconds, > 0.
        retries: How often a connection that was refused, or closed before an answer, and the statuses
            502, 503 and 504 are tried again, after 0.1, 0.2, 0.4 ... seconds.
        ca_path: PEM file of the certificate authorities to trust instead of the usual ones. Certificates
            and host names are always verified.
        use_environment_proxies: Go through the proxies that the environment names; not by default.
        transport: Replaces the network of REST, for tests.

    Returns:
        The client; close it, or use it in a `with` block.

    Raises:
        UsageError: the URL, the protocol or a number cannot be used.
        MissingExtraError: gRPC without the extra `grpc`.

    Example:
        >>> connect("http://127.0.0.1:8080", protocol="json").protocol
        'json'
    """
    if protocol not in PROTOCOLS:
        raise UsageError(f"a protocol of {', '.join(PROTOCOLS)}", repr(protocol), "choose one of them")
    if not timeout_s > 0 or retries < 0:
        raise UsageError("timeout_s > 0 and retries >= 0", f"{timeout_s}, {retries}", "give other numbers")
    if ca_path is not None and not Path(ca_path).is_file():
        raise UsageError("a PEM file of certificates", f"no file {ca_path}", "check the path")
    scheme, host, port, path = _parts(url)
    endpoint = Endpoint(
        url=url,
        host=host,
        port=port,
        secure=scheme.endswith("s"),
        model=model or DEFAULT_MODEL,
        timeout_s=timeout_s,
        retries=retries,
        ca_path=None if ca_path is None else str(ca_path),
        use_environment_proxies=use_environment_proxies,
    )
    if scheme.startswith("grpc"):
        if protocol not in ("auto", "grpc") or path:
            raise UsageError(
                "a plain host and port for gRPC", f"{url} with {protocol!r}", "drop the path or use http"
            )
        from obfnet.oip.grpc_channel import GrpcChannel

        return Client(GrpcChannel(endpoint))
    if protocol == "grpc":
        raise UsageError("a grpc:// or grpcs:// URL for gRPC", url, "give the gRPC port's URL")
    from obfnet.oip.rest_channel import RestChannel

    return Client(RestChannel(endpoint, path=path, protocol=protocol, transport=transport))


def _parts(url: str) -> tuple[str, str, int, str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise _bad_url("a URL with a valid host and port") from exc
    # The URL is not repeated where it may hold a password.
    if parts.username is not None or parts.password is not None:
        raise _bad_url("a URL without user name and password")
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.query or parts.fragment:
        raise _bad_url("http, https, grpc or grpcs://HOST:PORT")
    return parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme], parts.path.strip("/")


def _bad_url(expected: str) -> UsageError:
    return UsageError(expected, "another", "write it like http://127.0.0.1:8080")
