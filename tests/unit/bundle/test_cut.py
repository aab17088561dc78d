"""The proof of a budget, on graphs that keep one and on graphs that only seem to."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from obfnet.bundle.chance_cut import check_budget
from obfnet.bundle.cut import find_cut
from obfnet.bundle.exact import check_exact
from obfnet.core.errors import BundleError
from obfnet.core.spec import InputSpec

BITS, VALUES = 6, 16
SPEC = InputSpec(shape=(1, 4, 4), dtype="float32", low=0.0, high=1.0, layout="NCHW", preprocessing="none")
ENCODE = [
    ("Flatten", ["input"], ["flat"], {}),
    ("Gemm", ["flat", "we"], ["logits"], {}),
    ("Greater", ["logits", "zero"], ["bits"], {}),
]
DECODE = [
    ("Gemm", ["code", "wd", "half"], ["values"], {}),
    ("Clip", ["values", "zero", "one"], ["legal"], {}),
    ("Reshape", ["legal", "shape"], ["output"], {}),
]
CODE = [("Where", ["bits", "one", "minus"], ["code"], {})]


def graph(*nodes: tuple[str, list[str], list[str], dict[str, Any]], **weights: Any) -> bytes:
    random = np.random.default_rng(0)
    constants = {
        "we": random.normal(size=(VALUES, BITS)).astype(np.float32),
        "wd": (random.integers(-64, 64, (BITS, VALUES)) / 256).astype(np.float32),
        "half": np.full(VALUES, 0.5, np.float32),
        "zero": np.float32(0),
        "one": np.float32(1),
        "minus": np.float32(-1),
        "shape": np.array([-1, 1, 4, 4], np.int64),
        **weights,
    }
    made = helper.make_graph(
        [helper.make_node(kind, list(taken), list(given), **more) for kind, taken, given, more in nodes],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1, 4, 4])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 1, 4, 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def test_a_sign_between_encoder_and_generator_is_a_cut() -> None:
    data = graph(*ENCODE, *CODE, *DECODE)
    cut = check_budget(data, SPEC, 6)
    assert (cut.bits, cut.tensors) == (6, ("bits",))
    check_exact(data, cut)


def test_the_index_of_the_largest_is_a_cut_of_as_many_values_as_there_are_places() -> None:
    nodes = [
        *ENCODE[:2],
        ("ArgMax", ["logits"], ["index"], {"axis": 1, "keepdims": 0}),
        ("Gather", ["table", "index"], ["values"], {}),
        *DECODE[1:],
    ]
    data = graph(*nodes, table=np.full((BITS, VALUES), 0.25, np.float32))
    assert find_cut(data, SPEC).bits == pytest.approx(np.log2(BITS))
    check_exact(data, find_cut(data, SPEC))


def test_a_graph_that_ignores_the_sample_carries_nothing() -> None:
    nodes = [
        ("Shape", ["input"], ["size"], {}),
        ("ConstantOfShape", ["size"], ["output"], {}),
    ]
    assert find_cut(graph(*nodes), SPEC).bits == 0


@pytest.mark.parametrize(
    ("nodes", "got"),
    [
        # The raw sample is added to what the code gives.
        (
            [
                *ENCODE,
                *CODE,
                *DECODE[:2],
                ("Mul", ["flat", "small"], ["rest"], {}),
                ("Add", ["legal", "rest"], ["sum"], {}),
                ("Reshape", ["sum", "shape"], ["output"], {}),
            ],
            "gets past",
        ),
        # The sign's size is the logit's.
        ([*ENCODE, *CODE, ("Mul", ["code", "logits"], ["loud"], {})], "gets past"),
        # A "sign" that has a slope on one side.
        ([*ENCODE, ("Where", ["bits", "logits", "minus"], ["loud"], {})], "gets past"),
        # No sign at all.
        ([*ENCODE[:2], ("Tanh", ["logits"], ["loud"], {})], "gets past"),
        # How many values there are says what the sample was.
        (
            [
                *ENCODE,
                *CODE,
                ("Cast", ["logits"], ["places"], {"to": TensorProto.INT64}),
                ("Squeeze", ["places"], ["axes"], {}),
                ("Expand", ["code", "axes"], ["loud"], {}),
            ],
            "steered by it",
        ),
    ],
)
def test_what_gets_past_the_code_is_found(nodes: list[Any], got: str) -> None:
    if nodes[-1][2] == ["loud"]:
        nodes = [*nodes, ("Gemm", ["loud", "wd", "half"], ["values"], {}), *DECODE[1:]]
    with pytest.raises(BundleError, match=got) as refused:
        check_budget(graph(*nodes, small=np.float32(1e-3)), SPEC, 64)
    assert refused.value.step == "budget-cut"


def test_more_bits_than_claimed_are_refused() -> None:
    data = graph(*ENCODE, *CODE, *DECODE)
    with pytest.raises(BundleError, match=r"at most the 5 bits .* got 6 bits in 'bits'"):
        check_budget(data, SPEC, 5)


@pytest.mark.parametrize(
    ("weights", "nodes"),
    [
        # Weights that are no multiples of a power of two that is coarse enough.
        ({"wd": np.full((BITS, VALUES), 1 / 3, np.float32)}, DECODE),
        # Sums that outgrow 24 bits.
        ({"wd": np.full((BITS, VALUES), 2.0**14 + 2.0**-8, np.float32)}, DECODE),
        # An operation whose rounding is the engine's affair.
        ({}, [DECODE[0], ("Sigmoid", ["values"], ["legal"], {}), DECODE[2]]),
        # A square root of something exact is not.
        ({}, [DECODE[0], DECODE[1], ("Sqrt", ["legal"], ["root"], {})]),
    ],
)
def test_what_rounding_could_carry_is_refused(weights: dict[str, Any], nodes: list[Any]) -> None:
    if nodes[-1][2] == ["root"]:
        nodes = [*nodes, ("Reshape", ["root", "shape"], ["output"], {})]
    data = graph(*ENCODE, *CODE, *nodes, **weights)
    with pytest.raises(BundleError) as refused:
        check_exact(data, check_budget(data, SPEC, 6))
    assert refused.value.step == "budget-exact"
