"""Samples as a model wants them: brought to its size, in the order of its labels, or with its own answers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import ModelError, UsageError
from obfnet.core.progress import Progress
from obfnet.core.spec import Samples, as_unit, unit_shape
from obfnet.data.arrays import array_dataset, positions_in, relabelled
from obfnet.data.case import Dataset
from obfnet.data.cases import case_spec, load_case
from obfnet.models.source import Model
from obfnet.models.understand import Understood, understand
from obfnet.models.wishes import Wishes, sound_shape, wire_shape
from obfnet.protecting.settings import ProtectSettings
from obfnet.training.classifier import answers

Arrays = tuple[Samples, npt.NDArray[Any]]
PARTS: Final = ("train", "validation", "test")
_LOOKED_AT: Final = 2_000


def prepared_samples(
    opened: Model,
    data: Path | str | Arrays | Samples,
    wishes: Wishes,
    settings: ProtectSettings,
    data_dir: Path | None,
    skip_bad: bool,
    progress: Progress,
) -> tuple[Dataset, Understood]:
    """The samples as the model's own shape wants them, and what the model makes of them."""
    dataset: Dataset
    if isinstance(data, Path | str):
        spec = case_spec(str(data))
        if wishes.rate_hz and spec.kind != "sounds":
            raise UsageError("sounds, for --rate", f"{spec.kind} in {spec.name}", "leave it out")
        found = sound_shape if spec.kind == "sounds" else wire_shape
        shape, layout = found(opened, wishes, of_data=spec.input.unit_shape)
        dataset = load_case(
            str(data),
            data_dir=data_dir,
            skip_bad=skip_bad,
            progress=progress,
            shape=unit_shape(shape, layout),
            rate_hz=wishes.rate_hz,
        )
    else:
        samples, labels = (data, None) if isinstance(data, np.ndarray) else data
        if labels is None and settings.labels:
            raise UsageError("(samples, labels)", "samples alone", "give labels, or labels=False")
        dataset = array_dataset(
            samples,
            labels if settings.labels else None,
            classes=settings.classes,
            rate_hz=wishes.rate_hz,
        )
        of_data = dataset.spec.input.unit_shape
        if wishes.rate_hz:
            shape, layout = sound_shape(
                opened, _with_length(opened, wishes, np.shape(samples)), of_data=of_data
            )
        else:
            shape, layout = wire_shape(opened, wishes, of_data=of_data)
        if (unit := unit_shape(shape, layout)) != of_data:
            raise ModelError(
                f"samples of {'x'.join(map(str, unit))}, as {opened.title} takes them",
                "x".join(map(str, of_data)),
                "give waveforms of that length, or --shape"
                if wishes.rate_hz
                else "give a folder of pictures, which are resized, or --shape",
            )
    # Labels that come as numbers are in the model's order already; folders and cases have names.
    said = opened.classes if isinstance(data, Path | str) else ()
    names, order = _order(dataset.spec.classes, settings, said)
    if settings.labels and order is not None:
        dataset = relabelled(dataset, {part: order[getattr(dataset, part).labels] for part in PARTS}, names)
    rows = np.unique(np.linspace(0, len(dataset.train.labels) - 1, _LOOKED_AT).astype(np.int64))
    some = dataset.train.take(rows)
    understood = understand(
        opened,
        as_unit(some.samples[:]),
        some.labels if settings.labels else None,
        wishes,
        shape=shape,
        layout=layout,
        names=names,
        numbered=not isinstance(data, Path | str),
    )
    if not settings.labels:
        answered = {
            part: answers(understood.view, getattr(dataset, part).samples).astype(np.int64) for part in PARTS
        }
        named = opened.classes or names
        if len(named) != understood.classes:
            named = tuple(str(k) for k in range(understood.classes))
        dataset = relabelled(dataset, answered, named)
    elif names == said and not settings.classes:
        understood = replace(understood, notes=(*understood.notes, "labels in the order that the model says"))
    return dataset, understood


def _with_length(opened: Model, wishes: Wishes, shape: tuple[int, ...]) -> Wishes:
    """The wishes, with the length of waveforms in arrays where neither the user nor the model says one."""
    said = wishes.shape or (opened.input_shape[1:] if opened.input_shape else ())
    if said and said[-1] is not None:
        return wishes
    leading = tuple(size or 1 for size in said[:-1]) if said else shape[1:-1]
    return replace(wishes, shape=(*leading, shape[-1]))


def _order(
    classes: Sequence[str], settings: ProtectSettings, of_model: tuple[str, ...]
) -> tuple[tuple[str, ...], npt.NDArray[np.int64] | None]:
    """The classes in the model's order, and where each of the data's own is in it."""
    said = settings.classes
    if not said and all(of_model.count(name) == 1 for name in classes):
        # The model says the order itself, and calls them as the samples are called.
        said = of_model
    if not said or not settings.labels:
        return tuple(classes), None
    return said, positions_in(said, classes)
