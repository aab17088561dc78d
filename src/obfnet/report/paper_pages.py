"""The page of the paper's grid in Markdown, from its result file alone: tables, plots and what they mean.

`python -m obfnet.report.paper_pages docs/results/paper.json` writes `paper.md` and `paper-*.svg` beside the
file; a test holds them against it. No sentence says more than the figures do.
"""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from obfnet.core.errors import DataError
from obfnet.core.files import write_atomic
from obfnet.report.paper_plots import Rows, draw_plots, grouped, plot_titles
from obfnet.report.wording import count, microseconds, percent, several, similarity, size

_ABOUT: Final = """\
Accuracies are shares of right answers to test samples: *raw* of I to raw samples, *obfuscated* of I to what
the device sends, *device-only* of a classifier of at most O's multiply-accumulates, trained on the same
samples with the same augmentation and for as many epochs. SSIM is between raw test samples and their
reconstructions, from low to high expected: *floor*, the mean image of the answered label; *obfuscated*, what
the attack rebuilds from what the device sends; *raw*, what the same attack rebuilds from raw samples.
*Normalised leakage* is 0 at the floor and 1 at the raw control. One attack is no audit: every figure of
leakage is a lower bound. Latency is one sample's obfuscation on one thread, checks included, beside the bare
runtime call; a request is the body in binary tensors, beside one raw sample as 32-bit floats and as a JPEG.
"""
_YARDSTICK: Final = """\
A device-only classifier costs no more than O and asks nobody. The method earns its keep where obfuscated
samples are answered right more often, by more than the spread over the seeds and by more than so many test
samples can tell apart (two standard errors). Elsewhere remote inference buys only the confidentiality of the
inference network.
"""
_SHORTENED: Final = """\
Some rows were trained less, as their tables say: with full training either side may come out ahead.
"""
_LISTED: Final = 3

Row = Mapping[str, Any]


def paper_page(figures: Mapping[str, Any], stem: str = "paper") -> str:
    """The page in Markdown.

    Args:
        figures: Content of the result file, as `obfnet bench paper` writes it.
        stem: Name of the result file without its ending; names of plots begin with it.

    Does not guarantee: that a stronger attack would not rebuild more. The page words one measurement.
    """
    rows = figures["rows"]
    parts = [
        "# The paper's grid",
        "",
        f"Written by `make docs` from `{stem}.json`, which `{figures['command']}` made.",
        *_state(figures),
        "",
    ]
    if not rows:
        return "\n".join([*parts, "Nothing is measured yet.", ""])
    parts += ["## Where the method earns its keep", "", _YARDSTICK]
    parts += [_SHORTENED] if _shortened(rows) else []
    parts += [f"- {_verdict(case, rule, some)}" for (case, rule), some in _tables(rows).items()]
    parts += ["", "## What is measured", "", _ABOUT]
    titles = plot_titles(figures, stem)
    for (case,), of_case in grouped(rows, "case").items():
        parts += [f"## {of_case[0]['title']}", ""]
        if note := of_case[0]["note"]:
            parts += [f"Note: {note}.", ""]
        for (_, rule), some in _tables(of_case).items():
            parts += [f"### {case}, split {rule}: {some[0]['split_about']}", "", *_table(some), ""]
            parts += _asides(some)
        for name, (of, title) in titles.items():
            if of == case:
                parts += [f"![{case}: {title}]({name})", ""]
    return "\n".join(parts)


def write_pages(result: Path) -> list[Path]:
    """Writes the page and the plots of a result file beside it.

    Args:
        result: The file.

    Returns:
        What was written.

    Raises:
        DataError: it is no such result.
        MissingExtraError: Matplotlib is not installed.
        OutputError: a file cannot be written.
    """
    try:
        figures = json.loads(result.read_text())
        pages = {f"{result.stem}.md": paper_page(figures, result.stem), **draw_plots(figures, result.stem)}
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise DataError(
            f"a result of `obfnet bench paper` in {result}", "none that can be read", "run the command"
        ) from exc
    for name, text in pages.items():
        write_atomic(result.parent / name, text)
    return [result.parent / name for name in pages]


def compare_with_device_only(row: Row) -> int:
    """Whether obfuscated samples are answered better than by a device-only classifier.

    Returns 1 where they are, -1 where they are answered worse, and 0 where these seeds and test samples
    cannot tell.

    Args:
        row: Of the result file.
    """
    ours, alone = row["accuracy"]["obfuscated"], row["accuracy"]["device_only"]
    pooled = (ours["mean"] + alone["mean"]) / 2
    margin = max(
        ours["max"] - ours["min"],
        alone["max"] - alone["min"],
        # Twice the standard error of a difference of two shares.
        2 * math.sqrt(2 * pooled * (1 - pooled) / row["samples"]["test"]),
    )
    difference = ours["mean"] - alone["mean"]
    return 0 if abs(difference) <= margin else 1 if difference > 0 else -1


def main() -> None:
    """Rewrites the pages of the result files that the command line names."""
    for argument in sys.argv[1:]:
        write_pages(Path(argument))


def _tables(rows: Rows) -> dict[tuple[str, ...], list[Row]]:
    return grouped(rows, "case", "rule")


def _shortened(rows: Rows) -> bool:
    return any(min(_trained(row)) < 1 for row in rows)


def _trained(row: Row) -> tuple[float, float, float]:
    """Shares of their usual epochs that networks, O and the attack were trained for."""
    return row["share"], row["share"] * row.get("obfuscation_share", 1.0), row["attack_share"]


def _state(figures: Mapping[str, Any]) -> list[str]:
    rows, machine = figures["rows"], figures["machine"]
    lines = [f"The {figures['grid']} grid, {several(len(rows), 'row')}; first seed {figures['seed']}."]
    if _shortened(rows):
        lines.append(
            "**Trained less**: some networks or attacks were trained for a share of their usual epochs "
            "(column *trained*; device-only classifiers as I), so that accuracies are worse and attacks "
            "weaker than with full training."
        )
    if not figures["complete"]:
        lines.append(
            f"**Not complete**: {figures['missing_cells']} of {several(figures['cells'], 'cell')} "
            "(a row with one seed) are missing."
        )
    if figures["skipped_cases"]:
        lines.append(f"Left out, since the data could not be had: {', '.join(figures['skipped_cases'])}.")
    versions = ", ".join(f"{name} {version}" for name, version in figures["versions"].items())
    lines.append(f"Machine: {machine['processor']}, {several(machine['cores'], 'core')}; {versions}.")
    return lines


def _named(row: Row) -> str:
    value = f", {row['split']}" if ":" in row["split"] else ""
    return f"{_obfuscation(row)} through {row['inference']['name']}{value}"


def _obfuscation(row: Row) -> str:
    return f"{row['obfuscation']['name']}({row['obfuscation']['hidden']})"


def _verdict(case: str, rule: str, rows: Sequence[Row]) -> str:
    better = sorted(
        (row for row in rows if compare_with_device_only(row) > 0),
        key=lambda row: row["accuracy"]["device_only"]["mean"] - row["accuracy"]["obfuscated"]["mean"],
    )
    worse = [row for row in rows if compare_with_device_only(row) < 0]
    total, remaining = several(len(rows), "row"), len(rows) - len(better)
    sentences = [f"**{case}, {rule}.**"]
    if better:
        named = "; ".join(f"{_named(row)}: {_against(row)}" for row in better[:_LISTED])
        among = "" if len(better) <= _LISTED else "largest differences: "
        sentences.append(f"The method earns its keep in {len(better)} of {total} ({among}{named}).")
    if remaining:
        where = f"all of {total}" if not better else f"the other {remaining}"
        closest = f", {_against(rows[0])}" if len(rows) == 1 else ""
        ahead = f" (better in {len(worse)})" if worse else ""
        sentences.append(
            f"A device-only classifier does as well{ahead} in {where}{closest}: "
            "there remote inference buys only the confidentiality of the inference network."
        )
    tenths = [
        row["accuracy"]["device_only_tenth"]["mean"] for row in rows if "device_only_tenth" in row["accuracy"]
    ]
    if tenths:
        sentences.append(
            f"At a tenth of O's cost a device-only classifier reaches {_range(tenths, percent)}."
        )
    return " ".join([*sentences, _leaks(rows), *_recognised(rows)])


def _against(row: Row) -> str:
    accuracy = row["accuracy"]
    return (
        f"{percent(accuracy['obfuscated']['mean'])} obfuscated against "
        f"{percent(accuracy['device_only']['mean'])} device-only"
    )


def _leaks(rows: Sequence[Row]) -> str:
    leakage = rows[0]["leakage"]
    attack = f"{leakage['attack']} attack (threat level {leakage['threat_level']})"
    able = [
        row["leakage"]["normalised"]["mean"]
        for row in rows
        if row["leakage"]["normalised"]["mean"] is not None
    ]
    if not able:
        return f"The {attack} did no better on raw samples than the label alone: too weak to judge by."
    return f"Normalised leakage under the {attack}: {_range(able, similarity)}."


def _recognised(rows: Sequence[Row]) -> list[str]:
    known = [row["attribute"] for row in rows if row["attribute"] is not None]
    if not known:
        return []
    first = known[0]
    shares = {
        name: _range([one[name]["mean"] for one in known], percent)
        for name in ("accuracy", "raw_accuracy", "chance")
    }
    return [
        f"The {first['attribute']} is recognised from obfuscated samples in {shares['accuracy']}, "
        f"from raw ones in {shares['raw_accuracy']} "
        f"({first['attack']} attack, threat level {first['threat_level']}; "
        f"chance {shares['chance']})."
    ]


def _range(values: Sequence[float], shown: Callable[[float], str]) -> str:
    low, high = shown(min(values)), shown(max(values))
    return low if low == high else f"{low} to {high}"


def _table(rows: Sequence[Row]) -> list[str]:
    leakage, attribute = rows[0]["leakage"], rows[0]["attribute"]
    attack = f"{leakage['attack']}, {leakage['threat_level']}"
    columns: dict[str, Callable[[Row], str]] = {}
    if any(":" in row["split"] for row in rows):
        columns["split"] = lambda row: row["split"]
    columns |= {"I": lambda row: row["inference"]["name"], "O": _obfuscation}
    if _shortened(rows):
        columns["trained"] = lambda row: ", ".join(
            f"{what} {percent(share, 0)}"
            for what, share in zip(("I", "O", "attack"), _trained(row), strict=True)
        )
    for name, title in (
        ("raw", "accuracy, raw"),
        ("obfuscated", "obfuscated"),
        ("device_only", "device-only"),
        ("device_only_tenth", "device-only, a tenth"),
    ):
        if any(name in row["accuracy"] for row in rows):
            columns[title] = lambda row, name=name: (  # type: ignore[misc]
                _spread(row["accuracy"][name], percent) if name in row["accuracy"] else "–"
            )
    columns |= {
        f"SSIM ({attack}): floor, obfuscated, raw": lambda row: ", ".join(
            _spread(row["leakage"][name], similarity) for name in ("floor_ssim", "ssim", "raw_ssim")
        ),
        f"normalised leakage ({attack}): mean": lambda row: _spread(row["leakage"]["normalised"], similarity),
        "95th percentile": lambda row: _spread(row["leakage"]["normalised_p95"], similarity),
        "samples over half": lambda row: _spread(row["leakage"]["share_over_half"], percent),
    }
    if attribute is not None:
        title = f"{attribute['attribute']} recognised ({attribute['attack']}, {attribute['threat_level']})"
        columns[f"{title}: obfuscated"] = lambda row: _recognition(row, "accuracy")
        columns["raw; chance"] = lambda row: (
            f"{_recognition(row, 'raw_accuracy')}; {_recognition(row, 'chance')}"
        )
    columns |= {
        "parameters, O; I": lambda row: _both(row, "parameters"),
        "MACs, O; I": lambda row: _both(row, "macs"),
        "latency (bare runtime)": lambda row: (
            f"{microseconds(row['latency']['obfuscate_us']['mean'])} "
            f"({microseconds(row['latency']['bare_us']['mean'])})"
        ),
        "request (raw float32; JPEG)": _bytes,
    }
    return [
        f"| {' | '.join(columns)} |",
        "|" + " --- |" * len(columns),
        *(f"| {' | '.join(cell(row) for cell in columns.values())} |" for row in rows),
    ]


def _asides(rows: Sequence[Row]) -> list[str]:
    lines = []
    if given := [row for row in rows if any(row["inference"]["given"])]:
        names = ", ".join(dict.fromkeys(row["inference"]["name"] for row in given))
        lines.append(f"Inference networks that were given, not trained by this command: {names}.")
    for row in rows:
        if {"command", "machine", "versions"} & row.keys():
            how = f" by `{row['command']}`" if "command" in row else ""
            where = (
                " on another machine or with other versions" if {"machine", "versions"} & row.keys() else ""
            )
            lines.append(f"{_named(row)} was measured{how}{where}.")
    return [" ".join(lines), ""] if lines else []


def _spread(figure: Mapping[str, Any], shown: Callable[[float], str]) -> str:
    if figure["mean"] is None:
        return "–"
    if len(figure["each"]) == 1:
        return shown(figure["mean"])
    return f"{shown(figure['mean'])} ({shown(figure['min'])} to {shown(figure['max'])})"


def _recognition(row: Row, name: str) -> str:
    return "–" if row["attribute"] is None else _spread(row["attribute"][name], percent)


def _both(row: Row, name: str) -> str:
    return f"{count(row['obfuscation'][name])}; {count(row['inference'][name])}"


def _bytes(row: Row) -> str:
    sizes = row["request_bytes"]
    jpeg = f"; {size(sizes['jpeg'])}" if "jpeg" in sizes else ""
    return f"{size(sizes['request'])} ({size(sizes['float32_tensor'])}{jpeg})"


if __name__ == "__main__":
    main()
