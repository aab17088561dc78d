"""Which ONNX files are served, and which are refused with a line."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from obfnet.core.errors import DataError, MissingExtraError, UsageError
from obfnet.serve import run_server
from obfnet.serve.network import ServedNetwork
from tests.wire.models import SHAPE, classifier_bytes, model_bytes, raw_samples


def served(tmp_path, content):
    path = tmp_path / "inference.onnx"
    path.write_bytes(content)
    return ServedNetwork(path)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_model_is_described_and_run_as_it_is(tmp_path, dtype):
    network = served(tmp_path, classifier_bytes(dtype=dtype))
    assert (network.input.name, network.input.shape) == ("x", (-1, *SHAPE))
    assert network.input.datatype == {"float32": "FP32", "uint8": "UINT8"}[dtype]
    assert [(o.name, o.datatype, o.shape) for o in network.outputs] == [("y", "FP32", (-1, 3))]
    assert network.run(raw_samples(4, dtype=dtype))[0].shape == (4, 3)


def two_inputs():
    return model_bytes(
        [helper.make_node("Add", ["x", "z"], ["y"])], output_shape=["N", *SHAPE], inputs=("x", "z")
    )


def half_precision():
    return model_bytes(
        [helper.make_node("Identity", ["x"], ["y"])],
        output_shape=["N", *SHAPE],
        input_type=TensorProto.FLOAT16,
        output_type=TensorProto.FLOAT16,
    )


def text_output():
    return model_bytes(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.STRING)],
        output_shape=["N", *SHAPE],
        output_type=TensorProto.STRING,
    )


def failing():
    return model_bytes(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [numpy_helper.from_array(np.array([5, 7], np.int64), "shape")],
        output_shape=["N", *SHAPE],
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "does not load"),
        (b"no model", "does not load"),
        (two_inputs(), "one input"),
        (half_precision(), "float32 or uint8"),
        (text_output(), "numeric"),
        (failing(), "zeros"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, content, words):
    with pytest.raises(DataError, match=words) as caught:
        served(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="no file"):
        ServedNetwork(tmp_path / "missing.onnx")


@pytest.mark.parametrize("options", [{"name": ""}, {"name": "a/b"}, {"threads": 0}])
def test_bad_settings_are_refused(tmp_path, options):
    with pytest.raises(UsageError):
        run_server(tmp_path / "inference.onnx", port=0, **options)


def test_without_kserve_it_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "inference.onnx"
    path.write_bytes(classifier_bytes())
    monkeypatch.delitem(__import__("sys").modules, "obfnet.serve.kserve_model", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "kserve", None)
    with pytest.raises(MissingExtraError, match=r"obfnet\[serve\]"):
        run_server(path, port=0)
