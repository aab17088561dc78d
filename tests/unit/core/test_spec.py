"""The input spec: each fault has its type, and no message ever holds a value of a sample."""

from typing import Any

import numpy as np
import pytest

from obfnet.core.errors import DtypeError, InputError, RangeError, ShapeError, UsageError
from obfnet.core.parsing import parse_strict
from obfnet.core.spec import InputSpec

FIELDS: dict[str, Any] = {
    "shape": (1, 2, 2),
    "dtype": "float32",
    "low": 0.0,
    "high": 1.0,
    "layout": "CHW",
    "preprocessing": "uint8 / 255",
}
SPEC = InputSpec(**FIELDS)
BYTES = InputSpec(**{**FIELDS, "dtype": "uint8", "high": 200.0})
# A value that would be found in a message if any were.
SECRET = np.float32(0.731592)


def batch(*, value: float = float(SECRET), dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    return np.full((3, 1, 2, 2), value, dtype)


@pytest.mark.parametrize("edge", [0.0, 0.5, 1.0])
def test_a_batch_of_the_spec_passes(edge: float) -> None:
    SPEC.check(batch(value=edge))
    BYTES.check(batch(value=200 * edge, dtype=np.uint8))


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        (batch()[0], ShapeError, r"shape \(N, 1, 2, 2\), got \(1, 2, 2\)"),
        (batch()[:, 0], ShapeError, r"got \(3, 2, 2\)"),
        (batch().reshape(3, 2, 2, 1), ShapeError, r"got \(3, 2, 2, 1\)"),
        (batch()[:0], ShapeError, "at least one sample"),
        (batch().astype(np.float64), DtypeError, "dtype float32, got float64; apply: uint8 / 255"),
        (batch(dtype=np.uint8), DtypeError, "got uint8"),
        (batch(value=np.nan), RangeError, "NaN or infinity"),
        (batch(value=-np.inf), RangeError, "NaN or infinity"),
        (batch(value=1.0000001192), RangeError, r"in \[0, 1\], got values outside"),
        (batch(value=-1e-7), RangeError, r"in \[0, 1\], got values outside"),
    ],
)
def test_each_fault_has_its_type(
    samples: np.ndarray[Any, Any], error: type[InputError], message: str
) -> None:
    with pytest.raises(error, match=message):
        SPEC.check(samples)


def test_one_bad_value_among_good_ones_is_found() -> None:
    samples = batch()
    samples[2, 0, 1, 1] = 1.5
    with pytest.raises(RangeError):
        SPEC.check(samples)


def test_integers_above_the_range_are_refused() -> None:
    with pytest.raises(RangeError, match=r"in \[0, 200\]"):
        BYTES.check(batch(value=201, dtype=np.uint8))


def test_no_message_holds_a_value() -> None:
    outside, infinite = batch(value=float(SECRET) + 7), batch()
    infinite[0, 0, 0, 0] = np.inf
    for samples in (batch()[0], batch().astype(np.float64), outside, infinite):
        with pytest.raises(InputError) as caught:
            SPEC.check(samples)
        assert "73159" not in str(caught.value)


def test_the_message_calls_the_samples_by_their_state() -> None:
    with pytest.raises(ShapeError, match="`obfuscated`"):
        SPEC.check(batch()[0], name="obfuscated")


@pytest.mark.parametrize(
    "change",
    [
        {"shape": ()},
        {"shape": (1, 0, 2)},
        {"shape": (1, -2)},
        {"shape": (5000, 5000)},
        {"dtype": "float64"},
        {"dtype": "object"},
        {"low": 1.0},
        {"low": 2.0},
        {"high": float("inf")},
        {"low": float("nan")},
    ],
)
def test_an_impossible_spec_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        InputSpec(**{**FIELDS, **change})


def test_a_spec_survives_json() -> None:
    assert parse_strict(InputSpec, SPEC.to_dict()) == SPEC
    assert SPEC.values == 4
