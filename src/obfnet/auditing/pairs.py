"""Recorded pairs of anybody's obfuscator: `PAIRS.npz`, checked as a whole and then read row by row.

Every fault is named before an attack is run, all of them at once, each with its remedy. What is no fault but
should be known (copies, sides that do not seem to belong together) comes as a warning.
"""

import math
import os
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.auditing.duplicates import Names, names_of, surplus
from obfnet.auditing.npz import NpzFile, StoredRows, rows_at_once
from obfnet.auditing.pair_faults import (
    Faults,
    Labels,
    categories,
    check_counts,
    check_labels,
    check_raw_range,
    checked_samples,
)
from obfnet.auditing.pairing import evenly_spaced, pairing_doubts
from obfnet.auditing.scaling import Extent, fit_scaling
from obfnet.core.errors import DataError, OutputError
from obfnet.core.progress import Progress, Silent
from obfnet.core.spec import Samples
from obfnet.data.rows import AnyRows, Rows, batches, mapped

_NEEDED: Final = ("raw", "obfuscated", "label")
_KNOWN: Final = (*_NEEDED, "attribute")
_NAMED: Final = 5
_QUANTILE_ROWS: Final = 500
_QUANTILE_VALUES: Final = 8_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedPairs:
    """Pairs that were checked; samples are read when they are asked for.

    Args:
        raw: `(N, C, H, W)` where the samples are pictures (a single channel is added, a last axis of channels
            becomes the first), `(N, D)` otherwise; float32 in [0, 1].
        obfuscated: The obfuscated form of each, of any shape; float32, brought into [0, 1].
        labels: `(N,)` int64, indices into `classes`.
        classes: The labels as they were recorded.
        attribute: `(N,)` int64, indices into `attribute_values`; None without one.
        attribute_values: Its values as they were recorded.
        raw_names: `(N,)` uint64 by content (`duplicates.names_of`).
        pair_names: The same of raw and obfuscated together.
        warnings: What a reader of the figures must know.
    """

    raw: Rows
    obfuscated: Rows
    labels: Labels
    classes: tuple[str, ...]
    attribute: Labels | None = None
    attribute_values: tuple[str, ...] = ()
    raw_names: Names
    pair_names: Names
    warnings: tuple[str, ...] = ()


def read_pairs(path: Path, *, work: Path | None = None, progress: Progress | None = None) -> RecordedPairs:
    """Pairs of a file, checked; never unpickled, never all in memory.

    Args:
        path: An `.npz` with `raw` `(N, ...)`, `obfuscated` `(N, ...)`, `label` `(N,)` and perhaps `attribute`
            `(N,)`; raw as floats in [0, 1], as integers in 0 ... 255 or as booleans.
        work: Folder for temporary files where arrays are compressed; None takes the system's.
        progress: Told of the check.

    Raises:
        DataError: what is wrong with the file, all of it, in one line.
        OutputError: no space to unfold compressed arrays.
    """
    progress = progress or Silent()
    file = NpzFile(path)
    faults = Faults(path)
    for key in [key for key in _NEEDED if key not in file.keys]:
        faults.add(DataError(f"an array `{key}`", "none", f"save it as {key}=..."))
    if extra := [key for key in file.keys if key not in _KNOWN]:
        named = ", ".join(repr(key[:40]) for key in extra[:_NAMED]) + (", ..." if len(extra) > _NAMED else "")
        faults.add(DataError("no array but " + ", ".join(_KNOWN), named, "leave it out"))
    folder = work or Path(tempfile.gettempdir())

    def column(key: str) -> tuple[Labels, tuple[str, ...]] | None:
        return faults.collect(lambda: categories(file.column(key), key)) if key in file.keys else None

    def samples(key: str) -> StoredRows | None:
        return faults.collect(lambda: checked_samples(file.rows(key, folder))) if key in file.keys else None

    raw, obfuscated, label, attribute = (
        samples("raw"),
        samples("obfuscated"),
        column("label"),
        column("attribute"),
    )
    counts = {stored.key: len(stored.rows) for stored in (raw, obfuscated) if stored is not None}
    counts |= {
        key: len(values[0])
        for key, values in (("label", label), ("attribute", attribute))
        if values is not None
    }
    check_counts(counts, faults)
    if label is not None:
        faults.collect(partial(check_labels, *label))
    seen_raw = faults.collect(partial(_look, raw, progress)) if raw is not None else None
    seen_obfuscated = faults.collect(partial(_look, obfuscated, progress)) if obfuscated is not None else None
    if raw is not None and seen_raw is not None:
        faults.collect(partial(check_raw_range, raw.rows.dtype, seen_raw.extent))
    faults.raise_any()
    # Nothing is missing any more; the type checker cannot know.
    if raw is None or obfuscated is None or label is None or seen_raw is None or seen_obfuscated is None:
        raise DataError("pairs", "none", "save them again")

    warnings: list[str] = []
    scaling = fit_scaling(seen_obfuscated.extent, _some(obfuscated.rows))
    if scaling.says:
        warnings.append(scaling.says)
    pictures = _arranged(raw.rows, _to_unit(raw.rows.dtype), "raw", warnings)
    received = _arranged(obfuscated.rows, scaling, "obfuscated", warnings)
    pair_names = names_of(np.stack([seen_raw.names, seen_obfuscated.names], axis=1))
    warnings += _copies(seen_raw.names, seen_obfuscated.names, pair_names)
    if _span(raw.rows.dtype, seen_raw.extent) < 0.1:
        warnings.append("raw samples use less than a tenth of their range: similarity says little of them")
    values: tuple[Labels, tuple[str, ...]] | None = attribute
    if values is not None and (why := _useless(*values)):
        warnings.append(why)
        values = None
    warnings += pairing_doubts(pictures, received, label[0])
    return RecordedPairs(
        raw=pictures,
        obfuscated=received,
        labels=label[0],
        classes=label[1],
        attribute=values[0] if values else None,
        attribute_values=values[1] if values else (),
        raw_names=seen_raw.names,
        pair_names=pair_names,
        warnings=tuple(warnings),
    )


def write_pairs(
    path: Path,
    raw: AnyRows,
    obfuscated: AnyRows,
    label: npt.NDArray[Any],
    attribute: npt.NDArray[Any] | None = None,
) -> None:
    """Writes pairs as `read_pairs` reads them, a few samples at a time; whole or not at all.

    Args:
        path: The `.npz` file; replaced.
        raw: `(N, ...)` floats in [0, 1], or uint8.
        obfuscated: `(N, ...)` of any shape.
        label: `(N,)` whole numbers or text.
        attribute: The same; None where there is none.

    Raises:
        OutputError: the file cannot be written.
    """
    given = {"raw": raw, "obfuscated": obfuscated, "label": label, "attribute": attribute}
    draft: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            for key, rows in given.items():
                if rows is None:
                    continue
                # A fixed date: the same pairs give the same bytes.
                member = zipfile.ZipInfo(f"{key}.npy")
                with archive.open(member, "w", force_zip64=True) as stream:
                    described = {"descr": rows.dtype.str, "fortran_order": False, "shape": tuple(rows.shape)}
                    np.lib.format.write_array_header_1_0(stream, described)
                    for some in batches(rows, rows_at_once(rows.shape)):
                        stream.write(np.ascontiguousarray(some).tobytes())
        os.replace(draft, path)
    except BaseException as exc:
        if draft is not None:
            with suppress(OSError):
                os.unlink(draft)
        if not isinstance(exc, OSError):
            raise
        raise OutputError(f"to write {path}", exc.strerror or str(exc), "free space") from exc


@dataclass(kw_only=True)
class _Seen:
    extent: Extent
    names: Names = field(default_factory=lambda: np.empty(0, np.uint64))


def _look(stored: StoredRows, progress: Progress) -> _Seen:
    """Goes through all rows once."""
    rows, key = stored.rows, stored.key
    seen = _Seen(extent=Extent(rows.shape[1:]))
    # Raw samples are compared as attackers see them, which for whole numbers is as they were saved.
    as_seen = _to_unit(rows.dtype) if key == "raw" and rows.dtype.kind == "f" else None
    names, done = [seen.names], 0
    progress.start(f"check {key}", len(rows))
    with np.errstate(invalid="ignore", over="ignore"):
        for some in stored.scan():
            seen.extent.add(some)
            names.append(names_of(as_seen(some) if as_seen else some))
            done += len(some)
            progress.advance(done)
    progress.finish()
    if not seen.extent.finite:
        got = "NaN, infinite or beyond 1e30"
        raise DataError(f"finite values in `{key}`", got, "leave such samples out, or repair them")
    seen.names = np.concatenate(names)
    return seen


def _span(dtype: np.dtype[Any], extent: Extent) -> float:
    low, high = extent.ends
    return (high - low) / (255 if dtype.kind in "iu" else 1)


def _to_unit(dtype: np.dtype[Any]) -> Callable[[Samples], npt.NDArray[np.float32]]:
    divisor = np.float32(255 if dtype.kind in "iu" else 1)
    return lambda samples: (samples.astype(np.float32) / divisor).clip(0, 1)


def _some(rows: Rows) -> Samples:
    return rows[
        evenly_spaced(len(rows), max(1, min(_QUANTILE_ROWS, _QUANTILE_VALUES // math.prod(rows.shape[1:]))))
    ]


def _arranged(
    rows: Rows, convert: Callable[[Samples], npt.NDArray[np.float32]], key: str, warnings: list[str]
) -> Rows:
    """Pictures as (channels, height, width), all else as vectors."""
    shape = rows.shape[1:]
    picture = len(shape) in (2, 3) and min(sorted(shape)[-2:]) > 1
    last = picture and len(shape) == 3 and shape[2] in (1, 3) and shape[0] not in (1, 3)
    if last:
        warnings.append(f"{key} samples of shape {shape} were taken as height, width and channels")

    def arrange(samples: Samples) -> Samples:
        unit = convert(samples)
        if last:
            return np.ascontiguousarray(np.moveaxis(unit, 3, 1))
        if picture:
            return unit if len(shape) == 3 else unit[:, np.newaxis]
        return unit.reshape(len(unit), math.prod(shape))

    return mapped(rows, arrange)


def _copies(raw: Names, obfuscated: Names, pairs: Names) -> list[str]:
    found = []
    if copies := surplus(raw):
        found.append(
            f"{copies} raw samples are copies of others, {surplus(pairs)} with the same obfuscated sample"
        )
    if (distinct := len(raw) - surplus(obfuscated)) <= len(raw) // 2:
        found.append(f"the {len(raw)} obfuscated samples are {distinct} different ones")
    return found


def _useless(attribute: Labels, values: tuple[str, ...]) -> str:
    if len(values) < 2:
        return "the attribute is the same in every sample: left out"
    if len(values) > len(attribute) // 2:
        return "the attribute has a value of its own for most samples: left out"
    return ""
