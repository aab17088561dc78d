"""The page of a sweep: the table of its settings, and a picture of accuracy against leakage."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from obfnet.core.interval import wilson
from obfnet.report.audit_verdict import span
from obfnet.report.page import render_page
from obfnet.report.plotting import COLOURS, GREY, MARKERS, add_legend, draw_svg, near_labels, new_panels


def render_sweep(figures: Mapping[str, Any]) -> str:
    """The page as one HTML file.

    Args:
        figures: The content of `sweep.json`.

    Returns:
        HTML without any reference to the outside but to the settings' own reports, beside it.

    Raises:
        MissingExtraError: Matplotlib or Jinja2 is not installed.
    """
    rows: Sequence[Mapping[str, Any]] = figures["rows"]
    svg = draw_svg(lambda make: _picture(make, rows, figures["measured_as"]))
    return render_page(
        "sweep.html.j2",
        {
            "figures": figures,
            "rows": rows,
            "ceiling": ceiling,
            "span": span,
            "wilson": wilson,
            "attribute": next((row["attribute"]["attribute"] for row in rows if row["attribute"]), None),
            # A page wants the element alone.
            "picture": svg[svg.index("<svg") :],
        },
    )


def ceiling(bits: float | None) -> str:
    """A budget in words, rounded up.

    Example:
        >>> ceiling(None), ceiling(16.0), ceiling(10.1136)
        ('no limit', '16 bits', '10.12 bits')
    """
    return "no limit" if bits is None else f"{math.ceil(bits * 100) / 100:g} bits"


def _picture(make: Any, rows: Sequence[Mapping[str, Any]], measured: str) -> Any:
    figure, (panel,) = new_panels(make, [""], shared=False)
    figure.set_size_inches(6.4, 4.2)
    shown: dict[str, Any] = {}
    kinds: dict[str, list[tuple[float, float, str]]] = {}
    for number, row in enumerate(rows, 1):
        point = (row["leakage"]["normalised"], 100 * row["accuracy"]["obfuscated"], str(number))
        kinds.setdefault(row["obfuscation"]["protection"], []).append(point)
    for (protection, points), marker, colour in zip(
        kinds.items(), cycle(MARKERS), cycle(COLOURS), strict=False
    ):
        leakages, accuracies, _ = zip(*points, strict=True)
        shown[protection] = panel.plot(
            leakages, accuracies, linestyle="", marker=marker, color=colour, markersize=6
        )[0]
    for place, accuracy, numbers in near_labels([point for points in kinds.values() for point in points]):
        panel.annotate(
            ", ".join(numbers), (place, accuracy), textcoords="offset points", xytext=(5, 3), fontsize=7
        )
    raw = 100 * rows[0]["accuracy"]["raw"]
    shown["raw"] = panel.plot([1.0], [raw], linestyle="", marker="*", color="black", markersize=8)[0]
    alone = 100 * max(row["accuracy"]["device_only"] for row in rows)
    shown["device only, best of any row"] = panel.axhline(alone, color=GREY, linewidth=1, linestyle="--")
    panel.set_xlabel("normalised leakage, mean over samples, worst attack that counts")
    panel.set_ylabel(f"{measured}, %")
    add_legend(figure, shown)
    return figure
