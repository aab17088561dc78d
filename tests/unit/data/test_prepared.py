"""Decoded samples on disk: decoded once, whole or not there, and never a reason to stop."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from obfnet.core.errors import DataError, OutputError
from obfnet.core.progress import Silent
from obfnet.core.spec import InputSpec, Samples
from obfnet.data.prepared import Entry, prepare
from obfnet.data.table import Table

SPEC = InputSpec(shape=(1, 2, 3), dtype="uint8", low=0, high=255, layout="CHW", preprocessing="none")
COUNT = 10


class Source:
    """Entries of samples that are all their own number; some cannot be read. Counts what was decoded."""

    def __init__(self, *, bad: dict[int, BaseException] | None = None, count: int = COUNT) -> None:
        self.bad, self.count, self.decoded = bad or {}, count, 0

    def __call__(self) -> Iterator[tuple[Entry, Callable[[], Samples]]]:
        for number in range(self.count):
            yield self.entry(number), lambda number=number: self.decode(number)

    def entry(self, number: int) -> Entry:
        return Entry(name=f"{number}.png", label=number % 2, part="train", attribute=number % 3)

    def decode(self, number: int) -> Samples:
        self.decoded += 1
        if number in self.bad:
            raise self.bad[number]
        return np.full(SPEC.shape, number % 256, np.uint8)


def bad(*numbers: int) -> dict[int, BaseException]:
    return {number: DataError(f"a picture in {number}.png", "another", "mend it") for number in numbers}


class Heard(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def prepared(
    source: Source, *, recipe: dict[str, Any] | None = None, **options: Any
) -> tuple[Table, list[str]]:
    options = {"count": COUNT, "progress": Silent(), **options}
    return prepare("toy", recipe or {"version": 1}, SPEC, source, **options)


def numbers(table: Table) -> list[int]:
    return [int(sample[0, 0, 0]) for sample in np.asarray(table.samples)]


@pytest.fixture
def folder(home: Path) -> Path:
    return home / "cache" / "toy"


def test_samples_are_decoded_once_and_read_ever_after(folder: Path) -> None:
    first, second = Source(), Source()
    one, skipped = prepared(first)
    again, _ = prepared(second)
    assert (first.decoded, second.decoded, skipped) == (COUNT, 0, [])
    for table in (one, again):
        assert numbers(table) == list(range(COUNT))
        assert table.samples.dtype == np.uint8
        assert table.labels.tolist() == [number % 2 for number in range(COUNT)]
        assert table.attribute is not None
        assert table.attribute.tolist() == [number % 3 for number in range(COUNT)]
        assert table.group is None
        assert table.names is not None
        assert table.names.tolist() == [f"{number}.png" for number in range(COUNT)]
        assert set(table.part.tolist()) == {"train"}
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("change", ["recipe", "skip_bad", "input"])
def test_whatever_decides_the_content_decides_its_place(change: str, folder: Path) -> None:
    prepared(Source())
    source = Source()
    if change == "input":
        spec = InputSpec(**{**SPEC.to_dict(), "shape": SPEC.shape, "preprocessing": "other"})
        prepare("toy", {"version": 1}, spec, source, count=COUNT, progress=Silent())
    else:
        prepared(source, **({"recipe": {"version": 2}} if change == "recipe" else {"skip_bad": True}))
    assert source.decoded == COUNT
    assert len(list(folder.iterdir())) == 2


def test_bad_samples_are_left_out_and_named_where_that_was_asked_for() -> None:
    for source in (Source(bad=bad(0, 4)), Source()):
        # The second time they are named from what was kept.
        table, skipped = prepared(source, skip_bad=True)
        assert skipped == ["0.png", "4.png"]
        assert numbers(table) == [1, 2, 3, 5, 6, 7, 8, 9]
        assert table.names is not None
        assert "4.png" not in table.names.tolist()


def test_bad_samples_are_one_error_with_their_number_otherwise(folder: Path) -> None:
    with pytest.raises(DataError) as caught:
        prepared(Source(bad=bad(2, 5, 9)))
    assert str(caught.value) == (
        "expected a picture in 2.png, got another; 2 more cannot be read; "
        "mend or remove them, or leave them out with --skip-bad"
    )
    with pytest.raises(DataError, match="got another; mend or remove"):
        prepared(Source(bad=bad(9)))
    assert list(folder.iterdir()) == []


def test_nothing_that_can_be_read_is_an_error(folder: Path) -> None:
    with pytest.raises(DataError, match="samples that can be read, got none"):
        prepared(Source(bad=bad(*range(COUNT))), skip_bad=True)
    with pytest.raises(DataError, match="got none"):
        prepared(Source(count=0))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a fault"), OSError("gone")], ids=type)
def test_nothing_is_left_behind_by_an_interrupt_or_a_fault(error: BaseException, folder: Path) -> None:
    with pytest.raises(type(error)):
        prepared(Source(bad={5: error}))
    assert list(folder.iterdir()) == []
    table, _ = prepared(Source())
    assert numbers(table) == list(range(COUNT))


def test_a_sample_of_another_shape_is_refused(folder: Path) -> None:
    source = Source()
    source.decode = lambda number: np.zeros((1, 3, 2), np.uint8)  # type: ignore[method-assign]
    with pytest.raises(DataError, match="rows of shape"):
        prepared(source)
    assert list(folder.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_said_and_done_without(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    # A folder's rights are nothing to root; that it is a file is.
    home.write_text("no folder")
    for _ in range(2):
        source, heard = Source(bad=bad(3)), Heard()
        table, skipped = prepared(source, progress=heard, skip_bad=True)
        assert source.decoded == COUNT
        assert [line.split(" (")[0] for line in heard.lines] == [
            f"cannot keep decoded samples in {home / 'cache' / 'toy'}"
        ]
        # The rows can be read although their file has no name any more.
        assert numbers(table) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
        assert skipped == ["3.png"]
        assert list(temporary.iterdir()) == []
    with pytest.raises(KeyboardInterrupt):
        prepared(Source(bad={5: KeyboardInterrupt()}))
    assert list(temporary.iterdir()) == []
    shutil.rmtree(temporary)
    with pytest.raises(OutputError, match="a temporary folder to decode samples into"):
        prepared(Source())


def damage(place: Path, how: str) -> None:
    card = place / "table.json"
    content = json.loads(card.read_text())
    if how == "no card":
        card.unlink()
    elif how == "half a card":
        card.write_text(card.read_text()[:40])
    elif how == "another card":
        card.write_text("[1, 2]")
    elif how == "no bytes of text":
        card.write_bytes(b"\xff\xfe")
    elif how == "half the rows":
        (place / "samples.npy").write_bytes((place / "samples.npy").read_bytes()[:-1])
    elif how == "no rows":
        (place / "samples.npy").unlink()
    elif how == "empty":
        shutil.rmtree(place)
        place.mkdir()
    elif how == "a file":
        shutil.rmtree(place)
        place.write_text("x")
    else:
        changes: dict[str, Any] = {
            "a label too few": {"label": content["label"][1:]},
            "no number": {"group": ["x"] * COUNT},
            "a huge number": {"label": [10**30] * COUNT},
            "nothing skipped": {"skipped": None},
        }
        card.write_text(json.dumps({**content, **changes[how]}))


@pytest.mark.parametrize(
    "how",
    [
        *("no card", "half a card", "another card", "no bytes of text", "half the rows", "no rows", "empty"),
        *("a file", "a label too few", "no number", "a huge number", "nothing skipped"),
    ],
)
def test_a_broken_one_is_made_anew(how: str, folder: Path) -> None:
    prepared(Source())
    (place,) = folder.iterdir()
    damage(place, how)
    source = Source()
    table, _ = prepared(source)
    assert source.decoded == COUNT
    assert numbers(table) == list(range(COUNT))
    assert [path.name for path in folder.iterdir()] == [place.name]
    if how != "a file":
        again = Source()
        prepared(again)
        assert again.decoded == 0


def at_once(start: Any, results: Any) -> None:
    source, former = Source(), os.rename

    def late(*paths: Any) -> None:
        # All of them have decoded everything before the first moves its table into place.
        start.wait()
        former(*paths)

    os.rename = late  # type: ignore[assignment]
    results.put((numbers(prepared(source)[0]), source.decoded))


def test_several_at_once_get_the_same_and_leave_one(folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(3), context.Queue()
    workers = [context.Process(target=at_once, args=(start, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=30) for _ in workers]
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    assert found == [(list(range(COUNT)), COUNT)] * 3
    assert len(list(folder.iterdir())) == 1


KILLED = """
import os, signal
from tests.unit.data.test_prepared import Source, prepared
source = Source()
source.decode = lambda number: os.kill(os.getpid(), signal.SIGKILL)
prepared(source)
"""


def test_what_a_killed_command_left_is_removed_by_the_next_and_a_living_ones_is_not(folder: Path) -> None:
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", KILLED], check=False).returncode == -9
    first, second = sorted(folder.iterdir())
    # Half a minute from now only the first is old enough to be surely nobody's.
    os.utime(first, (1, 1))
    living = Source()
    living.decode = lambda number: others(living, number)  # type: ignore[method-assign]

    def others(source: Source, number: int) -> Samples:
        if number == 0:
            (own,) = {*folder.iterdir()} - {second}
            os.utime(own, (1, 1))
            prepared(Source())
        return Source.decode(source, number)

    table, _ = prepared(living)
    assert numbers(table) == list(range(COUNT))
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [second.name, second.name.removeprefix(".").rpartition(".")[0]]
    )


# The kernel cuts a file at the limit as it does on a full disk; the signal it sends besides is ignored.
FULL_DISK = """
import resource, signal, sys
from obfnet.core.errors import OutputError
from tests.unit.data.test_prepared import Source, prepared
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
try:
    prepared(Source(count=20_000))
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize("limit_bytes", [50, 60_000, 130_000])
def test_a_full_disk_is_one_line_and_leaves_nothing(limit_bytes: int, folder: Path) -> None:
    # 120 kB of rows and a longer card: at first not even the header fits, at last the card alone does not.
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FULL_DISK, str(limit_bytes)],
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stderr == ""
    assert "got File too large; free space" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert list(folder.iterdir()) == []
