"""What a pool came from, as far as anybody knows: the order of its model's outputs, and its samples.

A bundle names the model and no more. `protect` leaves the rest beside the pool; a pool of a case has the
case's own order, and a user may say another.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from obfnet.bundle import Pool
from obfnet.core.errors import DataError
from obfnet.data.arrays import positions_in
from obfnet.data.case import Dataset

_RESULT: Final = "result.json"
_PARTS: Final = ("train", "validation", "test")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class OutputOrder:
    """The order of a model's outputs.

    Args:
        classes: In that order; None where nobody knows it.
        places: Of each of the case's classes, where it is in it; empty likewise.
        said_by: Where it is from.
    """

    classes: tuple[str, ...] | None
    places: npt.NDArray[np.int64]
    said_by: str


@final
@dataclass(frozen=True, kw_only=True)
class Origin:
    """What `protect` left of a pool.

    Args:
        classes: In the order of the model's outputs; None for a pool made without labels.
        counts: How many samples each part of the case had; None where it is not said.
    """

    classes: tuple[str, ...] | None
    counts: dict[str, Any] | None


def cut_as_trained(made: Origin | None, dataset: Dataset) -> bool | None:
    """Whether the parts are as large as they were for the pool; None where nobody knows."""
    if made is None or made.counts is None:
        return None
    return all(len(getattr(dataset, part).labels) == made.counts.get(part) for part in _PARTS)


def order_of(made: Origin | None, dataset: Dataset, given: tuple[str, ...]) -> OutputOrder:
    """The order of a model's outputs, as far as anybody knows it.

    Args:
        made: What `protect` left; None for a pool of a case.
        dataset: Whose classes have a place in it.
        given: By the user, who is asked first; empty for none.

    Raises:
        UsageError: an order that lacks one of the case's classes.
    """
    own = dataset.spec.classes
    if given:
        return OutputOrder(classes=given, places=positions_in(given, own), said_by="--classes")
    if made is None:
        # Trained for a case, whose order its inference network has.
        return OutputOrder(classes=own, places=np.arange(len(own)), said_by="the case")
    said_by = f"the pool's {_RESULT}"
    if (said := made.classes) is None:
        return OutputOrder(classes=None, places=np.empty(0, np.int64), said_by=said_by)
    return OutputOrder(classes=said, places=positions_in(said, own, said_by=said_by), said_by=said_by)


def origin_of(pool: Pool, *, needed: bool) -> Origin | None:
    """What `protect` left in the pool's folder; None where no `protect` made it, or it says nothing of use.

    Args:
        pool: The pool.
        needed: Whether a file that is no such result is an error, and not passed over.

    Raises:
        DataError: such a file, where it is needed.
    """
    try:
        return _parsed(pool.folder / _RESULT, pool.inference_network_id)
    except FileNotFoundError:
        return None
    except DataError:
        if needed:
            raise
        return None


def _parsed(path: Path, inference_network_id: str) -> Origin:
    wanted, remedy = f"the result of protect for this pool in {path}", "give --classes, or protect again"
    try:
        found = json.loads(path.read_text())
        model, counts = found["model"], found.get("samples")
        identity, classes = model["id"], model["classes"]
        good = classes is None or (
            isinstance(classes, list) and all(isinstance(name, str) for name in classes)
        )
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise DataError(wanted, exc.strerror or str(exc), "make it readable, or give --classes") from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise DataError(wanted, "another file, or a broken one", remedy) from exc
    if not good or identity != inference_network_id:
        raise DataError(wanted, "that of another model", remedy)
    return Origin(
        classes=None if classes is None else tuple(classes),
        counts=counts if isinstance(counts, dict) else None,
    )
