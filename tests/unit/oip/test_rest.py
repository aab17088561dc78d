"""The REST codec: what a body gives away, and which answers are believed."""

import json
import struct

import numpy as np
import pytest

from obfnet.core.errors import BackendProtocolError, DtypeError, RangeError
from obfnet.oip import TensorMetadata
from obfnet.oip.rest import (
    decode_response,
    encode_request_binary,
    encode_request_json,
    parse_error_text,
    parse_extensions,
    parse_model_metadata,
)

WANTED = TensorMetadata(name="y", datatype="FP32", shape=(-1, 3))
GOOD = {
    "model_name": "m",
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [0.5, 1, -2]}],
}


def decode(answer, json_bytes=None):
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return decode_response(body, json_bytes, model="m", wanted=WANTED, samples=1)


def changed(**fields):
    return {**GOOD, "outputs": [{**GOOD["outputs"][0], **fields}]}


@pytest.mark.parametrize("output_name", [None, "y"])
def test_json_bodies_have_one_length_whatever_the_values(output_name):
    blank = np.zeros((2, 784), np.float32)
    busy = np.random.default_rng(0).random((2, 784), np.float32)
    extreme = np.resize(np.array([1e-45, -3.4e38, -0.0, 1.0], np.float32), (2, 784))
    bodies = [encode_request_json(s, input_name="x", output_name=output_name) for s in (blank, busy, extreme)]
    assert len({len(body) for body in bodies}) == 1


def test_uint8_json_bodies_have_one_length_and_are_legal_json():
    samples = np.arange(256, dtype=np.uint8).reshape(1, 256)
    body = encode_request_json(samples, input_name="x")
    assert json.loads(body)["inputs"][0]["data"] == list(range(256))
    assert len(body) == len(encode_request_json(np.zeros_like(samples), input_name="x"))


def test_json_body_holds_the_protocols_fields_and_no_more():
    body = json.loads(encode_request_json(np.zeros((1, 2, 2), np.float32), input_name="x", output_name="y"))
    assert body == {
        "inputs": [{"name": "x", "shape": [1, 2, 2], "datatype": "FP32", "data": [0.0] * 4}],
        "outputs": [{"name": "y"}],
    }


def test_names_are_escaped():
    body, length = encode_request_binary(np.zeros((1, 2), np.float32), input_name='a"b')
    assert json.loads(body[:length])["inputs"][0]["name"] == 'a"b'
    assert json.loads(encode_request_json(np.zeros((1, 2), np.float32), input_name='a"b'))


def test_binary_body_ends_with_the_little_endian_tensor():
    body, length = encode_request_binary(np.array([[1, 2]], ">f4"), input_name="x", output_name="y")
    assert body[length:] == struct.pack("<2f", 1, 2)
    assert json.loads(body[:length]) == {
        "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }


def test_other_dtypes_and_non_finite_json_are_refused():
    with pytest.raises(DtypeError, match="float32 or uint8"):
        encode_request_binary(np.zeros((1, 2)), input_name="x")
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(RangeError, match="finite"):
            encode_request_json(np.array([[0, bad]], np.float32), input_name="x")


@pytest.mark.parametrize(
    "answer",
    [
        GOOD,
        {**GOOD, "id": "7", "parameters": {"a": 1}, "model_version": None, "news": [1]},
        changed(data=[[0.5, 1, -2]], parameters={"content_type": "np"}),
        {**GOOD, "outputs": [{"name": "z", "datatype": "FP32", "shape": [1], "data": [9]}, *GOOD["outputs"]]},
    ],
)
def test_good_answers_are_read_and_extra_fields_tolerated(answer):
    scores = decode(answer)
    assert scores.dtype == np.float32
    assert scores.tolist() == [[0.5, 1, -2]]


def test_binary_answer_is_read():
    head = json.dumps(
        {
            "model_name": "m",
            "outputs": [
                {"name": "y", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": 12}}
            ],
        }
    ).encode()
    assert decode(head + struct.pack("<3f", 1, 2, 3), len(head)).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"<html>", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b"[]", "object"),
        (b"\xff\xfe", "JSON"),
        ({**GOOD, "model_name": "other"}, "model 'm'"),
        ({"outputs": GOOD["outputs"]}, "model 'm'"),
        ({"model_name": "m"}, "outputs"),
        ({"model_name": "m", "outputs": []}, "outputs"),
        ({"model_name": "m", "outputs": [3]}, "objects"),
        (changed(name="z"), "output 'y'"),
        (changed(name=None), "name"),
        (changed(datatype="INT64"), "FP32"),
        (changed(shape=[2, 3]), "shape"),
        (changed(shape=[3]), "shape"),
        (changed(shape=[1, 4], data=[1, 2, 3, 4]), "shape"),
        (changed(shape=[-1, 3]), "definite"),
        (changed(shape="1,3"), "shape"),
        (changed(shape=[True, 3]), "shape"),
        (changed(data=[1, 2]), "3 scores"),
        (changed(data=["1", "2", "3"]), "numbers"),
        (changed(data=[None, 1, 2]), "numbers"),
        (changed(data=[True, 1, 2]), "numbers"),
        (changed(data=None), "data"),
        (changed(data=[float("nan"), 1, 2]), "finite"),
        (changed(data=[1e39, 1, 2]), "finite"),
        (changed(data=[10**400, 1, 2]), "finite"),
    ],
)
def test_answers_that_are_not_to_be_believed(answer, words):
    with pytest.raises(BackendProtocolError, match=words):
        decode(answer)


@pytest.mark.parametrize(
    ("size", "tail", "json_bytes", "words"),
    [
        (12, b"\0" * 8, None, "binary_data_size"),
        (8, b"\0" * 8, None, "12 bytes"),
        (12, b"\0" * 13, None, "more bytes"),
        (-1, b"\0" * 12, None, "binary_data_size"),
        ("12", b"\0" * 12, None, "binary_data_size"),
        (12, b"\0" * 12, 10_000, "within"),
    ],
)
def test_malformed_binary_answers(size, tail, json_bytes, words):
    output = {"name": "y", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": size}}
    head = json.dumps({"model_name": "m", "outputs": [output]}).encode()
    with pytest.raises(BackendProtocolError, match=words):
        decode(head + tail, len(head) if json_bytes is None else json_bytes)


def test_scores_never_stand_in_a_message():
    with pytest.raises(BackendProtocolError) as caught:
        decode(changed(data=[0.123456, float("nan"), 0.654321]))
    assert "123456" not in str(caught.value)


def test_metadata_is_read_and_checked():
    answer = {"name": "m", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}], "platform": "p"}
    metadata = parse_model_metadata(json.dumps(answer).encode(), model="m")
    assert metadata.input.shape == (-1, 4)
    assert metadata.output is None
    with pytest.raises(BackendProtocolError, match="model 'n'"):
        parse_model_metadata(json.dumps(answer).encode(), model="n")
    for inputs in ({}, [3], [{"name": "x"}], [{"name": "x", "datatype": "FP32", "shape": [1.5]}]):
        with pytest.raises(BackendProtocolError):
            parse_model_metadata(json.dumps({"name": "m", "inputs": inputs}).encode(), model="m")


@pytest.mark.parametrize("inputs", [[], [{"name": n, "datatype": "FP32", "shape": [-1]} for n in "ab"]])
def test_models_without_exactly_one_input_are_refused(inputs):
    metadata = parse_model_metadata(json.dumps({"name": "m", "inputs": inputs}).encode(), model="m")
    with pytest.raises(BackendProtocolError, match="one input"):
        _ = metadata.input


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"extensions": ["a", "binary_tensor_data", 3]}', ("a", "binary_tensor_data")),
        (b'{"extensions": 3}', ()),
        (b"{}", ()),
        (b"nonsense", ()),
    ],
)
def test_extensions_are_read_leniently(body, found):
    assert parse_extensions(body) == found


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": "cannot use [0.1, 0.2]"}',
        b'{"error": "got 1, 2, 3, 4, 5, 6, 7, 8, 9"}',
        b'{"error": "got 1e-3"}',
        b'{"error": "bell \\u0007"}',
        b'{"error": 3}',
        b'{"detail": "x"}',
        b"<html>",
    ],
)
def test_error_texts_that_may_hold_values_are_withheld(body):
    assert parse_error_text(body) == ""


def test_error_texts_are_one_short_line():
    text = parse_error_text(
        json.dumps({"error": "expected shape (N, 1, 28, 28)\n got (1, 784) " + "x" * 500}).encode()
    )
    assert text.startswith("expected shape (N, 1, 28, 28) got (1, 784) x")
    assert len(text) <= 160
