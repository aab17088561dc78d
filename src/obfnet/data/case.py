"""What a case is: a data set as a table row, its samples once they are loaded, and what a loader works with.

A case is data, not code spread over the program: this module holds the types, `cases` the rows and what is
done with them.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from obfnet.core.progress import Progress, Silent
from obfnet.core.spec import InputSpec
from obfnet.data.fetch import FileSpec, Obtained
from obfnet.data.rows import batches
from obfnet.data.table import Attribute, Split, SplitRule

OFFICIAL: Final = SplitRule(name="official", about="the published test set")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the networks of a case are trained unless the user says otherwise; data, read by `training`.

    Args:
        inference_epochs: Passes over the training samples, by registry name of the architecture; `""` is any
            other.
        obfuscation_epochs: Passes of each obfuscation network.
        optimiser: Of inference networks: `"adam"` or `"sgd"`.
        augmentation: Names of the changes that an inference network's training samples go through, in order.
        obfuscation_augmentation: The same for obfuscation networks, but for those that grow to a camera's
            size, which go through the others; few samples are soon learnt by heart.
        budget_bits: With how many bits the demo shows that a request can have a ceiling; None where few bits
            do not serve the case well.
    """

    inference_epochs: Mapping[str, float] = field(default_factory=lambda: {"": 4.0})
    obfuscation_epochs: float = 4.0
    optimiser: str = "adam"
    augmentation: tuple[str, ...] = ()
    obfuscation_augmentation: tuple[str, ...] = ()
    budget_bits: int | None = None


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
        loader: `"module:function"` of `(spec, Loading) -> Table`, of samples as `spec.input` says;
            a loader of sounds may be asked for waveforms, at the rate that it says.
        original: `"module:function"` of `(spec, Loading, name)` to the bytes of a sample's file; empty where
            samples have no files of their own.
        inference: Names of inference networks on the command line to registry names; the default first.
        obfuscation: The same of obfuscation networks.
        splits: How it may be cut; the first is the default.
        attribute: The private attribute that a backend may try to recognise, if the samples have one.
        kind: `"pictures"` or `"sounds"`.
        note: What a reader of a figure should know about the samples; empty where there is nothing.
        how_to_get: What to do where no source gives the files; empty where a download needs no help.
        recipe: How its networks are trained by default.
        files: Files with their SHA-256; none where a package carries the samples.
        any_file: Any one of `files` holds the whole case, the preferred first; otherwise all are needed.
        mirrors: Base URLs, ending in `/`, of `<file name>.gz`.
        wheel: `"module:function"` that makes the files from a wheel; empty where there is none.
        path: Folder or CSV file of a case of the user's own; empty for the built-in ones.
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
    original: str = ""
    inference: Mapping[str, str] = field(default_factory=lambda: {"cnn": "cnn", "mlp": "mlp"})
    obfuscation: Mapping[str, str] = field(default_factory=lambda: {"mlp": "mlp", "cnn": "cnn"})
    splits: tuple[SplitRule, ...] = (OFFICIAL,)
    attribute: Attribute | None = None
    kind: str = "pictures"
    note: str = ""
    how_to_get: str = ""
    recipe: Recipe = field(default_factory=Recipe)
    files: tuple[FileSpec, ...] = ()
    any_file: bool = False
    mirrors: tuple[str, ...] = ()
    wheel: str = ""
    path: str = ""
    bundled_in: str = ""
    extra: str = ""

    def inference_architecture(self, name: str = "") -> str:
        """Registry name of an inference network, from its name for this case; empty is the default."""
        return self.inference.get(name, name) if name else next(iter(self.inference.values()))

    def obfuscation_architecture(self, name: str = "") -> str:
        """Registry name of an obfuscation network, from its name for this case; empty is the default."""
        return self.obfuscation.get(name, name) if name else next(iter(self.obfuscation.values()))


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
        split: Name of the rule by which it was cut.
        origins: Where each file came from.
        skipped: Names of samples that could not be read and were left out.
        original: A sample's name to the bytes of its file, as it was captured; None where there are no files.
            Raises `DataError` where the file is not at hand any more.
    """

    spec: CaseSpec
    train: Split
    validation: Split
    test: Split
    split: str = OFFICIAL.name
    origins: tuple[Origin, ...] = ()
    skipped: tuple[str, ...] = ()
    original: Callable[[str], bytes] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every sample and label of the three splits, in order; names what was trained on."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            for some in batches(split.samples, 4096):
                digest.update(np.ascontiguousarray(some).data)
            digest.update(np.ascontiguousarray(split.labels).data)
        return digest.hexdigest()


class Loading(Mapping[str, bytes]):
    """What a loader works with: the case's files, which are fetched when they are asked for, and its orders.

    Args:
        spec: The case.
        fetch: Brings files, checked.
        present: Whether a file is on this machine.
        progress: Told of long work.
        skip_bad: Whether samples that cannot be read are left out.
    """

    def __init__(
        self,
        spec: CaseSpec,
        fetch: Callable[[tuple[FileSpec, ...]], list[Obtained]],
        present: Callable[[FileSpec], bool] = lambda file: False,
        *,
        progress: Progress | None = None,
        skip_bad: bool = False,
    ) -> None:
        self._spec, self._fetch, self._present = spec, fetch, present
        self.progress, self.skip_bad = progress or Silent(), skip_bad
        self.origins: tuple[Origin, ...] = ()
        self.skipped: tuple[str, ...] = ()
        self._obtained: dict[str, bytes] | None = None

    @cached_property
    def chosen(self) -> FileSpec:
        """The file that is read, of a case that any of its files holds; nothing is fetched yet."""
        return next((file for file in self._spec.files if self._present(file)), self._spec.files[0])

    def __getitem__(self, name: str) -> bytes:
        if self._obtained is None:
            wanted = (self.chosen,) if self._spec.any_file else self._spec.files
            obtained = self._fetch(wanted)
            self.origins = origins(self._spec, obtained)
            self._obtained = {file.spec.name: file.content for file in obtained}
        return self._obtained[name]

    def __iter__(self) -> Iterator[str]:
        return (file.name for file in self._spec.files)

    def __len__(self) -> int:
        return len(self._spec.files)


def origins(spec: CaseSpec, obtained: list[Obtained]) -> tuple[Origin, ...]:
    """Where the files of a case came from.

    Args:
        spec: The case.
        obtained: Its files; none where it was decoded before, or where a package carries the samples.
    """
    if spec.path:
        return (Origin(file=spec.name, source="the user's own folder", path=None, size_bytes=0),)
    if not spec.files:
        return (Origin(file=spec.name, source=f"bundled in {spec.bundled_in}", path=None, size_bytes=0),)
    if not obtained:
        return (Origin(file=spec.name, source="cache (decoded before)", path=None, size_bytes=0),)
    return tuple(
        Origin(file=file.spec.name, source=file.source, path=file.path, size_bytes=len(file.content))
        for file in obtained
    )
