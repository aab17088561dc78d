"""A registry: names cost nothing, entries are imported on first use, and faults list what is known."""

import sys
from importlib import metadata

import pytest

from obfnet.core.errors import MissingExtraError, UnknownNameError, UsageError
from obfnet.core.registry import Registry


def test_an_entry_is_imported_when_it_is_used_and_not_before() -> None:
    sys.modules.pop("this", None)
    registry = Registry[type]("mapping", {"ordered": "collections:OrderedDict", "zen": "this:s"})
    assert registry.names() == ["ordered", "zen"]
    assert registry.get("ordered").__name__ == "OrderedDict"
    assert "this" not in sys.modules


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"expected a known attack, got 'x'; known: a, b$"):
        Registry("attack", {"a": "m:a", "b": "m:b"}).get("x")


def test_a_name_that_is_taken_is_refused() -> None:
    registry = Registry("attack", {"a": "m:a"})
    with pytest.raises(UsageError, match="'a', which is taken"):
        registry.add("a", "other:a")


def test_an_added_row_is_found() -> None:
    registry = Registry("mapping", {})
    registry.add("counter", "collections:Counter")
    assert registry.get("counter").__name__ == "Counter"


def test_the_rows_given_are_not_changed_by_additions() -> None:
    rows = {"a": "m:a"}
    Registry("attack", rows).add("b", "m:b")
    assert rows == {"a": "m:a"}


def test_an_entry_without_its_extra_says_which_to_install() -> None:
    registry = Registry("attack", {"a": "no_such_package_here.part:a"}, extra="train")
    with pytest.raises(MissingExtraError, match=r"no_such_package_here.*obfnet\[train\]") as caught:
        registry.get("a")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_broken_row_of_ours_is_no_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError):
        Registry("attack", {"a": "obfnet.no_such_module:a"}, extra="train").get("a")


def test_third_parties_add_rows_by_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    point = metadata.EntryPoint(name="theirs", value="collections:ChainMap", group="obfnet.tests")
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: [point] if group == point.group else [])
    registry = Registry("mapping", {"ours": "collections:OrderedDict"}, entry_points="obfnet.tests")
    assert registry.names() == ["ours", "theirs"]
    assert registry.get("theirs").__name__ == "ChainMap"


def test_a_third_party_cannot_take_a_name_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    point = metadata.EntryPoint(name="ours", value="collections:ChainMap", group="obfnet.tests")
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: [point])
    with pytest.raises(UsageError, match="taken"):
        Registry("mapping", {"ours": "collections:OrderedDict"}, entry_points="obfnet.tests")
