"""Round trips of the REST codec, bit for bit, and its calm under any bytes at all."""

import json
from contextlib import suppress

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from obfnet.core.errors import BackendProtocolError
from obfnet.oip import TensorMetadata
from obfnet.oip.rest import (
    decode_response,
    encode_request_binary,
    encode_request_json,
    parse_error_text,
    parse_extensions,
    parse_model_metadata,
)

SHAPES = hnp.array_shapes(min_dims=2, max_dims=4, max_side=6)
FLOATS = hnp.arrays(np.float32, SHAPES, elements=st.floats(width=32, allow_nan=False, allow_infinity=False))
BYTES = hnp.arrays(np.uint8, SHAPES)
WANTED = TensorMetadata(name="y", datatype="FP32", shape=(-1, 3))


@given(FLOATS | BYTES)
def test_json_requests_hold_every_bit(samples):
    sent = json.loads(encode_request_json(samples, input_name="x"))["inputs"][0]
    read = np.array(sent["data"], samples.dtype).reshape(sent["shape"])
    assert read.tobytes() == samples.tobytes()


@given(FLOATS | BYTES)
def test_binary_requests_hold_every_bit(samples):
    body, length = encode_request_binary(samples, input_name="x")
    sent = json.loads(body[:length])["inputs"][0]
    assert sent["parameters"]["binary_data_size"] == len(body) - length
    assert body[length:] == samples.tobytes()


@given(st.data())
def test_the_length_of_a_request_says_nothing_of_its_values(data):
    shape = data.draw(SHAPES)
    elements = st.floats(width=32, allow_nan=False, allow_infinity=False)
    one, other = (data.draw(hnp.arrays(np.float32, shape, elements=elements)) for _ in range(2))
    assert len(encode_request_json(one, input_name="x")) == len(encode_request_json(other, input_name="x"))
    head, length = encode_request_binary(one, input_name="x")
    assert encode_request_binary(other, input_name="x")[0][:length] == head[:length]


@given(hnp.arrays(np.float32, (2, 3), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_scores_come_back_bit_for_bit(scores):
    output = {"name": "y", "datatype": "FP32", "shape": [2, 3]}
    plain = json.dumps({"model_name": "m", "outputs": [{**output, "data": scores.ravel().tolist()}]}).encode()
    head = json.dumps(
        {"model_name": "m", "outputs": [{**output, "parameters": {"binary_data_size": 24}}]}
    ).encode()
    for body, length in ((plain, None), (head + scores.tobytes(), len(head))):
        read = decode_response(body, length, model="m", wanted=WANTED, samples=2)
        assert read.tobytes() == scores.tobytes()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
OUTPUTS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("y") | JSON_VALUES,
        "datatype": st.sampled_from(["FP32", "FP64", "FP16"]) | JSON_VALUES,
        "shape": st.just([1, 3]) | st.lists(st.integers(), max_size=3) | JSON_VALUES,
        "data": st.lists(st.floats() | st.integers(), max_size=4) | JSON_VALUES,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers() | JSON_VALUES}) | JSON_VALUES,
    },
)
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "model_name": st.just("m") | JSON_VALUES,
        "outputs": st.lists(OUTPUTS, max_size=2) | JSON_VALUES,
    },
)


# Nested JSON is slow to draw on a busy machine; that is no fault of the codec.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(ANSWERS, st.binary(max_size=40), st.none() | st.integers(-5, 200), st.booleans(), st.booleans())
def test_malformed_answers_raise_nothing_but_protocol_errors(answer, tail, length, exact, promised):
    head = json.dumps(answer).encode()
    json_bytes = len(head) if exact else length
    with suppress(BackendProtocolError):
        scores = decode_response(
            head + tail, json_bytes, model="m", wanted=WANTED if promised else None, samples=1
        )
        assert scores.dtype == np.float32
        assert scores.shape[0] == 1
        assert np.isfinite(scores).all()


@given(st.binary(max_size=200), st.none() | st.integers(-5, 300))
def test_any_bytes_raise_nothing_but_protocol_errors(body, length):
    with suppress(BackendProtocolError):
        decode_response(body, length, model="m", wanted=WANTED, samples=1)
    with suppress(BackendProtocolError):
        parse_model_metadata(body, model="m")
    assert isinstance(parse_extensions(body), tuple)
    assert isinstance(parse_error_text(body), str)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(JSON_VALUES)
def test_any_metadata_raises_nothing_but_protocol_errors(value):
    for answer in (value, {"name": "m", "inputs": value, "outputs": value}):
        with suppress(BackendProtocolError):
            parse_model_metadata(json.dumps(answer).encode(), model="m")
