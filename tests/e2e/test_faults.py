"""Everything a backend can do wrong, on real sockets: one clear line each, and never a raw sample sent."""

import datetime
import ipaddress
import re
import socket
import ssl
import threading
import time
from concurrent import futures

import numpy as np
import pytest

from obfnet.core.errors import (
    BackendProtocolError,
    BackendRefusedError,
    BackendUnavailableError,
    BundleError,
    InputError,
    ObfNetError,
    ShapeError,
)
from obfnet.edge import Device
from obfnet.oip import connect
from tests.wire.models import faulty_obfuscators, obfuscator_bytes, pool_of, raw_samples
from tests.wire.sockets import ANSWER, METADATA, RecordingProxy, ScriptedServer, http_answer

pytestmark = pytest.mark.e2e

POOL = pool_of(obfuscator_bytes())
LISTED = {"name": "s", "version": "1", "extensions": ["binary_tensor_data"]}


def script_with(answer, *, metadata=METADATA):
    """A sound backend, but for what it answers to inference requests."""

    def script(method, path, headers, body):
        if path.endswith("/infer"):
            return answer() if callable(answer) else answer
        return http_answer(metadata if path.endswith("/models/model") else LISTED)

    return script


def changed(**fields):
    return http_answer({**ANSWER, "outputs": [{**ANSWER["outputs"][0], **fields}]})


def slow():
    time.sleep(1)
    return http_answer(ANSWER)


WHOLE = http_answer(ANSWER)
FAULTS = {
    "bad-request": (http_answer({"error": "no"}, "400 Bad Request"), BackendRefusedError, "400: no", 1),
    "not-found": (http_answer({}, "404 Not Found"), BackendRefusedError, "404", 1),
    "server-error": (http_answer({}, "500 Internal Server Error"), BackendRefusedError, "500", 1),
    "unavailable": (http_answer({}, "503 Service Unavailable"), BackendRefusedError, "503", 2),
    "redirect": (
        http_answer(b"", "307 Temporary Redirect", ["location: http://127.0.0.1:1/"]),
        BackendRefusedError,
        "redirect",
        1,
    ),
    "not-http": ((b"SSH-2.0-server\r\n\r\n",), BackendProtocolError, "HTTP answer", 1),
    "garbage": (http_answer(b"\x00\xff garbage"), BackendProtocolError, "JSON", 1),
    "wrong-model": (http_answer({**ANSWER, "model_name": "m2"}), BackendProtocolError, "model 'model'", 1),
    "wrong-output": (changed(name="z"), BackendProtocolError, "output 'y'", 1),
    "wrong-dtype": (changed(datatype="FP64"), BackendProtocolError, "FP32", 1),
    "wrong-count": (changed(shape=[2, 3], data=[0.0] * 6), BackendProtocolError, "shape", 1),
    "wrong-classes": (changed(shape=[1, 4], data=[0.0] * 4), BackendProtocolError, "shape", 1),
    "not-finite": (changed(data=[float("nan"), 0, 0]), BackendProtocolError, "finite", 1),
    "closed-at-once": (None, BackendUnavailableError, "closed without an answer", 2),
    "closed-in-the-middle": ((WHOLE[:-20],), BackendProtocolError, "middle", 1),
    "slow": (slow, BackendUnavailableError, "within 0.3 s", 1),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_one_clear_error_and_tried_again_only_where_that_is_safe(fault):
    answer, error, words, tries = FAULTS[fault]
    raw = raw_samples()
    with (
        ScriptedServer(script_with(answer)) as server,
        Device(POOL, server.url, timeout_s=0.3, retries=1) as device,
        pytest.raises(error, match=re.escape(words)) as caught,
    ):
        device.infer(raw)
    assert "\n" not in str(caught.value)
    assert len(server.inference_requests) == tries
    # Whatever went wrong, what was sent is obfuscated, and the same each time.
    assert len({request[3] for request in server.inference_requests}) == 1
    assert raw.tobytes() not in bytes(server.received)


def test_a_device_recovers_from_a_fault():
    answers = [None, http_answer({}, "502 Bad Gateway"), WHOLE, (WHOLE[:-9],), WHOLE]
    with (
        ScriptedServer(script_with(lambda: answers.pop(0))) as server,
        Device(POOL, server.url, timeout_s=2) as device,
    ):
        assert device.infer(raw_samples()).labels.tolist() == [1]
        with pytest.raises(BackendProtocolError):
            device.infer(raw_samples())
        assert device.infer(raw_samples()).labels.tolist() == [1]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@pytest.mark.parametrize("scheme", ["http", "https", "grpc", "grpcs"])
def test_no_server_is_one_clear_error(scheme):
    with (
        Device(POOL, f"{scheme}://127.0.0.1:{free_port()}", timeout_s=2, retries=1) as device,
        pytest.raises(BackendUnavailableError, match="check the URL") as caught,
    ):
        device.infer(raw_samples())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_never_answers_is_given_up(scheme):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with Device(POOL, url, timeout_s=0.3) as device, pytest.raises(BackendUnavailableError):
            device.infer(raw_samples())
    assert time.monotonic() - began < 5


def test_an_answer_that_drips_is_given_up():
    class Dripping(ScriptedServer):
        def handle(self, connection):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
            for _ in range(100):
                connection.sendall(b" ")
                time.sleep(0.05)

    with Dripping(None) as server, connect(server.url, timeout_s=0.4) as client:
        began = time.monotonic()
        with pytest.raises(BackendUnavailableError, match=r"within 0\.4 s"):
            client.metadata()
        assert time.monotonic() - began < 2


def test_an_endless_answer_is_cut_off():
    class Endless(ScriptedServer):
        def handle(self, connection):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                connection.sendall(b" " * 65536)

    with (
        Endless(None) as server,
        connect(server.url) as client,
        pytest.raises(BackendProtocolError, match="at most"),
    ):
        client.metadata()


@pytest.mark.parametrize("fault", faulty_obfuscators())
@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_when_obfuscation_fails_not_a_byte_is_sent(fault, scheme):
    step, graph = faulty_obfuscators()[fault]
    with ScriptedServer(script_with(WHOLE)) as server:
        url = server.url.replace("http", scheme)
        with Device(pool_of(graph), url) as device, pytest.raises(BundleError) as caught:
            device.infer(raw_samples())
        assert caught.value.step == step
        assert server.connections == 0
        assert bytes(server.received) == b""


@pytest.mark.parametrize(
    "raw",
    [
        raw_samples()[0, 0],
        raw_samples().astype(np.float64),
        raw_samples() * 2,
        raw_samples() * np.float32(np.nan),
    ],
)
def test_when_raw_samples_do_not_fit_not_a_byte_is_sent(raw):
    with ScriptedServer(script_with(WHOLE)) as server:
        with Device(POOL, server.url) as device, pytest.raises(InputError):
            device.infer(raw)
        assert server.connections == 0


def test_a_backend_of_another_model_gets_no_samples():
    other = {**METADATA, "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3, 32, 32]}]}
    with (
        ScriptedServer(script_with(WHOLE, metadata=other)) as server,
        Device(POOL, server.url) as device,
        pytest.raises(ShapeError, match="pool made for this model"),
    ):
        device.infer(raw_samples())
    assert server.inference_requests == []


@pytest.mark.parametrize(
    "status", ["422 Unprocessable Entity", "400 Bad Request", "500 Internal Server Error"]
)
def test_a_server_without_binary_tensors_is_spoken_to_in_json(status):
    """As MLServer does: it parses every body as JSON, and answers 422 where that fails."""

    def script(method, path, headers, body):
        if not path.endswith("/infer"):
            return http_answer(METADATA if path.endswith("/models/model") else {**LISTED, "extensions": []})
        names = {name.lower() for name, _ in headers}
        if "inference-header-content-length" in names:
            return http_answer({"detail": [{"type": "json_invalid", "input": {}}]}, status)
        return http_answer(ANSWER)

    raw = raw_samples()
    with ScriptedServer(script) as server, Device(POOL, server.url) as device:
        assert device.infer(raw).protocol == "json"
        assert device.infer(raw).protocol == "json"
    bodies = [request[3] for request in server.inference_requests]
    assert len(bodies) == 4
    assert bodies[0].endswith(b"\0" * 64)
    assert len({len(body) for body in bodies[1:]}) == 1
    assert server.connections == 1


def test_proxies_of_the_environment_are_used_only_when_asked(monkeypatch):
    with ScriptedServer(script_with(WHOLE)) as server, RecordingProxy(server.port) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "grpc_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        with Device(POOL, server.url) as device:
            device.infer(raw_samples())
        assert proxy.sent == []
        with Device(POOL, "http://backend.invalid", use_environment_proxies=True) as device:
            # The scripted server knows no proxied paths by their end, which is enough here.
            device.infer(raw_samples())
        assert proxy.sent[0].startswith(b"GET http://backend.invalid/")


def test_one_device_serves_many_threads():
    with ScriptedServer(script_with(WHOLE)) as server, Device(POOL, server.url) as device:
        start = threading.Barrier(4)

        def ask(seed):
            start.wait()
            return [device.infer(raw_samples(seed=seed)).labels.tolist() for _ in range(5)]

        with futures.ThreadPoolExecutor(4) as pool:
            assert list(pool.map(ask, range(4))) == [[[1]] * 5] * 4


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1: its file and its key's."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "backend")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder / "cert.pem", folder / "key.pem"


def test_tls_is_verified_and_a_ca_file_can_be_given(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with ScriptedServer(script_with(WHOLE), tls=context) as server:
        url = server.url.replace("http", "https")
        with Device(POOL, url) as device, pytest.raises(BackendUnavailableError, match="certificate"):
            device.infer(raw_samples())
        assert server.requests == []
        with Device(POOL, url, ca_path=certificate[0]) as device:
            assert device.infer(raw_samples()).labels.tolist() == [1]
        # The certificate is for the address, not for this name of it.
        named = url.replace("127.0.0.1", "localhost")
        with Device(POOL, named, ca_path=certificate[0]) as device, pytest.raises(BackendUnavailableError):
            device.infer(raw_samples())


class GrpcBackend:
    """A gRPC server that answers what it is told; bytes stand for messages."""

    def __init__(self, answer, *, credentials=None):
        import grpc
        from tritonclient.grpc import service_pb2 as pb

        outer, self.calls = self, []
        metadata = pb.ModelMetadataResponse(
            name="model",
            inputs=[pb.ModelMetadataResponse.TensorMetadata(name="x", datatype="FP32", shape=[-1, 1, 4, 4])],
            outputs=[pb.ModelMetadataResponse.TensorMetadata(name="y", datatype="FP32", shape=[-1, 3])],
        )

        class Handler(grpc.GenericRpcHandler):
            def service(self, details):
                def handle(request, context):
                    outer.calls.append((details.method.rsplit("/", 1)[1], request))
                    if details.method.endswith("ModelMetadata"):
                        return metadata.SerializeToString()
                    if isinstance(answer, grpc.StatusCode):
                        context.abort(answer, "secret 0.123")
                    if callable(answer):
                        answer()
                        return b""
                    return answer if isinstance(answer, bytes) else answer.SerializeToString()

                return grpc.unary_unary_rpc_method_handler(handle)

        self._server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Handler()])
        if credentials is None:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self.url = f"grpc{'s' if credentials else ''}://127.0.0.1:{self.port}"

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(None).wait()


def grpc_answer(*, model="model", name="y", datatype="FP32", shape=(1, 3), raw=None, typed=None):
    from tritonclient.grpc import service_pb2 as pb

    output = pb.ModelInferResponse.InferOutputTensor(name=name, datatype=datatype, shape=shape)
    if typed is not None:
        output.contents.fp32_contents.extend(typed)
    contents = [np.array([0.25, 0.5, 0.125], np.float32).tobytes()] if raw is None and typed is None else raw
    return pb.ModelInferResponse(model_name=model, outputs=[output], raw_output_contents=contents)


GRPC_FAULTS = {
    "wrong-model": ({"model": "m2"}, "model"),
    "wrong-output": ({"name": "z"}, "output 'y'"),
    "wrong-dtype": ({"datatype": "INT8"}, "FP32"),
    "wrong-shape": ({"shape": (3,)}, "shape"),
    "negative-shape": ({"shape": (-1, 3)}, "definite"),
    "too-few": ({"typed": [1, 2]}, "3 scores"),
    "too-many-contents": ({"raw": [b"\0" * 12] * 2}, "contents"),
    "short": ({"raw": [b"\0" * 4]}, "12 bytes"),
    "not-finite": ({"typed": [1, 2, float("inf")]}, "finite"),
}


@pytest.mark.parametrize("fault", GRPC_FAULTS)
def test_grpc_answers_that_are_not_to_be_believed(fault):
    fields, words = GRPC_FAULTS[fault]
    with (
        GrpcBackend(grpc_answer(**fields)) as server,
        Device(POOL, server.url) as device,
        pytest.raises(BackendProtocolError, match=words),
    ):
        device.infer(raw_samples())
    assert len(server.calls) == 2


def test_grpc_answers_with_typed_contents_are_read():
    with GrpcBackend(grpc_answer(typed=[1, 3, 2])) as server, Device(POOL, server.url) as device:
        assert device.infer(raw_samples()).scores.tolist() == [[1, 3, 2]]


def test_grpc_faults_are_one_clear_error():
    import grpc

    cases = [
        (b"\xff\xff\xff", BackendProtocolError, 1),
        (grpc.StatusCode.INVALID_ARGUMENT, BackendRefusedError, 1),
        (grpc.StatusCode.INTERNAL, BackendRefusedError, 1),
        (grpc.StatusCode.UNAVAILABLE, BackendUnavailableError, 2),
        (lambda: time.sleep(1), BackendUnavailableError, 1),
    ]
    raw = raw_samples()
    for answer, error, tries in cases:
        with (
            GrpcBackend(answer) as server,
            Device(POOL, server.url, timeout_s=0.4, retries=1) as device,
            pytest.raises(error) as caught,
        ):
            device.infer(raw)
        sent = [request for method, request in server.calls if method == "ModelInfer"]
        assert len(sent) == tries
        assert not any(raw.tobytes() in request for request in sent)
        assert "\n" not in str(caught.value)
        assert "0.123" not in str(caught.value)


def test_grpc_tls_is_verified_and_a_ca_file_can_be_given(certificate):
    import grpc

    pair = (certificate[1].read_bytes(), certificate[0].read_bytes())
    with GrpcBackend(grpc_answer(), credentials=grpc.ssl_server_credentials([pair])) as server:
        with (
            Device(POOL, server.url, timeout_s=2, retries=0) as device,
            pytest.raises(BackendUnavailableError),
        ):
            device.infer(raw_samples())
        assert server.calls == []
        with Device(POOL, server.url, ca_path=certificate[0]) as device:
            assert device.infer(raw_samples()).labels.tolist() == [1]


def test_every_error_of_the_wire_has_exit_code_1():
    for error in (BackendUnavailableError, BackendProtocolError, BackendRefusedError, BundleError):
        assert issubclass(error, ObfNetError)
        assert error.exit_code == 1
