"""Strict parsing: what does not fit exactly is refused, and the message names the field."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from obfnet.core.parsing import OPTIONAL, FieldError, parse_strict


@dataclass(frozen=True, kw_only=True)
class Part:
    name: str
    weight: float | None


@dataclass(frozen=True, kw_only=True)
class Whole:
    count: int
    share: float
    done: bool
    parts: tuple[Part, ...]
    names: dict[str, str]
    first: Part | None


GOOD: dict[str, Any] = {
    "count": 2,
    "share": 0.5,
    "done": True,
    "parts": [{"name": "a", "weight": None}, {"name": "b", "weight": 1.5}],
    "names": {"x": "y"},
    "first": {"name": "c", "weight": 2.0},
}


def test_what_fits_becomes_the_dataclass() -> None:
    assert parse_strict(Whole, GOOD) == Whole(
        count=2,
        share=0.5,
        done=True,
        parts=(Part(name="a", weight=None), Part(name="b", weight=1.5)),
        names={"x": "y"},
        first=Part(name="c", weight=2.0),
    )


def test_an_optional_field_may_be_null_but_not_missing() -> None:
    assert parse_strict(Whole, {**GOOD, "first": None}).first is None
    with pytest.raises(FieldError, match="missing field 'first'"):
        parse_strict(Whole, {name: value for name, value in GOOD.items() if name != "first"})


def test_a_whole_number_is_a_float_of_the_same_value() -> None:
    share = parse_strict(Whole, {**GOOD, "share": 1}).share
    assert share == 1.0
    assert type(share) is float


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "unknown field 'extra'"),
        ({"count": "2"}, "'count' must be int, not str"),
        ({"count": 2.0}, "'count' must be int, not float"),
        ({"count": True}, "'count' must be int, not bool"),
        ({"count": None}, "'count' must be int, not NoneType"),
        ({"done": 1}, "'done' must be bool, not int"),
        ({"share": True}, "'share' must be float, not bool"),
        ({"share": "0.5"}, "'share' must be float, not str"),
        ({"parts": {}}, "'parts' must be a list"),
        ({"parts": [{"name": "a", "weight": None}, 3]}, r"'parts\[1\]' must be an object"),
        ({"parts": [{"name": "a"}]}, r"missing field 'parts\[0\].weight'"),
        ({"parts": [{"name": 1, "weight": None}]}, r"'parts\[0\].name' must be str"),
        ({"names": []}, "'names' must be an object"),
        ({"names": {"x": 1}}, "'names.x' must be str, not int"),
        ({"first": {"name": "c", "weight": 2.0, "more": 1}}, "unknown field 'first.more'"),
        ({"first": {"name": "c", "weight": "2"}}, "'first.weight' must be float"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(FieldError, match=message):
        parse_strict(Whole, {**GOOD, **change})


@pytest.mark.parametrize("document", [None, [], "text", 3])
def test_a_document_that_is_no_object_is_refused(document: Any) -> None:
    with pytest.raises(FieldError, match="document must be an object"):
        parse_strict(Whole, document)


@dataclass(frozen=True, kw_only=True)
class Grown:
    count: int
    means: tuple[float, ...] = field(default=(), metadata=OPTIONAL)
    plain: int = 3


def test_a_field_that_older_documents_lack_has_its_default() -> None:
    assert parse_strict(Grown, {"count": 1, "plain": 2}) == Grown(count=1, plain=2)
    assert parse_strict(Grown, {"count": 1, "plain": 2, "means": [0.5, 1]}).means == (0.5, 1.0)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"count": 1}, "missing field 'plain'"),
        ({"plain": 1}, "missing field 'count'"),
        ({"count": 1, "plain": 2, "means": None}, "'means' must be a list"),
        ({"count": 1, "plain": 2, "means": ["0.5"]}, r"'means\[0\]' must be float, not str"),
        ({"count": 1, "plain": 2, "mean": []}, "unknown field 'mean'"),
    ],
)
def test_only_that_field_may_be_left_out_and_what_is_there_must_fit(
    document: dict[str, Any], message: str
) -> None:
    with pytest.raises(FieldError, match=message):
        parse_strict(Grown, document)
