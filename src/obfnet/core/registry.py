"""One kind of registry for attacks, metrics, cases, architectures and protections.

A name maps to `"module:attribute"`, imported on first use, so that listing names costs nothing and
a device never imports what it does not use. Third parties add entries through entry points.
"""

import importlib
from importlib import metadata
from typing import Any, Generic, TypeVar, cast

from obfnet.core.errors import MissingExtraError, UnknownNameError, UsageError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names of interchangeable parts of one kind.

    Args:
        kind: What the entries are, as in an error message ("case", "attack").
        rows: Name to `"module:attribute"`.
        extra: The extra of the distribution that the entries need, named when an import fails.
        entry_points: Entry-point group by which third parties add rows; none if empty.

    Example:
        >>> shapes = Registry[type]("mapping", {"ordered": "collections:OrderedDict"})
        >>> shapes.get("ordered").__name__
        'OrderedDict'
        >>> shapes.get("round")
        Traceback (most recent call last):
        obfnet.core.errors.UnknownNameError: expected a known mapping, got 'round'; known: ordered
    """

    def __init__(self, kind: str, rows: dict[str, str], *, extra: str = "", entry_points: str = "") -> None:
        self.kind, self.extra = kind, extra
        self._rows = dict(rows)
        if entry_points:
            for point in metadata.entry_points(group=entry_points):
                self.add(point.name, point.value)

    def add(self, name: str, target: str) -> None:
        """Adds a row; a name that is taken raises `UsageError`."""
        if name in self._rows:
            raise UsageError(f"a new {self.kind} name", f"{name!r}, which is taken", "choose another name")
        self._rows[name] = target

    def names(self) -> list[str]:
        """The known names, in the order in which they were added."""
        return list(self._rows)

    def get(self, name: str) -> T:
        """The entry of that name, imported now if it was not yet.

        Raises:
            UnknownNameError: there is no such name; the message lists the known ones.
            MissingExtraError: a package that the entry needs is not installed.
        """
        if name not in self._rows:
            raise UnknownNameError(self.kind, name, self.names())
        module, _, attribute = self._rows[name].partition(":")
        try:
            loaded: Any = importlib.import_module(module)
        except ModuleNotFoundError as exc:
            if self.extra and not (exc.name or "").startswith("obfnet"):
                raise MissingExtraError(exc.name or module, self.extra) from exc
            raise
        return cast(T, getattr(loaded, attribute))
