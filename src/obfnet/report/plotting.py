"""What all plots have in common: Matplotlib only when one is drawn, one style, the same bytes each time."""

import importlib
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from obfnet.core.errors import MissingExtraError

# Okabe and Ito's colours, which people with any colour vision tell apart.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS: Final = ("o", "s", "^", "D", "v", "P")
GREY: Final = "#777777"
_STYLE: Final = {
    "svg.hashsalt": "obfnet",
    # Text stays text: smaller, and it can be searched and read aloud.
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_PANEL_INCHES: Final = (3.6, 3.2)
# Of the width and of the height of a picture: labels of nearer points would overlap.
_NEAR: Final = 0.06

T = TypeVar("T")


def draw_svg(draw: Callable[[Any], Any]) -> str:
    """The SVG text of what `draw` makes; no date, and ids that are no random numbers.

    Args:
        draw: Takes Matplotlib's `Figure` class and gives a figure.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    try:
        matplotlib = importlib.import_module("matplotlib")
        make = importlib.import_module("matplotlib.figure").Figure
    except ModuleNotFoundError as exc:
        raise MissingExtraError(exc.name or "matplotlib", "report") from exc
    with matplotlib.rc_context(_STYLE):
        text = io.StringIO()
        draw(make).savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    # Lines end without blanks, as in every other file of a repository.
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def new_panels(make: Any, titles: Sequence[str], *, shared: bool) -> tuple[Any, Sequence[Any]]:
    """A figure with a panel for each title, side by side; `shared` is of their vertical axis."""
    width, height = _PANEL_INCHES
    figure = make(figsize=(width * len(titles), height))
    panels = figure.subplots(1, len(titles), squeeze=False, sharey=shared)[0]
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(title)
    return figure, panels


def near_labels(points: Sequence[tuple[float, float, T]]) -> list[tuple[float, float, list[T]]]:
    """Where labels are written: once for points so near each other that theirs would overlap.

    Args:
        points: Place along the first axis, which goes from 0 to 1, and the second; and a label.

    Returns:
        The place of the first of some near points, and the labels of all of them.
    """
    groups: list[list[tuple[float, float, T]]] = []
    heights = [height for _, height, _ in points]
    for point in points:
        tall = _NEAR * (max(heights) - min(heights))
        near = (
            one for one in groups if abs(one[0][0] - point[0]) < _NEAR and abs(one[0][1] - point[1]) <= tall
        )
        group = next(near, None)
        if group is None:
            groups.append([point])
        else:
            group.append(point)
    return [(*group[0][:2], [label for _, _, label in group]) for group in groups]


def add_legend(figure: Any, shown: Mapping[str, Any]) -> None:
    """One legend for all panels, under them."""
    figure.tight_layout(rect=(0, 0.14, 1, 1))
    figure.legend(shown.values(), shown.keys(), loc="lower center", ncols=min(3, len(shown)), frameon=False)
