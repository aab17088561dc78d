"""Raw and obfuscated requests to a real backend: right answers, and bytes that tell nothing apart."""

import json
import re
import struct
from concurrent import futures

import numpy as np
import onnxruntime
import pytest

from obfnet.bundle import (
    BundleFacts,
    Trust,
    build_bundle,
    load_or_create_coordinator_key,
    read_pool,
    write_pool,
)
from obfnet.core.errors import BackendRefusedError, DtypeError, ShapeError
from obfnet.core.spec import InputSpec
from obfnet.edge import Device, ObfuscationSession, UnsafeRawPassthrough
from obfnet.oip import connect
from obfnet.serve import BackendProcess
from tests.wire.models import (
    SHAPE,
    SPEC,
    SPEC_UINT8,
    classifier_bytes,
    obfuscator_bytes,
    pool_of,
    raw_samples,
)
from tests.wire.sockets import RecordingProxy

pytestmark = pytest.mark.e2e

POOL = pool_of(obfuscator_bytes())


def local_scores(samples, *, dtype="float32"):
    return onnxruntime.InferenceSession(classifier_bytes(dtype=dtype)).run(None, {"x": samples})[0]


@pytest.fixture(scope="module")
def backend(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "inference.onnx"
    path.write_bytes(classifier_bytes())
    with BackendProcess(path, grpc=True) as running:
        yield running


@pytest.fixture(scope="module")
def uint8_backend(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "inference.onnx"
    path.write_bytes(classifier_bytes(dtype="uint8"))
    with BackendProcess(path, grpc=True, name="bytes") as running:
        yield running


def url_of(backend, protocol):
    return backend.grpc_url if protocol == "grpc" else backend.url


@pytest.mark.parametrize("count", [1, 17])
@pytest.mark.parametrize("protocol", ["auto", "binary", "json", "grpc"])
def test_answers_are_those_of_local_inference(backend, protocol, count):
    raw = raw_samples(count)
    with UnsafeRawPassthrough(url_of(backend, protocol), SPEC, protocol=protocol) as unsafe:
        answer = unsafe.infer(raw)
    assert answer.protocol == ("binary" if protocol == "auto" else protocol)
    assert answer.scores.tobytes() == local_scores(raw).tobytes()
    assert (answer.labels == local_scores(raw).argmax(axis=1)).all()


@pytest.mark.parametrize("protocol", ["binary", "json", "grpc"])
def test_obfuscated_answers_are_those_of_local_inference(backend, protocol):
    raw = raw_samples(5)
    with Device(POOL, url_of(backend, protocol), protocol=protocol) as device:
        answer = device.infer(raw)
    obfuscated = ObfuscationSession(POOL.bundles[0]).obfuscate(raw)
    assert answer.scores.tobytes() == local_scores(obfuscated).tobytes()


@pytest.mark.parametrize("protocol", ["auto", "binary", "json", "grpc"])
def test_uint8_models_are_served_and_asked(uint8_backend, protocol):
    raw = raw_samples(3, dtype="uint8")
    url = url_of(uint8_backend, protocol)
    with UnsafeRawPassthrough(url, SPEC_UINT8, model="bytes", protocol=protocol) as unsafe:
        answer = unsafe.infer(raw)
    assert answer.scores.tobytes() == local_scores(raw, dtype="uint8").tobytes()


def test_a_signed_pool_from_a_folder_is_used(backend, tmp_path):
    key = load_or_create_coordinator_key(tmp_path / "coordinator.key")
    facts = BundleFacts(
        name="o-0",
        case="test",
        input=SPEC,
        protection="published",
        architecture="mlp",
        hidden=None,
        parameters=256,
        macs=256,
        budget_bits=None,
        inference_network_id="0" * 64,
    )
    write_pool(tmp_path / "pool", [build_bundle(**facts, graph=obfuscator_bytes(), key=key)], key)
    trust = Trust(store=tmp_path / "trusted.json", say=lambda line: None)
    with Device(tmp_path / "pool", backend.url, trust=trust) as device:
        assert device.infer(raw_samples()).bundle == "o-0"
    assert read_pool(tmp_path / "pool", trust=trust).bundles


def recorded(port, ask):
    """What `ask(url_port)` sends, one connection."""
    with RecordingProxy(port) as proxy:
        ask(proxy.port)
        assert len(proxy.sent) == 1
        return bytes(proxy.sent[0]).replace(str(proxy.port).encode(), b"P" * len(str(proxy.port)))


def requests_for(backend, protocol, raw):
    """The bytes of a raw and of an obfuscated conversation about the same samples."""
    scheme, port = (
        ("grpc" if protocol == "grpc" else "http"),
        int(url_of(backend, protocol).rsplit(":", 1)[1]),
    )

    def ask_raw(at):
        with UnsafeRawPassthrough(f"{scheme}://127.0.0.1:{at}", SPEC, protocol=protocol) as unsafe:
            unsafe.infer(raw)

    def ask_obfuscated(at):
        with Device(POOL, f"{scheme}://127.0.0.1:{at}", protocol=protocol) as device:
            device.infer(raw)

    return recorded(port, ask_raw), recorded(port, ask_obfuscated)


@pytest.mark.parametrize("protocol", ["auto", "binary"])
def test_binary_requests_differ_in_the_tensor_only(backend, protocol):
    raw = raw_samples()
    obfuscated = ObfuscationSession(POOL.bundles[0]).obfuscate(raw)
    sent_raw, sent_obfuscated = requests_for(backend, protocol, raw)
    assert sent_raw.count(raw.tobytes()) == 1
    assert sent_raw.replace(raw.tobytes(), obfuscated.tobytes()) == sent_obfuscated


def test_json_requests_differ_in_the_printed_values_only(backend):
    raw = raw_samples()
    sent_raw, sent_obfuscated = requests_for(backend, "json", raw)
    assert len(sent_raw) == len(sent_obfuscated)
    value = rb"[ -]\d\.\d{8}e[+-]\d\d"
    assert len(re.findall(value, sent_raw)) == 16
    assert re.sub(value, b"V" * 15, sent_raw) == re.sub(value, b"V" * 15, sent_obfuscated)
    assert sent_raw != sent_obfuscated


def http2_frames(sent):
    """(type, flags, stream, payload) of each frame after the connection preface."""
    assert sent.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    at, frames = 24, []
    while at + 9 <= len(sent):
        length = int.from_bytes(sent[at : at + 3], "big")
        kind, flags, stream = sent[at + 3], sent[at + 4], int.from_bytes(sent[at + 5 : at + 9], "big")
        frames.append((kind, flags, stream, sent[at + 9 : at + 9 + length]))
        at += 9 + length
    return frames


def grpc_messages(sent):
    """The bytes of each request message, a stream of HTTP/2 each."""
    streams = {}
    for kind, _, stream, payload in http2_frames(sent):
        if kind == 0:
            streams[stream] = streams.get(stream, b"") + payload
    messages = list(streams.values())
    assert all(struct.unpack(">?I", m[:5]) == (False, len(m) - 5) for m in messages)
    return [message[5:] for message in messages]


def test_grpc_messages_differ_in_the_tensor_only(backend):
    raw = raw_samples()
    obfuscated = ObfuscationSession(POOL.bundles[0]).obfuscate(raw)
    sent_raw, sent_obfuscated = (grpc_messages(sent) for sent in requests_for(backend, "grpc", raw))
    assert len(sent_raw) == len(sent_obfuscated) == 2
    assert sent_raw[0] == sent_obfuscated[0]
    assert sent_raw[1].count(raw.tobytes()) == 1
    assert sent_raw[1].replace(raw.tobytes(), obfuscated.tobytes()) == sent_obfuscated[1]


def test_grpc_calls_carry_the_same_metadata():
    """HTTP/2 compresses headers on the wire, so that a server is asked what it was given."""
    import grpc
    from tritonclient.grpc import service_pb2 as pb

    seen = []

    class Handler(grpc.GenericRpcHandler):
        def service(self, details):
            def answer(request, context):
                seen.append((details.method, sorted(context.invocation_metadata())))
                if details.method.endswith("ModelMetadata"):
                    shapes = {"x": [-1, *SHAPE], "y": [-1, 3]}
                    tensors = {
                        n: pb.ModelMetadataResponse.TensorMetadata(name=n, datatype="FP32", shape=s)
                        for n, s in shapes.items()
                    }
                    message = pb.ModelMetadataResponse(
                        name="model", inputs=[tensors["x"]], outputs=[tensors["y"]]
                    )
                else:
                    message = pb.ModelInferResponse(
                        model_name="model",
                        outputs=[
                            pb.ModelInferResponse.InferOutputTensor(name="y", datatype="FP32", shape=[1, 3])
                        ],
                        raw_output_contents=[struct.pack("<3f", 1, 2, 3)],
                    )
                return message.SerializeToString()

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[Handler()])
    url = f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        with UnsafeRawPassthrough(url, SPEC) as unsafe:
            assert unsafe.infer(raw_samples()).labels.tolist() == [2]
        of_raw = seen.copy()
        seen.clear()
        with Device(POOL, url) as device:
            device.infer(raw_samples())
    finally:
        server.stop(None).wait()
    assert of_raw == seen
    assert {key for _, metadata in seen for key, _ in metadata} == {"user-agent"}


@pytest.mark.parametrize("protocol", ["binary", "json", "grpc"])
def test_a_pool_for_another_input_is_refused_before_anything_is_sent(backend, protocol):
    spec = InputSpec(shape=(1, 2, 8), dtype="float32", low=0, high=1, layout="CHW", preprocessing="none")
    url = url_of(backend, protocol)
    with (
        UnsafeRawPassthrough(url, spec, protocol=protocol) as unsafe,
        pytest.raises(ShapeError, match="backend"),
    ):
        unsafe.infer(np.zeros((1, 1, 2, 8), np.float32))
    with UnsafeRawPassthrough(url, SPEC_UINT8, protocol=protocol) as unsafe, pytest.raises(DtypeError):
        unsafe.infer(raw_samples(dtype="uint8"))


@pytest.mark.parametrize("protocol", ["json", "grpc"])
def test_a_model_that_is_not_there_is_one_clear_line(backend, protocol):
    url = url_of(backend, protocol)
    with connect(url, model="other") as client, pytest.raises(BackendRefusedError) as caught:
        client.infer(raw_samples())
    assert caught.value.status in (404, "NOT_FOUND")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("protocol", ["json", "grpc"])
def test_ready_says_whether_the_model_is_there(backend, protocol):
    for model, ready in (("model", True), ("other", False)):
        with connect(url_of(backend, protocol), model=model) as client:
            assert client.ready() is ready


BAD_REQUESTS = [
    ({"name": "x", "shape": [1, 1, 4, 5], "datatype": "FP32", "data": [0.0] * 20}, "shape"),
    ({"name": "x", "shape": [0, 1, 4, 4], "datatype": "FP32", "data": []}, "shape"),
    ({"name": "x", "shape": [-1, 1, 4, 4], "datatype": "FP32", "data": [0.0] * 16}, "shape"),
    ({"name": "x", "shape": SHAPE, "datatype": "FP32", "data": [0.0] * 16}, "shape"),
    ({"name": "x", "shape": [1, *SHAPE], "datatype": "UINT8", "data": [0] * 16}, "datatype"),
    ({"name": "x", "shape": [1, *SHAPE], "datatype": "FP32", "data": [0.0] * 15}, "numbers"),
    ({"name": "x", "shape": [1, *SHAPE], "datatype": "FP32", "data": ["secret"] * 16}, "numbers"),
    ({"name": "z", "shape": [1, *SHAPE], "datatype": "FP32", "data": [0.0] * 16}, "'x'"),
]


@pytest.mark.parametrize(("tensor", "words"), BAD_REQUESTS)
def test_the_backend_answers_400_and_says_why(backend, tensor, words):
    import httpx

    answer = httpx.post(f"{backend.url}/v2/models/model/infer", json={"inputs": [tensor]}, trust_env=False)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert "secret" not in answer.text


def binary_request(*, shape, size=64, datatype="FP32"):
    tensor = {"name": "x", "shape": shape, "datatype": datatype}
    return {"inputs": [{**tensor, "parameters": {"binary_data_size": size}}]}


@pytest.mark.parametrize(
    ("request_", "tail"),
    [
        (binary_request(shape=[1, 1, 4, 4]), 60),
        (binary_request(shape=[-1, 1, 4, 4]), 64),
        (binary_request(shape=[1, 1, 4, 4], size=-4), 64),
        (binary_request(shape=[1, 1, 4, 4], size="64"), 64),
        (binary_request(shape="1144"), 64),
        (binary_request(shape=[1, 1, 4, 4], datatype=["FP32"]), 64),
        ({"inputs": []}, 64),
        ({"inputs": [{"name": "x", "parameters": {"binary_data_size": 64}}]}, 64),
        ({"inputs": 3}, 64),
        ([], 64),
    ],
)
def test_malformed_binary_requests_are_a_400(backend, request_, tail):
    import httpx

    head = json.dumps(request_).encode()
    answer = httpx.post(
        f"{backend.url}/v2/models/model/infer",
        content=head + b"\0" * tail,
        headers={
            "inference-header-content-length": str(len(head)),
            "content-type": "application/octet-stream",
        },
        trust_env=False,
    )
    assert answer.status_code == 400


def test_the_backend_is_silent(backend):
    assert backend.log_tail == []
