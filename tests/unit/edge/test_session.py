"""One bundle's network in a session: what goes in, what may come out."""

import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper

from obfnet.core.errors import BundleError, DtypeError, RangeError, ShapeError
from obfnet.edge import ObfuscationSession
from tests.wire.models import (
    SHAPE,
    SPEC_UINT8,
    bundle_of,
    faulty_obfuscators,
    model_bytes,
    obfuscator_bytes,
    raw_samples,
)

FAULTS = faulty_obfuscators()


@pytest.mark.parametrize("count", [1, 7])
def test_obfuscated_samples_are_of_the_spec_and_no_copies(count):
    raw = raw_samples(count)
    obfuscated = ObfuscationSession(bundle_of(obfuscator_bytes())).obfuscate(raw)
    assert (obfuscated.shape, obfuscated.dtype) == (raw.shape, raw.dtype)
    assert obfuscated.min() >= 0
    assert obfuscated.max() <= 1
    assert not np.allclose(obfuscated, raw)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (np.zeros((4, 4), np.float32), ShapeError),
        (np.zeros((1, 4, 4), np.float32), ShapeError),
        (np.zeros((0, *SHAPE), np.float32), ShapeError),
        (np.zeros((1, *SHAPE)), DtypeError),
        (np.zeros((1, *SHAPE), np.uint8), DtypeError),
        (np.full((1, *SHAPE), 1.5, np.float32), RangeError),
        (np.full((1, *SHAPE), -0.01, np.float32), RangeError),
        (np.full((1, *SHAPE), np.nan, np.float32), RangeError),
        (np.full((1, *SHAPE), np.inf, np.float32), RangeError),
    ],
)
def test_raw_samples_that_are_not_of_the_spec_are_refused(raw, error):
    with pytest.raises(error, match="`raw`"):
        ObfuscationSession(bundle_of(obfuscator_bytes())).obfuscate(raw)


def test_one_bad_value_in_a_batch_is_found():
    raw = raw_samples(5)
    raw[3, 0, 1, 2] = np.nan
    with pytest.raises(RangeError, match="finite"):
        ObfuscationSession(bundle_of(obfuscator_bytes())).obfuscate(raw)


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_output_is_refused_by_name(fault):
    step, graph = FAULTS[fault]
    with pytest.raises(BundleError, match="nothing was sent") as caught:
        ObfuscationSession(bundle_of(graph)).obfuscate(raw_samples())
    assert caught.value.step == step


def test_one_copied_sample_in_a_batch_is_enough_to_refuse():
    """A graph that changes bright samples only."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Floor", ["top"], ["bright"]),
        helper.make_node("Sub", ["bright", "x"], ["flipped"]),
        helper.make_node("Abs", ["flipped"], ["y"]),
    ]
    session = ObfuscationSession(bundle_of(obfuscator_bytes(*nodes)))
    dim, bright = np.full((1, *SHAPE), 0.2, np.float32), np.full((1, *SHAPE), 1, np.float32)
    session.obfuscate(bright)
    with pytest.raises(BundleError, match="copy"):
        session.obfuscate(np.concatenate([bright, dim]))


def test_uint8_copies_are_refused_too():
    def graph(node):
        return model_bytes(
            [node], output_shape=["N", *SHAPE], input_type=TensorProto.UINT8, output_type=TensorProto.UINT8
        )

    raw = raw_samples(dtype="uint8")
    changing = graph(helper.make_node("BitShift", ["x", "x"], ["y"], direction="RIGHT"))
    copying = graph(helper.make_node("Identity", ["x"], ["y"]))
    session = ObfuscationSession(bundle_of(changing, spec=SPEC_UINT8))
    assert (session.obfuscate(raw) <= 31).all()
    with pytest.raises(BundleError, match="copy"):
        ObfuscationSession(bundle_of(copying, spec=SPEC_UINT8)).obfuscate(raw)


def test_a_graph_that_does_not_load_is_refused():
    with pytest.raises(BundleError, match="'bundle-0'"):
        ObfuscationSession(bundle_of(b"no graph"))


def test_a_large_batch_is_that_of_its_samples():
    raw = raw_samples(200)
    session = ObfuscationSession(bundle_of(obfuscator_bytes()))
    whole = session.obfuscate(raw)
    assert (whole.shape, whole.dtype) == (raw.shape, raw.dtype)
    for at in (0, 63, 64, 199):
        np.testing.assert_allclose(whole[at : at + 1], session.obfuscate(raw[at : at + 1]), atol=1e-6)


def test_with_a_budget_each_sample_runs_alone():
    # Normalised over the batch: a sample would come out otherwise beside others.
    nodes = (
        helper.make_node("ReduceMean", ["x"], ["m"], keepdims=1),
        helper.make_node("Add", ["x", "m"], ["s"]),
        helper.make_node("Sigmoid", ["s"], ["y"]),
    )
    raw, graph = raw_samples(5), obfuscator_bytes(*nodes)
    alone = ObfuscationSession(bundle_of(graph, budget_bits=8.0))
    one_by_one = np.concatenate([alone.obfuscate(raw[at : at + 1]) for at in range(5)])
    assert alone.obfuscate(raw).tobytes() == one_by_one.tobytes()
    together = ObfuscationSession(bundle_of(graph)).obfuscate(raw)
    assert not np.allclose(together, one_by_one)


MEMORY = """
import resource

import numpy as np

from obfnet.core.spec import InputSpec
from obfnet.edge import ObfuscationSession
from obfnet.export import obfuscation_onnx
from obfnet.nets.convolutional_obfuscation import ConvolutionalObfuscation
from tests.wire.models import bundle_of

shape = (3, 64, 64)
spec = InputSpec(shape=shape, dtype="uint8", low=0, high=255, layout="CHW", preprocessing="none")
graph = obfuscation_onnx(ConvolutionalObfuscation(shape, 24).eval(), spec)
session = ObfuscationSession(bundle_of(graph, spec=spec))
raw = np.random.default_rng(0).integers(0, 256, (2_000, *shape), dtype=np.uint8)
session.obfuscate(raw[:64])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
session.obfuscate(raw)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_the_engines_memory_does_not_grow_with_the_batch():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    # The output itself is 24 MB and is gone through a few times; in one batch the engine takes gigabytes.
    assert int(done.stdout) < 200_000


def test_with_a_budget_whether_a_sample_is_sent_does_not_depend_on_what_it_is_like():
    _, copying = FAULTS["copy"]
    raw = raw_samples()
    # No reader lets such a graph have a budget; a code that happens to give the sample would be sent.
    assert np.array_equal(ObfuscationSession(bundle_of(copying, budget_bits=4.0)).obfuscate(raw), raw)
