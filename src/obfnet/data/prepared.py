"""Decoded samples on disk: what takes minutes to decode or compute is done once and read ever after.

A prepared table is a folder in the cache, named by everything that decides its content; it is written
beside its place and moved there whole, so that a killed command leaves none or all of it.
"""

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from obfnet.core.errors import DataError, OutputError
from obfnet.core.files import canonical_json, sha256_hex, write_json
from obfnet.core.home import cache
from obfnet.core.progress import Progress
from obfnet.core.spec import InputSpec, Samples
from obfnet.data.rows import RowWriter, file_rows
from obfnet.data.table import Table

_ROWS: Final = "samples.npy"
_CARD: Final = "table.json"
_COLUMNS: Final = ("name", "label", "part", "attribute", "group")
_SAY_EVERY: Final = 64
_FRESH_S: Final = 60


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One sample of a table, before it is decoded.

    Args:
        name: What to call it in a message.
        label: Index of its class.
        part: `"train"`, `"validation"` or `"test"`; empty where nobody said.
        attribute: Index of the attribute's value; -1 where there is none.
        group: Number of its group; -1 where it stands for itself.
    """

    name: str
    label: int
    part: str = ""
    attribute: int = -1
    group: int = -1


def prepare(
    case: str,
    recipe: dict[str, Any],
    spec: InputSpec,
    entries: Callable[[], Iterable[tuple[Entry, Callable[[], Samples]]]],
    *,
    count: int,
    skip_bad: bool = False,
    progress: Progress,
) -> tuple[Table, list[str]]:
    """The table of these entries: read if it was prepared before, decoded and kept otherwise.

    Args:
        case: Name of the case.
        recipe: Everything that decides the content: hashes of the sources, versions of decoders.
        spec: What every sample must be.
        entries: Gives each entry and what decodes it; only called where nothing is prepared.
        count: About how many there are, for the progress.
        skip_bad: Whether an entry that cannot be read is left out; otherwise it ends the preparation.
        progress: Told of the decoding.

    Returns:
        The table, and the names of what was left out.

    Raises:
        DataError: an entry cannot be read; with how many others.
        OutputError: neither the cache nor the temporary folder can be written.
    """
    key = sha256_hex(
        canonical_json({**recipe, "columns": list(_COLUMNS), "input": spec.to_dict(), "skip_bad": skip_bad})
    )[:16]
    place = cache() / case / f"prepared-{key}"
    if (found := _read(place)) is not None:
        return found
    with _draft(place, progress) as draft:
        _write(draft, spec, entries(), count=count, skip_bad=skip_bad, progress=progress)
        final = _publish(draft, place)
    loaded = _read(final)
    if loaded is None:
        raise DataError(f"the prepared samples of {case}", "none", "try again")
    if final != place:
        # An open file outlives its name: nothing is left behind in the temporary folder.
        shutil.rmtree(final, ignore_errors=True)
    return loaded


class _draft:  # noqa: N801 - a context manager, used as a function
    def __init__(self, place: Path, progress: Progress) -> None:
        self._place, self._progress = place, progress

    def __enter__(self) -> Path:
        try:
            self._place.parent.mkdir(parents=True, exist_ok=True)
            _sweep(self._place)
            self.path = Path(tempfile.mkdtemp(dir=self._place.parent, prefix=f".{self._place.name}."))
        except OSError as exc:
            self._progress.say(
                f"cannot keep decoded samples in {self._place.parent} ({exc.strerror}); each time anew"
            )
            try:
                self.path = Path(tempfile.mkdtemp(prefix="obfnet-"))
            except OSError as temporary:
                raise OutputError(
                    "a temporary folder to decode samples into",
                    temporary.strerror or str(temporary),
                    "free space, or set TMPDIR",
                ) from temporary
        self._handle = os.open(self.path, os.O_RDONLY)
        # Free as soon as this process ends, however it does.
        with suppress(OSError):
            fcntl.flock(self._handle, fcntl.LOCK_EX)
        return self.path

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        os.close(self._handle)
        if kind is not None:
            shutil.rmtree(self.path, ignore_errors=True)


def _sweep(place: Path) -> None:
    """Removes what killed commands left of the same table; a living one holds its draft's lock."""
    for draft in place.parent.glob(f".{place.name}.*"):
        with suppress(OSError):
            handle = os.open(draft, os.O_RDONLY)
            try:
                # One that was made this moment may not be locked yet.
                if time.time() - os.fstat(handle).st_mtime > _FRESH_S:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(draft, ignore_errors=True)
            finally:
                os.close(handle)


def _publish(draft: Path, place: Path) -> Path:
    if draft.parent != place.parent:
        return draft
    for _ in range(2):
        try:
            os.rename(draft, place)
            return place
        except OSError:
            if _read(place) is not None:
                # Another command was quicker: its table is the same.
                shutil.rmtree(draft, ignore_errors=True)
                return place
            # What cannot be read is no other command's finished work.
            shutil.rmtree(place, ignore_errors=True)
    return draft


def _write(
    draft: Path,
    spec: InputSpec,
    entries: Iterable[tuple[Entry, Callable[[], Samples]]],
    *,
    count: int,
    skip_bad: bool,
    progress: Progress,
) -> None:
    kept: list[Entry] = []
    bad: list[DataError] = []
    skipped: list[str] = []
    progress.start("decode samples", count)
    with RowWriter(draft / _ROWS, spec.shape, spec.dtype) as writer:
        for number, (entry, decode) in enumerate(entries):
            if number % _SAY_EVERY == 0:
                progress.advance(min(number, count))
            try:
                sample = decode()
            except DataError as exc:
                bad.append(exc)
                skipped.append(entry.name)
                continue
            if not bad or skip_bad:
                writer.append(sample[np.newaxis])
                kept.append(entry)
    progress.finish()
    if bad and not skip_bad:
        more = f"; {len(bad) - 1} more cannot be read" if len(bad) > 1 else ""
        raise DataError(
            bad[0].expected, f"{bad[0].got}{more}", "mend or remove them, or leave them out with --skip-bad"
        )
    if not kept:
        raise DataError("samples that can be read", "none", "give undamaged files")
    columns = {name: [getattr(entry, name) for entry in kept] for name in _COLUMNS}
    write_json(draft / _CARD, {"skipped": skipped, **columns})


def _read(place: Path) -> tuple[Table, list[str]] | None:
    try:
        card = json.loads((place / _CARD).read_text())
        rows = file_rows(place / _ROWS)
        columns = {name: np.array(card[name], np.int64) for name in ("label", "attribute", "group")}
        part, names = np.array(card["part"], np.str_), np.array(card["name"], np.str_)
        skipped = [str(name) for name in card["skipped"]]
    except (OSError, ValueError, KeyError, TypeError, OverflowError, DataError):
        return None
    if not len(rows) == len(part) == len(names) or any(
        len(rows) != len(column) for column in columns.values()
    ):
        return None

    def given(name: str) -> Any:
        return None if (columns[name] < 0).all() else columns[name]

    table = Table(
        samples=rows,
        labels=columns["label"],
        part=part,
        attribute=given("attribute"),
        group=given("group"),
        names=names,
    )
    return table, skipped
