"""The frontier as a page: accuracy against leakage of every protection audited, beside what it has to beat.

`python -m obfnet.report.privacy_pages docs/results results/privacy.json ...` writes `privacy.md` and
`privacy-*.svg` into the folder, from the result files of `obfnet bench privacy` alone. No sentence says more
than their figures do.
"""

import json
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from obfnet.core.errors import DataError
from obfnet.core.files import write_atomic
from obfnet.report.plotting import COLOURS, GREY, MARKERS, add_legend, draw_svg, near_labels, new_panels
from obfnet.report.wording import percent, several, similarity

_ABOUT: Final = """\
Every row is an audit of one obfuscation network with the budget named, by attacks of threat level T2
and weaker ones: all that the budget runs, or those that its command names (the result file has each
row's). *Leakage* is that of the worst attack, from 0 (what the label alone gives) to 1 (what the same
attack gets from raw data); every figure of leakage is a lower bound. *SSIM* is that of the attack with
the best guesses, beside what the same attack gets from the label alone and from raw data. The *budget*
alone is a guarantee, and bounds all attacks. *Device-only* classifies raw samples on the device at O's
cost; *head* classifies what is sent, at O's cost: where it is as accurate as the backend, the backend
adds no accuracy to the code. *Selective raw* is the device-only classifier that sends the samples raw
that it is least sure of: its mean leakage is the share sent, its worst sample's is 1. A row is
*worthwhile* where it is at least 5 points better than device-only and head, and 1 point better than
selective raw of the same mean leakage, at a mean of at most 0.15 and a 95th percentile of at most 0.6.
"""
_MARGIN: Final = 0.01
_CLEARLY: Final = 0.05
_MOST_LEAKAGE: Final = 0.15
_MOST_OF_95_PERCENT: Final = 0.6

Row = Mapping[str, Any]


def privacy_page(results: Sequence[Mapping[str, Any]], stem: str = "privacy") -> str:
    """The page in Markdown.

    Args:
        results: Contents of result files of `obfnet bench privacy`.
        stem: With which names of plots begin.

    Does not guarantee: that a stronger attack would not get more.
    """
    rows = _rows(results)
    parts = ["# Protections: accuracy against leakage", "", "Written by `make docs` from these results:", ""]
    parts += [f"- `{command}`" for command in dict.fromkeys(row["command"] for row in rows)]
    parts += ["", _ABOUT]
    for case, of_case in _by_case(rows).items():
        findings = _findings(of_case)
        parts += [f"## {case}", "", *_table(of_case), "", *findings, *([""] if findings else [])]
        parts += [f"![{case}: accuracy against leakage]({stem}-{case.replace(', ', '-')}.svg)", ""]
    return "\n".join(parts)


def draw_frontiers(results: Sequence[Mapping[str, Any]], stem: str = "privacy") -> dict[str, str]:
    """A plot for each case and split: file name to SVG text.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    return {
        f"{stem}-{case.replace(', ', '-')}.svg": draw_svg(partial(_frontier, case=case, rows=rows))
        for case, rows in _by_case(_rows(results)).items()
    }


def write_privacy_pages(folder: Path, files: Sequence[Path]) -> list[Path]:
    """Writes the page and its plots.

    Args:
        folder: Where they go.
        files: Result files of `obfnet bench privacy`.

    Raises:
        DataError: one of them is no such result.
        MissingExtraError: Matplotlib is not installed.
        OutputError: a file cannot be written.
    """
    try:
        results = [json.loads(path.read_text()) for path in files]
        pages = {"privacy.md": privacy_page(results), **draw_frontiers(results)}
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise DataError(
            f"results of `obfnet bench privacy` in {', '.join(map(str, files))}",
            "one that cannot be read",
            "run the command",
        ) from exc
    for name, text in pages.items():
        write_atomic(folder / name, text)
    return [folder / name for name in pages]


def main() -> None:
    """Rewrites the page of a folder from the result files that the command line names."""
    folder, *files = sys.argv[1:]
    write_privacy_pages(Path(folder), [Path(file) for file in files])


def _rows(results: Sequence[Mapping[str, Any]]) -> list[Row]:
    rows = [
        {"command": result["command"], **row, "audit": result["budget"]}
        for result in results
        for row in result["rows"]
    ]
    return sorted(rows, key=lambda row: row["protection"] != "published")


def _by_case(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(f"{row['case']}, {row['split']}", []).append(row)
    return found


def _groups(rows: Sequence[Row]) -> dict[tuple[Any, ...], list[Row]]:
    """Rows of one protection, network and audit; several where there are several seeds."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        key = (
            row["protection"],
            row["budget_bits"],
            row.get("epsilon"),
            row.get("noise"),
            row.get("rich_share"),
            row["obfuscation"],
            row["inference"],
            row["audit"],
        )
        found.setdefault(key, []).append(row)
    return found


def _mean(rows: Sequence[Row], get: Callable[[Row], float | None]) -> float | None:
    values = [value for row in rows if (value := get(row)) is not None]
    return statistics.fmean(values) if values else None


def _protection(row: Row) -> str:
    bits = row["budget_bits"]
    chance = [f", {name} {row[name]:g}" for name in ("epsilon", "noise") if row.get(name)]
    if share := row.get("rich_share"):
        chance.append(f" for {share:.0%} of requests, else {row['poor_bits']:.4g}")
    return "".join([row["protection"], "" if bits is None else f", {bits:.4g} bits", *chance])


def _baseline(name: str) -> Callable[[Row], float | None]:
    return lambda row: row["baselines"][name] if "baselines" in row else None


def _headline(name: str) -> Callable[[Row], float | None]:
    return lambda row: row["headline"][name]


def _table(rows: Sequence[Row]) -> list[str]:
    attribute = next((row["attribute"] for row in rows if row["attribute"] is not None), None)
    heads = ["protection", "O", "audit", "raw", "obfuscated", "device-only", "head", "SSIM (floor, raw)"]
    heads += ["leakage, mean", "95th percentile", "over half", "worst attack", "rank-1 of 1,000", "budget"]
    if attribute is not None:
        heads.append(f"{attribute['attribute']} (chance {percent(attribute['chance'])})")
    lines = [_line(heads), _line(["---"] * len(heads))]
    for some in _groups(rows).values():
        first = some[0]
        head = first["headline"]
        best = [_closest(row) for row in some]
        seeds = "" if len(some) == 1 else f", {several(len(some), 'seed')}"
        closest, floor, raw = (
            similarity(statistics.fmean(one[end] for one in best), 3) for end in ("guess", "floor", "raw")
        )
        cells = [
            f"{first['protection']}{seeds}{_shortened(first)}",
            first["obfuscation"] + ("" if first["hidden"] is None else f"({first['hidden']})"),
            first["audit"],
            _share(_mean(some, lambda row: row["accuracy"]["raw"])),
            _share(_mean(some, lambda row: row["accuracy"]["obfuscated"])),
            _share(_mean(some, _baseline("device_only"))),
            _share(_mean(some, _baseline("head"))),
            f"{closest} ({floor}, {raw})",
            _leakage(some),
            _number(_mean(some, _headline("normalised_leakage_p95"))),
            _share(_mean(some, _headline("share_over_half"))),
            f"{head['attack']}, {head['threat_level']}",
            _share(_mean(some, _rank_one)),
            "no ceiling" if first["budget_bits"] is None else f"{first['budget_bits']:.4g} bits",
        ]
        if attribute is not None:
            cells.append(_share(_mean(some, _recognised)))
        lines.append(_line(cells))
    return lines


def _findings(rows: Sequence[Row]) -> list[str]:
    """What the rows say of whether a protection is worth its trouble here."""
    found = []
    for some in _groups(rows).values():
        first = some[0]
        if first["protection"] == "published" or "baselines" not in first:
            continue
        ours = _mean(some, lambda row: row["accuracy"]["obfuscated"]) or 0.0
        rivals = {
            "the device-only classifier": _mean(some, _baseline("device_only")),
            "a head on what is sent": _mean(some, _baseline("head")),
        }
        as_good = [
            f"{name} ({_share(rival)})"
            for name, rival in rivals.items()
            if rival is not None and rival >= ours - _MARGIN
        ]
        verdict = (
            f"at most {100 * _MARGIN:g} point better than {' and '.join(as_good)}: the backend buys the "
            "confidentiality of its model, no accuracy"
            if as_good
            else "no classifier on the device comes within "
            f"{100 * _MARGIN:g} point ({_share(rivals['the device-only classifier'])}, head "
            f"{_share(rivals['a head on what is sent'])})"
        )
        at = _selective_raw(some)
        raw = "" if at is None else f"; selective raw of that mean leakage: {_share(at)}"
        worth = "; worthwhile" if _is_worthwhile(some, ours, rivals.values(), at) else ""
        found.append(f"- **{_protection(first)}** ({_share(ours)}): {verdict}{raw}{worth}.")
    return found


def _is_worthwhile(
    rows: Sequence[Row], ours: float, rivals: Iterable[float | None], selective_raw: float | None
) -> bool:
    mean = _mean(rows, _headline("normalised_leakage"))
    worst = _mean(rows, _headline("normalised_leakage_p95"))
    return (
        None not in (mean, worst, selective_raw)
        and (mean or 0.0) <= _MOST_LEAKAGE
        and (worst or 0.0) <= _MOST_OF_95_PERCENT
        and all(rival is not None and ours >= rival + _CLEARLY for rival in rivals)
        and ours >= (selective_raw or 0.0) + _MARGIN
    )


def _raw_curve(row: Row) -> list[tuple[float, float]]:
    """Shares of samples sent raw, from none on, with the accuracy of each."""
    measured = [(one["share"], one["accuracy"]) for one in row["baselines"]["selective_raw"]]
    return [(0.0, row["baselines"]["device_only"]), *measured]


def _selective_raw(rows: Sequence[Row]) -> float | None:
    """Accuracy of selective raw at these rows' leakage, between shares that were measured; None beyond."""
    leakage = _mean(rows, _headline("normalised_leakage"))
    curves = [_raw_curve(row) for row in rows]
    if leakage is None or leakage > min(curve[-1][0] for curve in curves):
        return None
    return statistics.fmean(
        float(np.interp(leakage, [share for share, _ in curve], [right for _, right in curve]))
        for curve in curves
    )


def _shortened(row: Row) -> str:
    # In older files the baselines were cut as much as the network, and are then too low as well.
    share, baselines = row.get("obfuscation_share", row.get("share", 1.0)), "share" in row
    what = "O and its baselines" if baselines else "O"
    return "" if share == 1 else f" ({what} trained for {percent(share, 0)} of the passes)"


def _closest(row: Row) -> dict[str, float]:
    """SSIM of the counted attack with the best guesses, with its own floor and its own raw control."""
    counted = [one for one in row["attacks"] if one["counted"]]
    best = max(counted, key=lambda one: one["figures"]["ssim"]["mean"])
    own = {"guess": best["figures"]["ssim"]["mean"]}
    return {**own, "floor": best["floor"]["ssim"], "raw": best["raw"]["ssim"]}


def _rank_one(row: Row) -> float | None:
    rates = [
        one["rate"] for one in row["reidentification"] or [] if one["candidates"] == 1_000 and one["k"] == 1
    ]
    return max(rates, default=None)


def _recognised(row: Row) -> float | None:
    return None if row["attribute"] is None else row["attribute"]["accuracy"]


def _leakage(rows: Sequence[Row]) -> str:
    mean = _mean(rows, _headline("normalised_leakage"))
    if mean is None:
        return "not defined"
    if len(rows) == 1:
        low, high = rows[0]["headline"]["normalised_leakage_interval"]
    else:
        each = [row["headline"]["normalised_leakage"] for row in rows]
        low, high = min(each), max(each)
    return f"{similarity(mean, 3)} [{similarity(low, 3)}, {similarity(high, 3)}]"


def _frontier(make: Any, *, case: str, rows: Sequence[Row]) -> Any:
    figure, (panel,) = new_panels(make, [case], shared=False)
    shown: dict[str, Any] = {}
    limited: list[tuple[float, float, float]] = []
    kinds = list(dict.fromkeys(row["protection"] for row in rows))
    for some in _groups(rows).values():
        first, kind = some[0], kinds.index(some[0]["protection"])
        place = _mean(some, _headline("normalised_leakage"))
        accuracy = 100 * (_mean(some, lambda row: row["accuracy"]["obfuscated"]) or 0.0)
        if place is None:
            continue
        shown[first["protection"]] = panel.plot(
            [place], [accuracy], linestyle="", marker=MARKERS[kind], color=COLOURS[kind], markersize=6
        )[0]
        if first["budget_bits"] is not None:
            limited.append((place, accuracy, first["budget_bits"]))
    for place, accuracy, budgets in near_labels(limited):
        text = ", ".join(f"{bits:.4g}" for bits in sorted(budgets)) + " bits"
        panel.annotate(text, (place, accuracy), textcoords="offset points", xytext=(5, 3), fontsize=7)
    raw = 100 * (_mean(rows, lambda row: row["accuracy"]["raw"]) or 0.0)
    shown["raw"] = panel.plot([1.0], [raw], linestyle="", marker="*", color="black", markersize=8)[0]
    with_baselines = [row for row in rows if "baselines" in row]
    if with_baselines:
        # Of the costliest O, so that the baselines are at their best.
        curve = _raw_curve(max(with_baselines, key=lambda row: row["cost"]["macs"]))
        shown["device-only, then selective raw"] = panel.plot(
            [share for share, _ in curve],
            [100 * accuracy for _, accuracy in curve],
            marker="x",
            markersize=4,
            linewidth=1,
            color=GREY,
        )[0]
    panel.set_xlabel("normalised leakage, mean over samples, worst attack")
    panel.set_ylabel("accuracy, %")
    add_legend(figure, shown)
    return figure


def _share(value: float | None) -> str:
    return "-" if value is None else percent(value)


def _number(value: float | None) -> str:
    return "-" if value is None else similarity(value)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
