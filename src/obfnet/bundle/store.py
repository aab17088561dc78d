"""A small JSON file of ours that a device keeps: trusted keys, known releases. Broken, it is an error."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from obfnet.core.errors import DataError
from obfnet.core.parsing import FieldError, parse_strict


class Store(Protocol):
    """What such a file holds besides its own."""

    @property
    def format_version(self) -> int:
        """Of the file."""


T = TypeVar("T", bound=Store)


def read_store(
    path: Path,
    kind: type[T],
    *,
    what: str,
    remedy: str,
    max_bytes: int,
    version: int,
    possible: Callable[[T], bool],
) -> T | None:
    """The content of such a file; None where there is none yet.

    Args:
        path: The file.
        kind: Dataclass of its fields.
        what: What to call it in an error.
        remedy: What to do about a broken one.
        max_bytes: Longest file that is read.
        version: Of its format.
        possible: Whether the values can be meant.

    Raises:
        DataError: it cannot be read, or is not one of ours.
    """

    def broken(got: str) -> DataError:
        return DataError(f"{what} in {path}", got, remedy)

    try:
        with path.open("rb") as file:
            data = file.read(max_bytes)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise broken(exc.strerror or str(exc)) from exc
    try:
        store = parse_strict(kind, json.loads(data))
    except (FieldError, ValueError, RecursionError) as exc:
        raise broken("another content") from exc
    if store.format_version != version or not possible(store):
        raise broken("another version, or impossible entries")
    return store
