"""A row of the paper's table from its cells: what was measured becomes mean, extremes and each value.

What every seed has in common (sizes, costs, names) stands once.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from obfnet.bench.grid import Row
from obfnet.data.cases import case_spec, split_rule

_LEAKAGE: Final = (
    "ssim",
    "ssim_p95",
    "ssim_worst",
    "mse",
    "raw_ssim",
    "floor_ssim",
    "normalised",
    "normalised_p95",
    "share_over_half",
)
_ATTRIBUTE: Final = ("accuracy", "raw_accuracy", "chance")


def over_seeds(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean, extremes and each value; the first three are None where a value is.

    Args:
        values: At least one, of any unit.

    Example:
        >>> over_seeds([0.5, 1.0])
        {'mean': 0.75, 'min': 0.5, 'max': 1.0, 'each': [0.5, 1.0]}
    """
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return {"mean": None, "min": None, "max": None, "each": list(values)}
    return {"mean": float(np.mean(known)), "min": min(known), "max": max(known), "each": known}


def row_figures(row: Row, cells: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """A row of the result file.

    Args:
        row: The row.
        cells: Seed to figures as `measure_cell` gives them, with `given` and `seconds`; at least one.

    Returns:
        JSON-ready.
    """
    seeds = sorted(cells)
    each = [cells[seed] for seed in seeds]
    first, spec = each[0], case_spec(row.case)
    inference = {name: value for name, value in first["inference"].items() if name != "id"}
    return {
        "row": row.name,
        "case": row.case,
        "title": spec.title,
        "split": row.split,
        "split_about": split_rule(spec, row.split)[0].about,
        "note": spec.note,
        "inference": {
            "name": row.inference,
            **inference,
            "ids": [one["inference"]["id"] for one in each],
            "given": [one["given"] for one in each],
        },
        "obfuscation": {"name": row.obfuscation, **first["obfuscation"]},
        "seeds": seeds,
        "share": row.share,
        "obfuscation_share": row.obfuscation_share,
        "attack_share": row.attack_share,
        "epochs": first["epochs"],
        "samples": first["samples"],
        "accuracy": _named(
            each, "accuracy", [name for name, value in first["accuracy"].items() if value is not None]
        ),
        "device_only": first["device_only"],
        "device_only_tenth": first["device_only_tenth"],
        "leakage": {**_facts(first["leakage"]), **_named(each, "leakage", _LEAKAGE)},
        "attribute": None
        if first["attribute"] is None
        else {
            "attribute": first["attribute"]["attribute"],
            **_facts(first["attribute"]),
            **_named(each, "attribute", _ATTRIBUTE),
        },
        "latency": _named(each, "latency", tuple(first["latency"])),
        "request_bytes": first["request_bytes"],
        "seconds": over_seeds([one["seconds"] for one in each]),
    }


def _named(each: Sequence[Mapping[str, Any]], part: str, names: Sequence[str]) -> dict[str, Any]:
    return {name: over_seeds([one[part][name] for one in each]) for name in names}


def _facts(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: part[name] for name in ("attack", "threat_level", "samples")}
