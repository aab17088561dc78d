"""The input spec: each fault has its type, and no message ever holds a value of a sample."""

from dataclasses import replace
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
    assert "rate_hz" not in SPEC.to_dict()
    heard = InputSpec(**{**FIELDS, "shape": (20,), "layout": "T", "rate_hz": 16_000})
    assert parse_strict(InputSpec, heard.to_dict()) == heard
    assert SPEC.values == 4


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def normalised(layout: str, mean: tuple[float, ...], std: tuple[float, ...]) -> InputSpec:
    shape = {"CHW": (len(mean), 4, 5), "HWC": (4, 5, len(mean)), "HW": (4, 5)}[layout]
    edges = {
        "low": min(-one / other for one, other in zip(mean, std, strict=True)),
        "high": max((1 - one) / other for one, other in zip(mean, std, strict=True)),
    }
    return InputSpec(**{**FIELDS, "shape": shape, "layout": layout, "mean": mean, "std": std, **edges})


def ranged(layout: str, low: float, high: float, dtype: str = "float32") -> InputSpec:
    shape = {"CHW": (3, 4, 5), "HWC": (4, 5, 3), "HW": (4, 5), "T": (20,), "CT": (1, 20)}[layout]
    return InputSpec(**{**FIELDS, "shape": shape, "layout": layout, "low": low, "high": high, "dtype": dtype})


WIRES = {
    **{f"{layout} [0, 1]": ranged(layout, 0.0, 1.0) for layout in ("CHW", "HWC", "HW")},
    **{f"{layout} [-1, 1]": ranged(layout, -1.0, 1.0) for layout in ("CHW", "HWC", "HW", "T", "CT")},
    "T 16-bit": ranged("T", -32768.0, 32768.0),
    **{f"{layout} uint8": ranged(layout, 0.0, 255.0, "uint8") for layout in ("CHW", "HWC", "HW")},
    "CHW [0, 255]": ranged("CHW", 0.0, 255.0),
    "HWC [3, 7.5]": ranged("HWC", 3.0, 7.5),
    "CHW ImageNet": normalised("CHW", *IMAGENET),
    "HWC ImageNet": normalised("HWC", *IMAGENET),
    "HW normalised": normalised("HW", (0.1307,), (0.3081,)),
    "CHW to the edge": normalised("CHW", (1.0, 0.0), (0.5, 2.0)),
    "CHW all at the edge": normalised("CHW", (1.0,), (0.5,)),
}


def by_formula(spec: InputSpec, unit: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Sample by sample and channel by channel, in double precision."""
    sent = np.empty((len(unit), *spec.shape))
    for sample, one in zip(sent, unit.astype(np.float64), strict=True):
        for channel, plane in enumerate(one):
            if spec.mean:
                value = (plane - spec.mean[channel]) / spec.std[channel]
            elif spec.dtype == "uint8":
                value = np.round(plane * 255)
            else:
                value = spec.low + plane * (spec.high - spec.low)
            if spec.layout == "CHW":
                sample[channel] = value
            elif spec.layout == "HWC":
                sample[:, :, channel] = value
            else:
                sample[:] = value
    return sent


def unit_samples(spec: InputSpec) -> np.ndarray[Any, Any]:
    samples = np.random.default_rng(3).uniform(size=(6, *spec.unit_shape)).astype(np.float32)
    samples[0], samples[1] = 0.0, 1.0
    return samples


@pytest.mark.parametrize("spec", WIRES.values(), ids=WIRES)
def test_samples_are_sent_as_the_formula_says_and_come_back(spec: InputSpec) -> None:
    unit = unit_samples(spec)
    before = unit.copy()
    sent = spec.to_wire(unit)
    spec.check(sent)
    np.testing.assert_allclose(
        sent, by_formula(spec, unit), atol=1e-6 * max(abs(spec.low), spec.high), rtol=1e-6
    )
    back = spec.from_wire(sent)
    assert (back.shape, back.dtype) == (unit.shape, np.float32)
    np.testing.assert_allclose(back, unit, atol=0.5 / 255 + 1e-7 if spec.dtype == "uint8" else 1e-6)
    assert back.flags.owndata
    np.testing.assert_array_equal(unit, before)
    if spec.dtype == "uint8":
        np.testing.assert_array_equal(spec.to_wire(back), sent)


def test_the_wire_of_networks_themselves_is_told() -> None:
    assert SPEC.is_unit
    assert ranged("CHW", 0.0, 1.0).is_unit
    assert [name for name, spec in WIRES.items() if spec.is_unit] == ["CHW [0, 1]"]


def test_a_layout_of_other_axes_is_taken_as_it_is() -> None:
    spec = InputSpec(**{**FIELDS, "shape": (7,), "layout": "features", "low": -2.0})
    assert spec.unit_shape == (7,)
    unit = np.linspace(0, 1, 7, dtype=np.float32)[None]
    np.testing.assert_allclose(spec.to_wire(unit), unit * 3 - 2, atol=1e-6)
    np.testing.assert_allclose(spec.from_wire(spec.to_wire(unit)), unit, atol=1e-6)


def test_levels_of_a_narrower_range_are_still_of_255() -> None:
    np.testing.assert_array_equal(BYTES.to_wire(batch(value=0.5)), np.full((3, 1, 2, 2), 128, np.uint8))
    BYTES.check(BYTES.to_wire(batch(value=1.0)))
    np.testing.assert_allclose(BYTES.from_wire(batch(value=200, dtype=np.uint8)), 200 / 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"std": ()}, "for each of 2 channels"),
        ({"mean": ()}, "for each of 2 channels"),
        ({"mean": (0.5,), "std": (0.5,)}, "for each of 2 channels"),
        ({"mean": (0.5, 1.5)}, r"mean in \[0, 1\]"),
        ({"mean": (0.5, float("nan"))}, r"mean in \[0, 1\]"),
        ({"std": (0.5, 0.0)}, "std above 0"),
        ({"std": (0.5, float("inf"))}, "std above 0"),
        ({"dtype": "uint8"}, "float32 for normalised samples"),
        ({"low": 0.0}, "low and high of -1 and 1"),
        ({"high": 1.5}, "low and high of -1 and 1"),
    ],
)
def test_an_impossible_normalisation_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(normalised("CHW", (0.5, 0.5), (0.5, 0.5)), **change)


def test_a_normalised_spec_survives_json_and_a_plain_one_does_not_mention_it() -> None:
    spec = normalised("HWC", *IMAGENET)
    assert parse_strict(InputSpec, spec.to_dict()) == spec
    assert set(SPEC.to_dict()) == set(FIELDS)
