"""Lists what a user's own case holds: class folders, `train`/`test` folders of them, or a CSV file.

Everything that can be wrong with a folder is found before hours of training and said at once. Nothing is
decoded here: whether a file is a sound picture or clip shows when it is read (`pictures`, and the reader
of sounds).
"""

import csv
import io
import os
import stat
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import DataError

Kind = Literal["pictures", "sounds"]
SPLITS: Final = ("train", "validation", "test")
ENDINGS: Final[dict[str, Kind]] = {
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"), "pictures"),
    **dict.fromkeys((".wav", ".wave"), "sounds"),
}
MIN_CLASS_SAMPLES: Final = 3
MAX_CSV_BYTES: Final = 256 * 1024 * 1024
_SPLIT_NAMES: Final = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
_COLUMNS: Final = ("file", "label", "split", "attribute", "group")
_SHOWN_PROBLEMS: Final = 5
_ENDINGS_TEXT: Final = ", ".join(ENDINGS)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One sample's file.

    Args:
        path: Where it lies, below the listing's root.
        label: Name of its class.
        split: `"train"`, `"validation"` or `"test"`; None where the user gave no splits.
        attribute: A private attribute of the sample, such as who speaks; None where none is given.
        group: What must not be divided between splits, such as a scene; None where none is given.
    """

    path: Path
    label: str
    split: str | None = None
    attribute: str | None = None
    group: str | None = None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The samples of a user's case.

    Args:
        root: The folder, or the CSV file's.
        entries: In the order of their paths.
        classes: Names of the classes, sorted.
        kind: `"pictures"` or `"sounds"`.
        ignored: How many hidden files and files of other endings were passed over.
    """

    root: Path
    entries: tuple[Entry, ...]
    classes: tuple[str, ...]
    kind: Kind
    ignored: int

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """`(N,)` int64, indices into `classes`, in the order of `entries`."""
        numbers = {name: number for number, name in enumerate(self.classes)}
        return np.array([numbers[entry.label] for entry in self.entries], dtype=np.int64)


def list_samples(path: Path) -> Listing:
    """What the folder or CSV file at `path` holds.

    A folder has one subfolder a class, named after it, with the files anywhere below; or `train`, `test`
    and maybe `validation` (or `val`), and the class folders in each. A CSV file (UTF-8, commas) has the
    columns `file` (relative to it) and `label`, and if wanted `split`, `attribute` and `group`.

    Args:
        path: The folder, or the CSV file.

    Returns:
        The samples; the same folder gives the same listing on every machine.

    Raises:
        DataError: nothing there, nothing in it, or anything of it cannot be used; the message gives the
            number of problems and the first five, each with its remedy.
    """
    try:
        mode = path.stat().st_mode
        root = path if stat.S_ISDIR(mode) else path.parent
        found = _Samples(root=root, real=os.path.realpath(root))
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or "no such path"
        raise DataError(f"a folder or CSV file at {str(path)!r}", reason, "correct the path") from exc
    if stat.S_ISDIR(mode):
        _read_folder(found)
    else:
        _read_csv(found, path)
    return found.listing(path)


@dataclass(kw_only=True)
class _Samples:
    """What was found so far, and what is wrong with it: `(what, remedy)`."""

    root: Path
    real: str
    entries: list[Entry] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    kinds: "Counter[Kind]" = field(default_factory=Counter)
    labels: "Counter[str]" = field(default_factory=Counter)
    ignored: int = 0
    seen: dict[str, str] = field(default_factory=dict)
    real_folders: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, cells: dict[str, str], *, where: str = "") -> None:
        """Checks and takes one file, `name` below the root; `where` it was listed, for a message."""
        self.labels[cells["label"]] += 1
        prefix = f"{where}: " if where else ""
        # 1. It lies inside the folder, links followed; nothing outside is even looked at.
        folder, base = os.path.split(os.path.join(self.real, name))
        if folder not in self.real_folders:
            self.real_folders[folder] = os.path.realpath(folder)
        path = os.path.join(self.real_folders[folder], base)
        link = os.path.islink(path)
        real = os.path.realpath(path) if link or base in ("", ".", "..") else path
        inside = self.real.rstrip(os.sep) + os.sep
        if not real.startswith(inside):
            what = "a link" if link else "a path"
            self.problem(f"{prefix}{what} that leads out of the folder, {name!r}", "copy the file into it")
            return
        # 2. It is a regular file of a known ending that can be read.
        kind = ENDINGS.get(os.path.splitext(base)[1].lower())
        try:
            regular = stat.S_ISREG(os.stat(real).st_mode)
        except OSError as exc:
            self.problem(f"{prefix}{name!r}: {exc.strerror}", "correct the path, or leave it out")
            return
        if not regular or kind is None:
            self.problem(f"{prefix}{name!r} is no picture or sound", f"give files in {_ENDINGS_TEXT}")
        elif not os.access(real, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
            self.problem(f"{prefix}{name!r} cannot be read", "make it readable")
        # 3. It is there once: a sample that is in two splits would flatter every figure.
        elif real in self.seen:
            self.problem(f"{prefix}{name!r} is there twice, as {self.seen[real]} too", "leave one out")
        else:
            self.seen[real] = where or repr(name)
            self.kinds[kind] += 1
            self.entries.append(Entry(path=self.root / path.removeprefix(inside), **cells))

    def problem(self, what: str, remedy: str) -> None:
        self.problems.append((what, remedy))

    def listing(self, path: Path) -> Listing:
        """The listing, or the error that says all that is wrong."""
        self._check_classes()
        self._check_splits()
        if len(self.kinds) > 1:
            counts = " and ".join(f"{self.kinds[kind]} {kind}" for kind in sorted(self.kinds))
            self.problem(f"{counts} together", "make a case of each")
        if self.problems:
            raise _summary(path, self.problems)
        return Listing(
            root=self.root,
            entries=tuple(sorted(self.entries, key=lambda entry: entry.path.parts)),
            classes=tuple(sorted(self.labels)),
            kind=next(iter(self.kinds)),
            ignored=self.ignored,
        )

    def _check_classes(self) -> None:
        if not self.labels:
            if not self.problems:
                self.problem("no samples", f"put files ({_ENDINGS_TEXT}) into one folder a class")
            return
        if len(self.labels) == 1:
            remedy = "add another class, or give the folder that holds the class folders"
            self.problem(f"one class only, {next(iter(self.labels))!r}", remedy)
        for label, count in sorted(self.labels.items()):
            # Such a name could not be shown in one line, or not be written into any result file.
            if any(unicodedata.category(character) in ("Cc", "Cs") for character in label):
                self.problem(f"a control character or no UTF-8 in the class name {label!r}", "rename it")
            elif count == 0:
                self.problem(f"class {label!r} without samples", "add some, or remove it")
            elif count < MIN_CLASS_SAMPLES:
                self.problem(
                    f"{count} sample{'s' * (count > 1)} in class {label!r}",
                    f"give it at least {MIN_CLASS_SAMPLES}, one for each split, or leave it out",
                )

    def _check_splits(self) -> None:
        groups: defaultdict[str, set[str]] = defaultdict(set)
        trained = {entry.label for entry in self.entries if entry.split in (None, "train")}
        for entry in self.entries:
            if entry.group is not None and entry.split is not None:
                groups[entry.group].add(entry.split)
        for label in sorted({entry.label for entry in self.entries} - trained):
            self.problem(f"class {label!r} without training samples", "add some, or leave it out")
        for group, splits in sorted(groups.items()):
            if len(splits) > 1:
                names = " and ".join(sorted(splits))
                self.problem(f"group {group!r} in {names}", "keep each group in one split")


def _summary(path: Path, problems: list[tuple[str, str]]) -> DataError:
    expected = f"a usable case at {str(path)!r}"
    if len(problems) == 1:
        return DataError(expected, *problems[0])
    shown = "; ".join(f"{what} ({remedy})" for what, remedy in problems[:_SHOWN_PROBLEMS])
    more = f"; and {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else ""
    return DataError(expected, f"{len(problems)} problems: {shown}{more}", "correct them and try again")


def _read_folder(found: _Samples) -> None:
    names = _subfolders(found, "")
    splits = {name: _SPLIT_NAMES[name.casefold()] for name in names if name.casefold() in _SPLIT_NAMES}
    # A class may well be called `train`; beside a `test` or alone it is the split.
    by_split = len(splits) == len(names) or ("train" in splits.values() and len(splits) > 1)
    if not by_split:
        _read_classes(found, "", names, None)
        return
    if names and "train" not in splits.values():
        found.problem(f"{', '.join(names)} without train", "add a folder train with the class folders")
    if len(set(splits.values())) < len(splits):
        found.problem(f"a split twice among {', '.join(splits)}", "rename or merge the folders")
    for name in names:
        if name in splits:
            _read_classes(found, name, _subfolders(found, name), splits[name])
        else:
            found.problem(f"folder {name!r} beside {', '.join(splits)}", "move or remove it")


def _read_classes(found: _Samples, folder: str, names: list[str], split: str | None) -> None:
    for label in names:
        # Named even if nothing is found in it, so that an empty class shows.
        found.labels[label] += 0
        cells = {"label": label} | ({"split": split} if split else {})
        pending = [os.path.join(folder, label)]
        while pending:
            here = pending.pop()
            for name, is_folder in _children(found, here):
                inner = os.path.join(here, name)
                if is_folder:
                    pending.append(inner)
                elif os.path.splitext(name)[1].lower() in ENDINGS:
                    found.add(inner, cells)
                else:
                    found.ignored += 1


def _subfolders(found: _Samples, folder: str) -> list[str]:
    children = list(_children(found, folder))
    found.ignored += sum(not is_folder for _, is_folder in children)
    return [name for name, is_folder in children if is_folder]


def _children(found: _Samples, folder: str) -> Iterator[tuple[str, bool]]:
    """Names in a folder below the root, sorted, and whether each is a folder."""
    try:
        with os.scandir(os.path.join(found.real, folder)) as scan:
            children = sorted(scan, key=lambda child: child.name)
    except OSError as exc:
        what = f"folder {folder!r}" if folder else "the folder"
        found.problem(f"{what} cannot be read ({exc.strerror})", "make it readable")
        return
    for child in children:
        if child.name.startswith(".") or child.name == "__MACOSX":
            found.ignored += 1
        elif child.is_symlink() and os.path.isdir(child.path):
            # Even one that stays inside would give the same samples twice, or lead round in a circle.
            inner = os.path.join(folder, child.name)
            out = not os.path.realpath(child.path).startswith(found.real.rstrip(os.sep) + os.sep)
            where = "out of the folder" if out else "to another folder"
            found.problem(f"a link that leads {where}, {inner!r}", "copy the files themselves")
        else:
            yield child.name, child.is_dir(follow_symlinks=False)


def _read_csv(found: _Samples, path: Path) -> None:
    text = _csv_text(path)
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(rows, [])]
        _check_header(header, path)
        for row in rows:
            if row:
                _read_row(found, header, row, f"line {rows.line_num}")
    except csv.Error as exc:
        got = f"something else in the row that ends on line {rows.line_num}"
        remedy = "put a cell with commas or quotes in double quotes, and double the quotes inside"
        raise DataError(f"well-quoted cells in {str(path)!r}", got, remedy) from exc
    if not found.labels and not found.problems:
        found.problem("a header without rows", "add one row a sample")


def _csv_text(path: Path) -> str:
    try:
        if not path.is_file():
            raise DataError(f"a folder or CSV file at {str(path)!r}", "neither", "correct the path")
        with path.open("rb") as file:
            data = file.read(MAX_CSV_BYTES + 1)
    except OSError as exc:
        raise DataError(f"to read {str(path)!r}", exc.strerror or str(exc), "make it readable") from exc
    if len(data) > MAX_CSV_BYTES:
        raise DataError(f"at most {MAX_CSV_BYTES} bytes in {str(path)!r}", "more", "give a CSV file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DataError(f"a CSV file in UTF-8 at {str(path)!r}", "other bytes", "save it as UTF-8") from exc


def _check_header(header: list[str], path: Path) -> None:
    wrong = [name for name in header if name not in _COLUMNS]
    missing = [name for name in _COLUMNS[:2] if name not in header]
    if wrong or missing or len(set(header)) < len(header):
        got = f"the columns {', '.join(map(repr, header))}" if any(header) else "no header line"
        raise DataError(
            f"the columns file,label[,split][,attribute][,group] in {str(path)!r}",
            f"{got} ({_fault(missing, wrong)})",
            "rename or remove columns in the first line",
        )


def _fault(missing: list[str], wrong: list[str]) -> str:
    parts = [f"no {name!r}" for name in missing] + [f"unknown {name!r}" for name in wrong]
    return ", ".join(parts) or "one is there twice"


def _read_row(found: _Samples, header: list[str], row: list[str], where: str) -> None:
    if len(row) != len(header):
        found.problem(f"{where}: {len(row)} cells", f"give {len(header)}, as in the header")
        return
    cells = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
    empty = [name for name in header if not cells[name]]
    if empty:
        found.problem(f"{where}: empty {empty[0]}", "fill it in, or leave the row or the column out")
        return
    split = cells.get("split", "train").casefold()
    if split not in _SPLIT_NAMES:
        found.problem(f"{where}: split {cells['split']!r}", f"use one of {', '.join(_SPLIT_NAMES)}")
        return
    if "split" in cells:
        cells["split"] = _SPLIT_NAMES[split]
    del cells["file"]
    # A file's name may begin or end with a space.
    name = row[header.index("file")]
    if "\0" in name:
        found.problem(f"{where}: {name!r}: no file's name", "correct the path, or leave it out")
        return
    found.add(name, cells, where=where)
