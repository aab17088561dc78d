"""Typed parsing of JSON that came from outside into frozen dataclasses.

Our own files (manifest, pool index, checkpoints) refuse unknown and missing fields: what is not
understood is not trusted. A server's answers are parsed elsewhere (`oip`), where extra fields are fine.
"""

import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any, Final, TypeVar

T = TypeVar("T")

OPTIONAL: Final = types.MappingProxyType({"optional": True})
"""Metadata of a field that a document may leave out, which then has its default."""


class FieldError(ValueError):
    """A field is unknown, missing or of another type; callers wrap it in their own error."""


def parse_strict(kind: type[T], value: Any, *, where: str = "") -> T:
    """Builds a dataclass from parsed JSON and refuses everything that does not fit exactly.

    Args:
        kind: A dataclass of str, int, float, bool, None, tuples, dicts and further dataclasses.
        value: What `json.loads` gave.
        where: Path of the value, for messages.

    Returns:
        An instance of `kind`.

    Raises:
        FieldError: names the first field that is unknown, missing or of another type.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Point:
        ...     x: int
        >>> parse_strict(Point, {"x": 1})
        Point(x=1)
        >>> parse_strict(Point, {"x": 1, "y": 2})
        Traceback (most recent call last):
        obfnet.core.parsing.FieldError: unknown field 'y'
    """
    parsed: T = _parse(kind, value, where)
    return parsed


def _parse(kind: Any, value: Any, where: str) -> Any:
    if is_dataclass(kind) and isinstance(kind, type):
        return _parse_dataclass(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _parse(next(option for option in arguments if option is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise FieldError(f"field '{where}' must be a list")
        return tuple(_parse(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise FieldError(f"field '{where}' must be an object")
        return {name: _parse(arguments[1], item, f"{where}.{name}") for name, item in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise FieldError(f"field '{where}' must be {kind.__name__}, not {type(value).__name__}")
    return value


def _parse_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise FieldError(f"field '{where}' must be an object" if where else "the document must be an object")
    prefix = f"{where}." if where else ""
    hints = typing.get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    for name in value:
        if name not in names:
            raise FieldError(f"unknown field '{prefix}{name}'")
    for field in fields(kind):
        if field.name not in value and not field.metadata.get("optional"):
            raise FieldError(f"missing field '{prefix}{field.name}'")
    given = [name for name in names if name in value]
    return kind(**{name: _parse(hints[name], value[name], prefix + name) for name in given})
