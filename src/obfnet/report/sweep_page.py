"""The page of a sweep: the table of its settings, and a picture of accuracy against leakage."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from obfnet.report.page import render_page
from obfnet.report.plotting import COLOURS, GREY, MARKERS, add_legend, draw_svg, new_panels

_DIGITS: Final = 4


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
    svg = draw_svg(lambda make: _picture(make, rows))
    # An HTML page wants the element alone.
    return render_page(
        "sweep.html.j2", {"figures": figures, "rows": rows, "picture": svg[svg.index("<svg") :]}
    )


def _picture(make: Any, rows: Sequence[Mapping[str, Any]]) -> Any:
    figure, (panel,) = new_panels(make, [""], shared=False)
    figure.set_size_inches(6.4, 4.2)
    shown: dict[str, Any] = {}
    kinds = list(dict.fromkeys(row["obfuscation"]["protection"] for row in rows))
    for row in rows:
        protection, accuracy = row["obfuscation"]["protection"], 100 * row["accuracy"]["obfuscated"]
        kind, leakage = kinds.index(protection), row["leakage"]["normalised"]
        shown[protection] = panel.plot(
            [leakage], [accuracy], linestyle="", marker=MARKERS[kind], color=COLOURS[kind], markersize=6
        )[0]
        if row["budget_bits"] is not None:
            panel.annotate(
                f"{row['budget_bits']:.{_DIGITS}g} bits",
                (leakage, accuracy),
                textcoords="offset points",
                xytext=(5, 3),
                fontsize=7,
            )
    raw = 100 * rows[0]["accuracy"]["raw"]
    shown["raw"] = panel.plot([1.0], [raw], linestyle="", marker="*", color="black", markersize=8)[0]
    alone = 100 * max(row["accuracy"]["device_only"] for row in rows)
    shown["device only, best of any row"] = panel.axhline(alone, color=GREY, linewidth=1, linestyle="--")
    panel.set_xlabel("normalised leakage, mean over samples, worst attack that counts")
    panel.set_ylabel("accuracy, %")
    add_legend(figure, shown)
    return figure
