"""Graphs that must pass; those that must not are in tests/malformed."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from obfnet.bundle.graph import check_graph
from obfnet.bundle.operators import MIXING_OPERATORS, OPERATORS, POINTWISE_OPERATORS
from obfnet.bundle.probes import check_outputs
from obfnet.core.spec import InputSpec
from tests.malformed import graphs
from tests.malformed.graphs import BYTE_SPEC, DIGIT_SPEC, SPEC

Build = Callable[[InputSpec], bytes]


@pytest.mark.parametrize("build", [graphs.mlp, graphs.cnn, graphs.coded, graphs.constant])
@pytest.mark.parametrize("spec", [SPEC, DIGIT_SPEC], ids=["8x8", "28x28"])
def test_fair_graph_passes(build: Build, spec: InputSpec) -> None:
    check_graph(build(spec), spec)
    check_outputs(build(spec), spec)


@pytest.mark.parametrize("hidden", [4, 16, 100, 512])
def test_published_network_passes_at_any_width(hidden: int) -> None:
    data = graphs.mlp(DIGIT_SPEC, hidden=hidden, seed=hidden)
    check_graph(data, DIGIT_SPEC)
    check_outputs(data, DIGIT_SPEC)


@pytest.mark.parametrize("seed", range(20))
def test_no_fair_network_is_taken_for_a_copy(seed: int) -> None:
    check_outputs(graphs.mlp(seed=seed, hidden=32), SPEC, seed=seed)
    check_outputs(graphs.coded(seed=seed, bits=1), SPEC, seed=seed)


def test_bytes_in_and_bytes_out() -> None:
    data = graphs.mlp(BYTE_SPEC)
    check_graph(data, BYTE_SPEC)
    check_outputs(data, BYTE_SPEC)


def test_range_that_is_not_from_0_to_1() -> None:
    spec = InputSpec(shape=(20, 4), dtype="float32", low=-50.0, high=200.0, layout="TF", preprocessing="MFCC")
    constants = {"m": np.random.default_rng(0).normal(0, 1, (4, 4)).astype(np.float32)}
    constants |= {"low": graphs.f32(-50), "high": graphs.f32(200)}
    nodes = [
        graphs.node("MatMul", "input m", "a"),
        graphs.node("Softmax", "a", "b", axis=1),
        graphs.node("Mul", "b high", "c"),
        graphs.node("Clip", "c low high", "output"),
    ]
    data = graphs.bytes_of(graphs.graph_of(nodes, constants, spec=spec))
    check_graph(data, spec)
    check_outputs(data, spec)


def test_unused_operator_sets_and_notes_do_no_harm() -> None:
    model = graphs.mlp_model()
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 3))
    model.metadata_props.add(key="made by", value="a test")
    check_graph(graphs.bytes_of(model), SPEC)


def test_copies_of_less_than_half_pass_as_documented() -> None:
    matrix = np.random.default_rng(0).uniform(0, 1 / 32, (64, 64))
    matrix[:, :20] = np.eye(64)[:, :20]
    check_outputs(graphs.linear(matrix), SPEC)


def test_every_operator_is_onnx_own_and_in_one_set() -> None:
    assert not POINTWISE_OPERATORS & MIXING_OPERATORS
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if not schema.domain}
    assert known >= OPERATORS


def test_none_of_the_allowed_operators_holds_a_graph_or_a_chance() -> None:
    for schema in onnx.defs.get_all_schemas():
        if not schema.domain and schema.name in OPERATORS:
            kinds = {attribute.type for attribute in schema.attributes.values()}
            assert not kinds & {onnx.defs.OpSchema.AttrType.GRAPH, onnx.defs.OpSchema.AttrType.GRAPHS}
            assert "seed" not in schema.attributes
