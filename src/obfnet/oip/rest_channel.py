"""The Open Inference Protocol v2 over HTTP: one connection pool, one set of headers, bounded answers.

Negotiates the binary tensor extension with a sample of zeros, never with data: so what is negotiated, and
what the server sees of it, cannot depend on what will be sent. Cookies, redirects, compression and proxies
(unless asked for) are left out: data goes where it was told to, and nothing marks a connection.
"""

import ssl
import threading
import time
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final
from urllib.parse import quote

import httpx
import numpy as np

from obfnet.core.errors import BackendError, BackendRefusedError
from obfnet.core.spec import Samples
from obfnet.oip import rest
from obfnet.oip.channel import Channel, Endpoint, TransientError, timed_out, unreachable, untrue, with_retries
from obfnet.oip.tensors import MAX_RESPONSE_BYTES, Exchange, ModelMetadata, Scores

_JSON_LENGTH: Final = "inference-header-content-length"
_TRANSIENT_STATUS: Final = (502, 503, 504)
# What servers without the extension answer to a body that is no JSON.
_NO_EXTENSION_STATUS: Final = (400, 406, 411, 415, 422, 500, 501)


@dataclass(frozen=True, kw_only=True)
class _Answer:
    status: int
    body: bytes
    json_bytes: int | None


class RestChannel(Channel):
    """Speaks REST to one model.

    Args:
        endpoint: Where and how patiently.
        path: Path of the URL before `v2/`, without slashes at its ends.
        protocol: `"auto"`, `"binary"` or `"json"`.
        transport: Replaces the network, for tests.
    """

    def __init__(
        self, endpoint: Endpoint, *, path: str, protocol: str, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._endpoint, self._protocol = endpoint, protocol
        self._negotiating = threading.Lock()
        prefix = f"/{path}" if path else ""
        self._server_path = f"{prefix}/v2"
        self._model_path = f"{self._server_path}/models/{quote(endpoint.model, safe='')}"
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        self._http = httpx.Client(
            base_url=f"{'https' if endpoint.secure else 'http'}://{host}:{endpoint.port}",
            verify=_tls_context(endpoint),
            trust_env=endpoint.use_environment_proxies,
            timeout=endpoint.timeout_s,
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            # No user agent of our own: this one says no more than that the client is written in Python.
            headers={"accept": "*/*", "accept-encoding": "identity"},
            transport=transport,
        )

    @property
    def protocol(self) -> str:
        """`"binary"` or `"json"`; `"auto"` while it is still to be negotiated."""
        return self._protocol

    def metadata(self) -> ModelMetadata:
        """What the server says of the model; raises `BackendError`."""
        answer = self._accepted(self._request("GET", self._model_path))
        return rest.parse_model_metadata(answer.body, model=self._endpoint.model)

    def ready(self) -> bool:
        """Whether the server answers and says that the model is ready; asks once."""
        try:
            return self._once("GET", f"{self._model_path}/ready", b"", {}).status == 200
        except (TransientError, BackendError):
            return False

    def exchange(self, samples: Samples, metadata: ModelMetadata) -> Exchange:
        """Sends samples, in the form negotiated on the first call, and waits for their scores.

        Args:
            samples: `(N, ...)` float32 or uint8.
            metadata: The model's, as `metadata` gave it.

        Returns:
            The scores, sizes and times.

        Raises:
            BackendError: no connection, a refusal, or an answer that is not to be believed.
        """
        protocol = self._protocol
        if protocol == "auto":
            protocol = self._negotiate(samples, metadata)
        return self._exchange(samples, metadata, protocol)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def _negotiate(self, samples: Samples, metadata: ModelMetadata) -> str:
        with self._negotiating:
            if self._protocol == "auto":
                self._protocol = self._negotiated(np.zeros_like(samples[:1]), metadata)
            return self._protocol

    def _negotiated(self, zeros: Samples, metadata: ModelMetadata) -> str:
        about = self._request("GET", self._server_path)
        if about.status == 200 and rest.BINARY_EXTENSION in rest.parse_extensions(about.body):
            return "binary"
        # Some servers speak the extension without listing it, so that only trying tells.
        try:
            self._exchange(zeros, metadata, "binary")
        except BackendRefusedError as refusal:
            if refusal.status not in _NO_EXTENSION_STATUS:
                raise
        else:
            return "binary"
        # A request that is wrong in JSON as well is refused here, with the server's own words.
        self._exchange(zeros, metadata, "json")
        return "json"

    def _exchange(self, samples: Samples, metadata: ModelMetadata, protocol: str) -> Exchange:
        started = time.perf_counter()
        output = metadata.output
        output_name = None if output is None else output.name
        if protocol == "binary":
            body, length = rest.encode_request_binary(
                samples, input_name=metadata.input.name, output_name=output_name
            )
            headers = {"content-type": "application/octet-stream", _JSON_LENGTH: str(length)}
        else:
            body = rest.encode_request_json(samples, input_name=metadata.input.name, output_name=output_name)
            headers = {"content-type": "application/json"}
        encoded = time.perf_counter()
        answer = self._accepted(self._request("POST", f"{self._model_path}/infer", body, headers))
        answered = time.perf_counter()
        scores: Scores = rest.decode_response(
            answer.body, answer.json_bytes, model=self._endpoint.model, wanted=output, samples=len(samples)
        )
        done = time.perf_counter()
        return Exchange(
            scores=scores,
            protocol=protocol,
            request_bytes=len(body),
            encode_s=encoded - started,
            decode_s=done - answered,
            total_s=done - started,
        )

    def _request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> _Answer:
        def call() -> _Answer:
            answer = self._once(method, path, body, headers or {})
            if answer.status in _TRANSIENT_STATUS:
                raise TransientError from self._refusal(answer)
            return answer

        return with_retries(call, retries=self._endpoint.retries)

    def _once(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> _Answer:
        endpoint = self._endpoint
        deadline = time.monotonic() + endpoint.timeout_s
        request = self._http.build_request(method, path, content=body or None, headers=headers)
        try:
            response = self._http.send(request, stream=True)
        except httpx.TimeoutException as exc:
            raise timed_out(endpoint) from exc
        except httpx.ConnectError as exc:
            if _is_tls_fault(exc):
                raise unreachable(endpoint, "a TLS handshake that failed (certificate not trusted?)") from exc
            fault = unreachable(endpoint, "no connection")
            fault.__cause__ = exc
            raise TransientError from fault
        except httpx.NetworkError as exc:
            fault = unreachable(endpoint, "a connection that was reset")
            fault.__cause__ = exc
            raise TransientError from fault
        except httpx.RemoteProtocolError as exc:
            if "without sending a response" in str(exc):
                fault = unreachable(endpoint, "a connection that was closed without an answer")
                fault.__cause__ = exc
                raise TransientError from fault
            raise untrue(self._endpoint, "an HTTP answer", "something else") from exc
        except httpx.HTTPError as exc:
            raise unreachable(endpoint, type(exc).__name__) from exc
        try:
            return self._read(response, deadline)
        except httpx.TimeoutException as exc:
            raise timed_out(endpoint) from exc
        except httpx.HTTPError as exc:
            raise untrue(
                self._endpoint, "a whole answer", "a connection that was closed in the middle of it"
            ) from exc
        finally:
            response.close()

    def _read(self, response: httpx.Response, deadline: float) -> _Answer:
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise untrue(
                self._endpoint, "an answer that is not compressed", f"content encoding {encoding[:20]!r}"
            )
        chunks: list[bytes] = []
        size = 0
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > MAX_RESPONSE_BYTES:
                raise untrue(self._endpoint, f"at most {MAX_RESPONSE_BYTES} bytes of answer", "more")
            if time.monotonic() > deadline:
                raise timed_out(self._endpoint)
            chunks.append(chunk)
        length = response.headers.get(_JSON_LENGTH)
        if length is not None and not (length.isascii() and length.isdigit() and len(length) < 12):
            raise untrue(self._endpoint, f"a length in the header '{_JSON_LENGTH}'", "something else")
        return _Answer(
            status=response.status_code,
            body=b"".join(chunks),
            json_bytes=None if length is None else int(length),
        )

    def _accepted(self, answer: _Answer) -> _Answer:
        if answer.status != 200:
            raise self._refusal(answer)
        return answer

    def _refusal(self, answer: _Answer) -> BackendRefusedError:
        if 300 <= answer.status < 400:
            got, remedy = (
                f"a redirect (HTTP {answer.status})",
                "redirects are not followed: give the final URL",
            )
        else:
            said = rest.parse_error_text(answer.body)
            got = f"HTTP {answer.status}{': ' + said.rstrip('.') if said else ''}"
            remedy = _remedy(answer.status)
        return BackendRefusedError(answer.status, f"{self._endpoint.url} to accept the request", got, remedy)


def _remedy(status: int) -> str:
    if status in (401, 403):
        return "the server wants an authorisation that this client does not give"
    if status == 404:
        return "check the model's name and the URL"
    if status >= 500:
        return "try again, or look at the server's log"
    return "check that the pool was trained for this backend's model, or try protocol 'json'"


def _is_tls_fault(exc: BaseException) -> bool:
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    if not endpoint.secure:
        # Trusts nobody, and is made at once: loading the usual certificates takes longer than a request.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if endpoint.ca_path is not None:
        return ssl.create_default_context(cafile=endpoint.ca_path)
    return httpx.create_ssl_context(trust_env=False)
