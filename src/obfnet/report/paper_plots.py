"""Plots of the paper's grid as SVG: accuracy against leakage for each case, and both against O's width.

Drawn from the result file alone, and the same bytes from the same file: no date, and ids that are no random
numbers. What a figure means is said on the page (`paper_pages`), which shows them.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from obfnet.report.plotting import COLOURS, GREY, MARKERS, add_legend, draw_svg, new_panels

_FEWEST_WIDTHS: Final = 3

Rows = Sequence[Mapping[str, Any]]


def split_rule_of(row: Mapping[str, Any]) -> str:
    """Name of a row's split rule, without its value: six speakers make one table and one panel."""
    return str(row["split"]).partition(":")[0]


def grouped(rows: Rows, *names: str) -> dict[tuple[str, ...], list[Mapping[str, Any]]]:
    """Rows by some of `case`, `rule` (of the split), `inference`, `obfuscation`, in the order of the rows."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        of = {
            "case": row["case"],
            "rule": split_rule_of(row),
            "inference": row["inference"]["name"],
            "obfuscation": row["obfuscation"]["name"],
        }
        groups.setdefault(tuple(of[name] for name in names), []).append(row)
    return groups


def plot_titles(figures: Mapping[str, Any], stem: str) -> dict[str, tuple[str, str]]:
    """Which plots a result has: file name to the case and a title; nothing is drawn.

    Args:
        figures: Content of the result file.
        stem: With which every file name begins.
    """
    titles = {}
    for (case,), rows in grouped(figures["rows"], "case").items():
        if any(_leakage(row) is not None for row in rows):
            titles[f"{stem}-{case}.svg"] = (case, "accuracy against normalised leakage")
        if _sweeps(rows):
            titles[f"{stem}-{case}-width.svg"] = (case, "accuracy and normalised leakage against O's width")
    return titles


def draw_plots(figures: Mapping[str, Any], stem: str) -> dict[str, str]:
    """Every plot of a result.

    Args:
        figures: Content of the result file.
        stem: With which every file name begins.

    Returns:
        File name to SVG text.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    drawn = {}
    for name, (case, _) in plot_titles(figures, stem).items():
        rows = [row for row in figures["rows"] if row["case"] == case]
        draw = _width_figure if name.endswith("-width.svg") else _trade_figure
        drawn[name] = draw_svg(partial(draw, rows=rows))
    return drawn


def _leakage(row: Mapping[str, Any]) -> float | None:
    mean: float | None = row["leakage"]["normalised"]["mean"]
    return mean


def _sweeps(rows: Rows) -> dict[tuple[str, ...], list[Mapping[str, Any]]]:
    pairs = grouped(rows, "rule", "inference", "obfuscation")
    return {
        pair: some
        for pair, some in pairs.items()
        if len({row["obfuscation"]["hidden"] for row in some}) >= _FEWEST_WIDTHS
    }


def _trade_figure(make: Any, rows: Rows) -> Any:
    rows = [row for row in rows if _leakage(row) is not None]
    rules = grouped(rows, "rule")
    attack = f"{rows[0]['leakage']['attack']}, {rows[0]['leakage']['threat_level']}"
    figure, panels = new_panels(make, [f"{rows[0]['case']}, {rule}" for (rule,) in rules], shared=True)
    styles = _styles(grouped(rows, "inference", "obfuscation"))
    shown: dict[str, Any] = {}
    for panel, some in zip(panels, rules.values(), strict=True):
        for pair, points in grouped(some, "inference", "obfuscation").items():
            places = [row["leakage"]["normalised"] for row in points]
            label = f"{pair[1]} through {pair[0]}"
            shown[label] = panel.errorbar(
                [place["mean"] for place in places],
                [100 * row["accuracy"]["obfuscated"]["mean"] for row in points],
                xerr=_extent(places),
                yerr=_extent([row["accuracy"]["obfuscated"] for row in points], 100),
                linestyle="",
                label=label,
                markersize=5,
                elinewidth=0.8,
                **styles[pair],
            )
        shown["device-only at O's cost"] = panel.plot(
            [_leakage(row) for row in some],
            [100 * row["accuracy"]["device_only"]["mean"] for row in some],
            linestyle="",
            marker="x",
            color=GREY,
        )[0]
        panel.set_xlim(*_unit_axis(rows))
        panel.set_xlabel(f"normalised leakage ({attack})")
        panel.set_ylabel("accuracy, %")
    add_legend(figure, shown)
    return figure


def _width_figure(make: Any, rows: Rows) -> Any:
    sweeps = _sweeps(rows)
    several = len({rule for rule, _, _ in sweeps}) > 1
    leakage = rows[0]["leakage"]
    titles = [f"{rows[0]['case']}: accuracy", f"{rows[0]['case']}: leakage"]
    figure, (accuracy, leaks) = new_panels(make, titles, shared=False)
    styles = _styles(sweeps)
    shown: dict[str, Any] = {}
    for (rule, inference, obfuscation), some in sweeps.items():
        points = sorted(some, key=lambda row: row["obfuscation"]["hidden"])
        style = styles[rule, inference, obfuscation]
        label = f"{obfuscation} through {inference}" + (f", {rule}" if several else "")
        widths = [row["obfuscation"]["hidden"] for row in points]
        right = [row["accuracy"]["obfuscated"] for row in points]
        shown[label] = accuracy.errorbar(
            widths,
            [100 * one["mean"] for one in right],
            yerr=_extent(right, 100),
            markersize=4,
            linewidth=1,
            **style,
        )
        shown["device-only at O's cost"] = accuracy.plot(
            widths,
            [100 * row["accuracy"]["device_only"]["mean"] for row in points],
            linestyle=":",
            linewidth=1,
            color=GREY,
        )[0]
        able = [row for row in points if _leakage(row) is not None]
        leaks.errorbar(
            [row["obfuscation"]["hidden"] for row in able],
            [_leakage(row) for row in able],
            yerr=_extent([row["leakage"]["normalised"] for row in able]),
            markersize=4,
            linewidth=1,
            **style,
        )
    for panel, name in (
        (accuracy, "accuracy, %"),
        (leaks, f"normalised leakage ({leakage['attack']}, {leakage['threat_level']})"),
    ):
        panel.set_xscale("log", base=2)
        ticks = sorted({row["obfuscation"]["hidden"] for some in sweeps.values() for row in some})
        panel.set_xticks(ticks, [str(tick) for tick in ticks], rotation=45)
        panel.set_xlabel("width n of O's bottleneck")
        panel.set_ylabel(name)
    leaks.set_ylim(*_unit_axis([row for row in rows if _leakage(row) is not None]))
    add_legend(figure, shown)
    return figure


def _unit_axis(rows: Rows) -> tuple[float, float]:
    # From the floor to the raw control, or as far beyond as a figure lies: a part of it would exaggerate.
    ends = [row["leakage"]["normalised"][end] for row in rows for end in ("min", "max")]
    return min(0.0, *ends) - 0.03, max(1.0, *ends) + 0.03


def _extent(places: Sequence[Mapping[str, Any]], times: float = 1) -> list[list[float]]:
    return [
        [times * (place["mean"] - place["min"]) for place in places],
        [times * (place["max"] - place["mean"]) for place in places],
    ]


def _styles(keys: Mapping[tuple[str, ...], Any]) -> dict[tuple[str, ...], dict[str, str]]:
    return {
        key: {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
        for number, key in enumerate(keys)
    }
