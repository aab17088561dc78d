"""Samples that a program holds in memory as a case: arrays of pictures or waveforms, labelled or not."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import DataError, UsageError
from obfnet.core.spec import InputSpec, Samples
from obfnet.data.case import CaseSpec, Dataset, Recipe
from obfnet.data.cases import split_table
from obfnet.data.table import TRAIN, SplitRule, Table
from obfnet.data.waveforms import WAVEFORM_CHANGES, waveform_input

LEAST_SAMPLES: Final = 40
_CHANNELS: Final = (1, 3)
_PICTURE_CHANGES: Final = ("crop",)
# What int16 is divided by, as where WAV files are read.
_LOUDEST: Final = 32_768
_PASSES: Final = 200_000
_MAX_EPOCHS: Final = 60.0


def array_dataset(
    samples: Samples,
    labels: npt.NDArray[Any] | None,
    *,
    classes: tuple[str, ...] = (),
    name: str = "own-arrays",
    rate_hz: int = 0,
) -> Dataset:
    """A case of arrays, cut at random: a tenth for the test, a tenth of the rest for validation.

    Args:
        samples: Pictures, `(N, C, H, W)`, `(N, H, W, C)` or `(N, H, W)`, uint8 or float32 in [0, 1]. With a
            rate waveforms, `(N, T)` or `(N, 1, T)`, int16 or float32 in [-1, 1].
        labels: `(N,)` whole numbers from 0; None where there are none, and the samples are of one class.
        classes: Names of the labels; empty numbers them.
        name: Of the case.
        rate_hz: Of waveforms, samples a second; 0 for pictures.

    Raises:
        DataError: other arrays than these, too few samples, or labels without a name.
        UsageError: a rate out of range, or clips of more than 10 s.
    """
    given = np.asarray(samples)
    unit = _one_row(given) if rate_hz else _channels_first(given)
    if len(unit) < LEAST_SAMPLES:
        raise DataError(f"at least {LEAST_SAMPLES} samples", str(len(unit)), "give more")
    numbers = np.zeros(len(unit), np.int64) if labels is None else _whole(np.asarray(labels), len(unit))
    count = int(numbers.max()) + 1
    if classes and len(classes) < count:
        raise DataError(
            f"a name for each of {count} labels", str(len(classes)), "give as many, in the labels' order"
        )
    epochs = min(_MAX_EPOCHS, max(4.0, _PASSES / len(unit)))
    integer, changes = unit.dtype == np.uint8, WAVEFORM_CHANGES if rate_hz else _PICTURE_CHANGES
    spec = CaseSpec(
        name=name,
        title=f"{len(unit)} {'sounds' if rate_hz else 'pictures'}",
        kind="sounds" if rate_hz else "pictures",
        input=waveform_input(unit.shape[-1], rate_hz)
        if rate_hz
        else InputSpec(
            shape=unit.shape[1:],
            dtype="uint8" if integer else "float32",
            low=0.0,
            high=255.0 if integer else 1.0,
            layout="CHW",
            preprocessing="as given",
        ),
        classes=classes or tuple(str(one) for one in range(count)),
        source="the user's own",
        licence="the user's",
        loader="",
        splits=(SplitRule(name="random", about="a random tenth", test="random"),),
        recipe=Recipe(
            inference_epochs={"": epochs},
            obfuscation_epochs=epochs,
            optimiser="sgd",
            augmentation=changes,
            obfuscation_augmentation=changes,
        ),
        extra="train",
    )
    table = Table(samples=unit, labels=numbers, part=np.full(len(unit), TRAIN, "<U10"))
    return split_table(spec, table, spec.splits[0])


def relabelled(
    dataset: Dataset, labels: dict[str, npt.NDArray[np.int64]], classes: tuple[str, ...]
) -> Dataset:
    """The same samples with other labels, e.g. a model's own answers.

    Args:
        dataset: The samples.
        labels: For `train`, `validation` and `test`, `(N,)` int64 each.
        classes: Their names.
    """
    parts = {part: replace(getattr(dataset, part), labels=labels[part]) for part in labels}
    return replace(dataset, spec=replace(dataset.spec, classes=classes), **parts)


def positions_in(
    order: Sequence[str], classes: Sequence[str], *, said_by: str = "--classes"
) -> npt.NDArray[np.int64]:
    """Where each class of some samples is in the order of a model's outputs.

    Args:
        order: The model's classes; may be more.
        classes: Those of the samples.
        said_by: Where the order is from, for the message.

    Raises:
        UsageError: one is not there, or more than once.
    """
    if missing := [name for name in classes if name not in order]:
        raise UsageError(
            f"every class of the samples in {said_by}, {', '.join(classes[:8])}",
            f"no {missing[0]!r} in {', '.join(order[:8])}",
            "name the model's labels as the samples' folders are named",
        )
    if twice := [name for name in classes if list(order).count(name) > 1]:
        raise UsageError(
            f"every class of the samples once in {said_by}", f"{twice[0]!r} twice", "name each output once"
        )
    return np.array([order.index(name) for name in classes], np.int64)


def _channels_first(samples: Samples) -> Samples:
    if samples.ndim == 3:
        samples = samples[:, None]
    if samples.ndim == 4 and samples.shape[3] in _CHANNELS and samples.shape[1] not in _CHANNELS:
        samples = np.moveaxis(samples, 3, 1)
    if samples.ndim != 4 or samples.shape[1] not in _CHANNELS:
        raise DataError(
            "pictures (N, C, H, W), (N, H, W, C) or (N, H, W)", str(samples.shape), "with 1 or 3 channels"
        )
    if samples.dtype == np.uint8:
        return np.ascontiguousarray(samples)
    real = samples.dtype.kind == "f" and bool(np.isfinite(samples).all())
    if not real or samples.min() < 0 or samples.max() > 1:
        raise DataError(
            "uint8 pixels, or floats in [0, 1]",
            f"{samples.dtype} outside of it",
            "give raw pixels: how the model wants them is worked out",
        )
    return np.ascontiguousarray(samples, np.float32)


def _one_row(samples: Samples) -> Samples:
    if samples.ndim not in (2, 3) or (samples.ndim == 3 and samples.shape[1] != 1) or not samples.size:
        raise DataError(
            "waveforms, (N, T) or (N, 1, T)", str(samples.shape), "give one channel, all of one length"
        )
    integer, dtype = samples.dtype == np.int16, samples.dtype
    # Before any arithmetic: half precision has few values near 1.
    rows = samples.astype(np.float32).reshape(len(samples), 1, 1, -1)
    if integer:
        rows /= _LOUDEST
    if not integer and dtype.kind != "f":
        raise DataError("int16, or floats in [-1, 1]", str(dtype), "give waveforms as they were recorded")
    if not bool(np.isfinite(rows).all()) or np.abs(rows).max() > 1:
        raise DataError(
            "int16, or floats in [-1, 1]",
            f"{dtype} outside of it",
            "give waveforms as they were recorded: how the model wants them is worked out",
        )
    rows += 1
    rows /= 2
    return rows


def _whole(labels: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64]:
    if labels.shape != (count,) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise DataError(
            f"{count} labels, whole numbers from 0",
            f"{labels.dtype} {labels.shape}",
            "give the index of each class",
        )
    return labels.astype(np.int64)
