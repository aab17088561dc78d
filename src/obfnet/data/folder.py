"""A folder or a CSV file of the user's own pictures or sounds as a case, like the built-in ones.

Pictures get one size, that of the files where all agree and are small, sounds become MFCCs as in `fsd`. What
is in the folder is listed and checked before anything is decoded (`listing`).
"""

import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from obfnet.core.errors import DataError
from obfnet.core.files import canonical_json, sha256_hex
from obfnet.core.spec import InputSpec, Samples
from obfnet.data.case import CaseSpec, Loading, Recipe
from obfnet.data.division import assign_splits
from obfnet.data.listing import Listing, list_samples
from obfnet.data.mfcc import PREPROCESSING
from obfnet.data.pictures import Picture, decode_picture, picture_input
from obfnet.data.prepared import Entry, prepare
from obfnet.data.sounds import decode_sound
from obfnet.data.table import TEST, TRAIN, VALIDATION, Attribute, SplitRule, Table

_SIZE: Final = 64
# Least height and width for the networks of that name.
_SMALLEST: Final = 16
_SMALLEST_CONV: Final = 8
_SMALLEST_CNN: Final = 6
_SOUND_NETWORKS: Final = ({"cnn": "fsd-cnn", "mlp": "fsd-mlp"}, {"mlp": "fsd-mlp", "cnn": "fsd-cnn"})
_LOOKED_AT: Final = 50
_DECODING: Final = 1
_MAX_FILE_BYTES: Final = 256 * 1024 * 1024
_SAMPLE_PASSES: Final = 200_000
_MAX_EPOCHS: Final = 60.0


def folder_case(path: Path, *, shape: tuple[int, ...] | None = None) -> CaseSpec:
    """The case of a folder or a CSV file.

    Args:
        path: As `list_samples` takes it.
        shape: `(C, H, W)` that pictures are brought to; None takes that of the files where all agree and are
            small, or 64x64.

    Returns:
        A case named after the folder, with the classes and splits that it holds.

    Raises:
        DataError: nothing there can be a case; lists what is wrong.
    """
    listing = list_samples(path)
    sounds = listing.kind == "sounds"
    spec = _sound_spec() if sounds else _picture_spec(listing, shape)
    if shape is not None and spec.shape != shape:
        raise DataError(f"pictures, for samples of shape {shape}", f"sounds in {path.name}", "give pictures")
    epochs = min(_MAX_EPOCHS, max(4.0, _SAMPLE_PASSES / len(listing.entries)))
    values = sorted({entry.attribute for entry in listing.entries if entry.attribute is not None})
    inference, obfuscation = _SOUND_NETWORKS if sounds else _picture_networks(min(spec.shape[1:]))
    changes = ("shift", "mask") if sounds else ("crop",)
    return CaseSpec(
        name=_name(path),
        title=f"{_text(path.name)}: {len(listing.entries)} {listing.kind}",
        input=spec,
        classes=listing.classes,
        source="a folder of the user's own",
        licence="the user's",
        loader="obfnet.data.folder:load",
        original="obfnet.data.folder:original",
        inference=inference,
        obfuscation=obfuscation,
        splits=(
            SplitRule(name="own", about="as the user gave it, or a fifth of each class or of the groups"),
        ),
        attribute=Attribute(name="attribute", values=tuple(values)) if values else None,
        kind=listing.kind,
        recipe=Recipe(
            inference_epochs={"": epochs},
            obfuscation_epochs=epochs,
            optimiser="sgd",
            augmentation=changes,
            obfuscation_augmentation=changes,
        ),
        path=str(path),
        extra="train",
    )


def load(spec: CaseSpec, files: Loading) -> Table:
    """The samples of the user's folder.

    Args:
        spec: What `folder_case` gave.
        files: Its orders; it has no files to fetch.

    Returns:
        All samples that can be read, with the user's splits, attribute and groups.

    Raises:
        DataError: a file cannot be read, with how many others; or what is there cannot be split.
    """
    listing = list_samples(Path(spec.path))
    part = np.full(len(listing.entries), TRAIN, dtype="<U10")
    for name, rows in assign_splits(listing).items():
        part[rows] = {"train": TRAIN, "validation": VALIDATION, "test": TEST}[name]
    groups = {
        name: number for number, name in enumerate(sorted({entry.group or "" for entry in listing.entries}))
    }
    values = spec.attribute.values if spec.attribute is not None else ()
    resized: list[bool] = []

    def entries() -> Iterator[tuple[Entry, Callable[[], Samples]]]:
        for number, entry in enumerate(listing.entries):
            described = Entry(
                name=_shown(listing, entry.path),
                label=listing.classes.index(entry.label),
                part=str(part[number]),
                attribute=values.index(entry.attribute) if entry.attribute is not None else -1,
                group=groups[entry.group] if entry.group is not None else -1,
            )
            yield described, partial(_decoded, spec, entry.path, described.name, resized)

    table, skipped = prepare(
        spec.name,
        {"files": _state(listing, part), "version": _DECODING},
        spec.input,
        entries,
        count=len(listing.entries),
        skip_bad=files.skip_bad,
        progress=files.progress,
    )
    files.skipped = tuple(skipped)
    taught = set(table.labels[table.part == TRAIN].tolist())
    if lost := [name for number, name in enumerate(spec.classes) if number not in taught]:
        raise DataError(
            f"training samples of class {lost[0]!r} that can be read",
            f"none, {len(skipped)} files cannot be read",
            "mend some of them, or leave the class out",
        )
    if skipped:
        files.progress.say(f"{len(skipped)} files cannot be read and are left out, the first: {skipped[0]}")
    if any(resized):
        height, width = spec.input.shape[1:]
        files.progress.say(f"{sum(resized)} of {len(resized)} pictures were resized to {height}x{width}")
    return table


def original(spec: CaseSpec, files: Loading, name: str) -> bytes:
    """A file of the user's folder.

    Args:
        spec: What `folder_case` gave.
        files: Not used.
        name: Of the sample, as the table has it.

    Raises:
        DataError: it cannot be read.
    """
    path = Path(spec.path)
    return _content((path if path.is_dir() else path.parent) / name, name)


def _decoded(spec: CaseSpec, path: Path, name: str, resized: list[bool]) -> Samples:
    data = _content(path, name)
    if spec.kind == "sounds":
        return decode_sound(data, name, spec=spec.input)
    channels, height, width = spec.input.shape
    picture = decode_picture(data, name=name, channels=channels, size=(height, width))
    resized.append(picture.resized)
    pixels: Samples = picture.pixels
    return pixels


def _content(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise DataError(
            f"to read {name}", exc.strerror or str(exc), "make it readable, or remove it"
        ) from exc
    if len(data) > _MAX_FILE_BYTES:
        raise DataError(f"at most {_MAX_FILE_BYTES} bytes in {name}", "more", "make it smaller, or remove it")
    return data


def _picture_spec(listing: Listing, shape: tuple[int, ...] | None) -> InputSpec:
    if shape is not None:
        return picture_input(shape[0], (shape[1], shape[2]))
    step = max(1, len(listing.entries) // _LOOKED_AT)
    seen = [
        picture
        for entry in listing.entries[::step]
        if (picture := _looked_at(listing, entry.path)) is not None
    ]
    sizes = {picture.original_size for picture in seen}
    size = next(iter(sizes)) if len(sizes) == 1 and max(*next(iter(sizes))) <= _SIZE else (_SIZE, _SIZE)
    grey = bool(seen) and all((picture.pixels == picture.pixels[:1]).all() for picture in seen)
    return picture_input(1 if grey else 3, size)


def _looked_at(listing: Listing, path: Path) -> Picture | None:
    # Whatever cannot be read is complained about when everything is decoded.
    try:
        name = _shown(listing, path)
        return decode_picture(_content(path, name), name=name, channels=3, size=None)
    except DataError:
        return None


def _picture_networks(side: int) -> tuple[dict[str, str], dict[str, str]]:
    # The first is the default: the smallest pictures fit through no convolution.
    compact = {"compact": "compact", "residual": "residual"} if side >= _SMALLEST else {}
    plain = ("cnn", "mlp") if side >= _SMALLEST_CNN else ("mlp", "cnn")
    obfuscation = ("conv", "mlp", "cnn") if side >= _SMALLEST_CONV else ("mlp", "conv", "cnn")
    return compact or {name: name for name in plain}, {name: name for name in obfuscation}


def _sound_spec() -> InputSpec:
    return InputSpec(
        shape=(1, 20, 45), dtype="float32", low=0.0, high=1.0, layout="CHW", preprocessing=PREPROCESSING
    )


def _name(path: Path) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", path.resolve().stem).strip("-._")
    return f"own-{plain or 'case'}"[:80]


def _shown(listing: Listing, path: Path) -> str:
    return _text(path.relative_to(listing.root) if path.is_relative_to(listing.root) else path.name)


def _text(path: Path | str) -> str:
    # A file's name is any bytes; what is written into files and shown must be UTF-8.
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _state(listing: Listing, part: Any) -> str:
    # Any change to a file changes its size or its time.
    state = []
    for entry, where in zip(listing.entries, part, strict=True):
        facts = entry.path.stat()
        named = [_shown(listing, entry.path), entry.label, str(where), entry.attribute, entry.group]
        state.append([*named, facts.st_size, facts.st_mtime_ns])
    return sha256_hex(canonical_json([_text(listing.root.resolve()), state]))
