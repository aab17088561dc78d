"""The client over REST against a fake transport: negotiation, retries, headers, refusals."""

import json

import httpx
import numpy as np
import pytest

from obfnet.core.errors import (
    BackendProtocolError,
    BackendRefusedError,
    BackendUnavailableError,
    DtypeError,
    MissingExtraError,
    ShapeError,
    UsageError,
)
from obfnet.oip import connect
from tests.wire.models import raw_samples
from tests.wire.sockets import ANSWER, METADATA


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr("obfnet.oip.channel.BACKOFF_S", 0.0)


class Server:
    """A fake backend: knows which forms it takes, keeps what it was asked."""

    def __init__(self, *, extensions=(), binary=200, json_status=200, metadata=METADATA):
        self.extensions, self.binary, self.json_status, self.metadata = (
            extensions,
            binary,
            json_status,
            metadata,
        )
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        path = request.url.path
        if path == "/v2":
            return httpx.Response(
                200, json={"name": "s", "version": "1", "extensions": list(self.extensions)}
            )
        if path == "/v2/models/model":
            return httpx.Response(200, json=self.metadata)
        if path == "/v2/models/model/ready":
            return httpx.Response(200, json={"ready": True})
        status = self.binary if is_binary(request) else self.json_status
        return httpx.Response(status, json=ANSWER if status == 200 else {"error": f"refused with {status}"})

    @property
    def inferences(self):
        return [request for request in self.requests if request.url.path.endswith("/infer")]

    def client(self, **options):
        return connect("http://backend:8080", transport=httpx.MockTransport(self), **options)


def is_binary(request):
    return "inference-header-content-length" in request.headers


def is_zeros(request):
    if is_binary(request):
        return not any(request.content[int(request.headers["inference-header-content-length"]) :])
    return not any(json.loads(request.content)["inputs"][0]["data"])


def test_a_listed_extension_is_used_without_trying():
    server = Server(extensions=["binary_tensor_data"])
    with server.client() as client:
        assert client.protocol == "auto"
        scores = client.infer(raw_samples())
        assert client.protocol == "binary"
    assert scores.tolist() == [[0.25, 0.5, 0.125]]
    assert [is_binary(request) for request in server.inferences] == [True]


@pytest.mark.parametrize("status", [400, 415, 422, 500, 501])
def test_without_the_extension_json_is_settled_on_with_zeros_and_kept(status):
    server = Server(binary=status)
    with server.client() as client:
        client.infer(raw_samples())
        client.infer(raw_samples())
        assert client.protocol == "json"
    assert [is_binary(request) for request in server.inferences] == [True, False, False, False]
    assert [is_zeros(request) for request in server.inferences] == [True, True, False, False]


def test_an_extension_that_is_not_listed_is_found_with_zeros():
    server = Server()
    with server.client() as client:
        client.infer(raw_samples())
        client.infer(raw_samples())
    assert [is_binary(request) for request in server.inferences] == [True, True, True]
    assert [is_zeros(request) for request in server.inferences] == [True, False, False]


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_refuses_the_input_is_not_taken_for_one_without_the_extension(status):
    server = Server(binary=status, json_status=status)
    with (
        server.client() as client,
        pytest.raises(BackendRefusedError, match=f"refused with {status}") as caught,
    ):
        client.infer(raw_samples())
    assert caught.value.status == status
    assert client.protocol == "auto"
    assert all(is_zeros(request) for request in server.inferences)


@pytest.mark.parametrize("status", [401, 403, 404, 429])
def test_refusals_that_say_nothing_of_the_extension_are_not_negotiated(status):
    server = Server(binary=status)
    with server.client() as client, pytest.raises(BackendRefusedError):
        client.infer(raw_samples())
    assert len(server.inferences) == 1


def test_negotiation_is_the_same_whatever_will_be_sent():
    seen = []
    for samples in (raw_samples(seed=1), raw_samples(seed=2), np.zeros((1, 1, 4, 4), np.float32)):
        server = Server(binary=422)
        with server.client() as client:
            client.infer(samples)
        seen.append([(r.method, r.url, r.headers.raw, len(r.content)) for r in server.requests])
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("protocol", ["binary", "json"])
def test_an_explicit_protocol_is_not_negotiated(protocol):
    server = Server()
    with server.client(protocol=protocol) as client:
        client.infer(raw_samples())
        assert client.protocol == protocol
    assert [request.url.path for request in server.requests] == ["/v2/models/model", "/v2/models/model/infer"]
    assert is_binary(server.inferences[0]) == (protocol == "binary")


def test_headers_are_few_and_generic():
    server = Server()
    for protocol in ("binary", "json"):
        with server.client(protocol=protocol) as client:
            client.infer(raw_samples())
    binary, plain = server.inferences
    common = [
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "user-agent",
        "content-type",
        "content-length",
    ]
    assert sorted(binary.headers) == sorted([*common, "inference-header-content-length"])
    assert sorted(plain.headers) == sorted(common)
    assert binary.headers["user-agent"] == f"python-httpx/{httpx.__version__}"
    assert binary.headers["accept-encoding"] == "identity"


def test_no_cookie_comes_back():
    def script(request):
        answer = Server()(request)
        answer.headers["set-cookie"] = "tag=1; Path=/"
        seen.append(request.headers.get("cookie"))
        return answer

    seen = []
    with connect("http://backend", transport=httpx.MockTransport(script)) as client:
        client.infer(raw_samples())
        client.infer(raw_samples())
    assert set(seen) == {None}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_refused(status):
    def script(request):
        if request.url.path.endswith("/infer"):
            return httpx.Response(status, headers={"location": "http://elsewhere/v2/models/model/infer"})
        return Server()(request)

    hosts = []
    transport = httpx.MockTransport(lambda request: hosts.append(request.url.host) or script(request))
    client = connect("http://backend", transport=transport)
    with client, pytest.raises(BackendRefusedError, match="redirect"):
        client.infer(raw_samples())
    assert set(hosts) == {"backend"}


class Faults:
    """Fails the first inference requests, then answers."""

    def __init__(self, *faults):
        self.faults, self.tries = list(faults), 0

    def __call__(self, request):
        if not request.url.path.endswith("/infer"):
            return Server()(request)
        self.tries += 1
        if not self.faults:
            return Server()(request)
        fault = self.faults.pop(0)
        if isinstance(fault, int):
            return httpx.Response(fault)
        raise fault

    def infer(self, **options):
        options = {"protocol": "json", **options}
        with connect("http://backend", transport=httpx.MockTransport(self), **options) as client:
            return client.infer(raw_samples())


CUT = httpx.RemoteProtocolError("Server disconnected without sending a response.")


@pytest.mark.parametrize("fault", [502, 503, 504, httpx.ConnectError("x"), httpx.ReadError("x"), CUT])
def test_faults_without_an_answer_are_tried_again(fault):
    server = Faults(fault, fault)
    assert server.infer().shape == (1, 3)
    assert server.tries == 3


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (502, BackendRefusedError),
        (503, BackendRefusedError),
        (httpx.ConnectError("x"), BackendUnavailableError),
        (httpx.ReadError("x"), BackendUnavailableError),
        (CUT, BackendUnavailableError),
    ],
)
def test_retries_end(fault, error):
    server = Faults(*[fault] * 9)
    with pytest.raises(error) as caught:
        server.infer(retries=1)
    assert server.tries == 2
    assert "http://backend" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (400, BackendRefusedError),
        (404, BackendRefusedError),
        (500, BackendRefusedError),
        (httpx.ReadTimeout("x"), BackendUnavailableError),
        (httpx.ConnectTimeout("x"), BackendUnavailableError),
        (httpx.RemoteProtocolError("illegal status line"), BackendProtocolError),
        (httpx.ProxyError("x"), BackendUnavailableError),
    ],
)
def test_other_faults_are_not_tried_again(fault, error):
    server = Faults(fault)
    with pytest.raises(error):
        server.infer()
    assert server.tries == 1


@pytest.mark.parametrize(
    ("headers", "content", "words"),
    [
        ({"content-encoding": "gzip"}, b"x", "compressed"),
        ({"inference-header-content-length": "-1"}, b"x", "length"),
        ({"inference-header-content-length": "9" * 30}, b"x", "length"),
        ({}, b" " * (16 * 1024 * 1024 + 1), "at most"),
        ({}, b"", "JSON"),
    ],
)
def test_answers_out_of_bounds_are_refused(headers, content, words):
    def script(request):
        if request.url.path.endswith("/infer"):
            return httpx.Response(200, headers=headers, stream=httpx.ByteStream(content))
        return Server()(request)

    transport = httpx.MockTransport(script)
    client = connect("http://backend", protocol="json", transport=transport)
    with client, pytest.raises(BackendProtocolError, match=words):
        client.infer(raw_samples())


@pytest.mark.parametrize(
    ("samples", "error"),
    [
        (np.zeros((1, 1, 4, 5), np.float32), ShapeError),
        (np.zeros((1, 16), np.float32), ShapeError),
        (np.zeros((0, 1, 4, 4), np.float32), ShapeError),
        (np.zeros(4, np.float32), ShapeError),
        (np.zeros((1, 1, 4, 4), np.uint8), DtypeError),
        (np.zeros((1, 1, 4, 4)), DtypeError),
    ],
)
def test_samples_that_the_model_does_not_take_are_not_sent(samples, error):
    server = Server()
    with server.client() as client, pytest.raises(error):
        client.infer(samples)
    assert server.inferences == []


def test_a_second_request_asks_for_no_metadata():
    server = Server(extensions=["binary_tensor_data"])
    with server.client() as client:
        first, second = client.exchange(raw_samples()), client.exchange(raw_samples(seed=3))
    assert [r.url.path for r in server.requests].count("/v2/models/model") == 1
    assert (
        first.request_bytes
        == second.request_bytes
        == client.request_bytes
        == len(server.inferences[0].content)
    )
    assert 0 <= first.encode_s + first.decode_s <= first.total_s


def test_path_and_model_name_go_into_the_url():
    paths = []

    def script(request):
        paths.append(request.url.raw_path)
        return httpx.Response(200, json={**METADATA, "name": "my model/1"})

    transport = httpx.MockTransport(script)
    with connect("http://backend/some/where/", model="my model/1", transport=transport) as client:
        client.metadata()
    assert paths == [b"/some/where/v2/models/my%20model%2F1"]


@pytest.mark.parametrize(
    ("answer", "ready"), [(200, True), (400, False), (503, False), (httpx.ConnectError("x"), False)]
)
def test_ready_never_raises(answer, ready):
    def script(request):
        if isinstance(answer, int):
            return httpx.Response(answer)
        raise answer

    with connect("http://backend", transport=httpx.MockTransport(script)) as client:
        assert client.ready() is ready


@pytest.mark.parametrize(
    "url",
    [
        "",
        "backend:80",
        "ftp://backend",
        "http://",
        "http://user:secret@backend",
        "http://b:99999",
        "http://b?x=1",
    ],
)
def test_bad_urls_are_refused_without_repeating_them(url):
    with pytest.raises(UsageError) as caught:
        connect(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("http://b", {"protocol": "soap"}),
        ("http://b", {"protocol": "grpc"}),
        ("grpc://b", {"protocol": "json"}),
        ("grpc://b/path", {}),
        ("http://b", {"timeout_s": 0}),
        ("http://b", {"retries": -1}),
        ("https://b", {"ca_path": "missing.pem"}),
    ],
)
def test_bad_settings_are_refused(url, options):
    with pytest.raises(UsageError):
        connect(url, **options)


@pytest.mark.parametrize("missing", ["tritonclient.grpc", "grpc"])
def test_grpc_without_its_extra_says_what_to_install(monkeypatch, missing):
    monkeypatch.delitem(__import__("sys").modules, "obfnet.oip.grpc_channel", raising=False)
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    with pytest.raises(MissingExtraError, match=r"obfnet\[grpc\]"):
        connect("grpc://backend:8001")
