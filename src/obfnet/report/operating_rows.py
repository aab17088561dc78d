"""Tables of the results page about running it: monitor, training, fleets, serving, the device's install."""

from collections.abc import Iterable
from typing import Any

Rows = Iterable[tuple[str, str]]


def monitor_rows(figures: dict[str, Any]) -> Rows:
    """How often the monitor is wrong, and how soon it is right."""
    false, window = figures["false_alarms"], figures["window"]
    rate = f"{false['alarms']} in {false['windows']}; a rate of at most {false['rate_at_most']:.2%} (95 %)"
    rows = [(f"false alarms, windows of {window}, a pool of {figures['networks']}", rate)]
    for name, seen in figures["changes"].items():
        what = f"{name}: windows in which it is seen by counts, by samples of noise"
        rows.append((what, f"{seen['seen']:.0%}, {seen['seen_by_probes']:.0%} of {seen['windows']}"))
    return rows


def training_rows(figures: dict[str, Any]) -> Rows:
    """How long a pool takes beside as many plain runs."""
    accuracy = figures["accuracy"]
    return [
        ("networks, epochs of each", f"{figures['count']}, {figures['epochs']:g}"),
        ("time / as many plain runs of 14 epochs", median_text(figures["ratio"])),
        (
            "accuracy, obfuscated (mean, worst)",
            f"{accuracy['obfuscated']:.2%}, {accuracy['obfuscated_worst']:.2%}",
        ),
        ("accuracy, raw", f"{accuracy['raw']:.2%}"),
        ("how the plain runs were timed", figures["plain_run"]["note"]),
    ]


def serving_rows(figures: dict[str, Any]) -> Rows:
    """What a request costs, by protocol."""
    rows = [("one obfuscation / bare ONNX Runtime call", median_text(figures["obfuscation"]["ratio"]))]
    for name, one in figures["protocols"].items():
        rows.append((f"{name}: client's work / whole request", median_text(one["client_share"])))
        ratio = one["request_us"]["obfuscated"]["median"] / one["request_us"]["raw"]["median"]
        rows.append((f"{name}: obfuscated request / raw request, medians", f"{ratio:.2f}"))
        lengths = " and ".join(
            ", ".join(map(str, one["request_bytes"][kind])) for kind in ("raw", "obfuscated")
        )
        rows.append((f"{name}: body lengths that occurred, raw and obfuscated", f"{lengths} bytes"))
    return rows


def edge_rows(figures: dict[str, Any]) -> Rows:
    """What a device installs and imports."""
    imports = figures["import_s"]
    return [
        ("packages of a plain `pip install .`", f"{figures['install_megabytes']} MB"),
        ("torch or other heavy packages in it", ", ".join(figures["heavy_packages"]) or "none"),
        ("`import obfnet`, a process of its own", f"{median_text(imports['obfnet'])} s"),
        ("an empty interpreter beside it", f"{median_text(imports['empty'])} s"),
        ("`from obfnet import Device, load_pool`", f"{median_text(imports['device'])} s"),
    ]


def fleet_rows(figures: dict[str, Any]) -> Rows:
    """Ray beside one process, and what killed workers and a killed driver cost."""
    ratios = figures["throughput_ratio"]
    same = {True: "yes", False: "NO"}
    rows = [
        (
            f"{figures['count']} networks: time of one process / on {figures['workers']} workers",
            f"{figures['throughput_ratio_median']:.2f} ({min(ratios):.2f} to {max(ratios):.2f}, "
            f"{len(ratios)} runs)",
        ),
        ("the same bytes", same[figures["same_bytes"]]),
    ]
    if "many" not in figures:
        return rows
    return [
        *rows,
        (
            f"{figures['many']:,} networks, a worker killed every {figures['kill_every_s']:g} s: "
            "time / undisturbed",
            f"{figures['time_ratio']:.2f}, {figures['workers_killed']} killed",
        ),
        ("the same bytes, each network once", same[figures["same_bytes_disturbed"]]),
        (
            "driver killed half way: networks kept by then, and not trained again",
            f"{figures['driver_finished_before']:,}, {figures['driver_reused']:,}",
        ),
        ("the same bytes after that", same[figures["same_bytes_driver"]]),
    ]


def median_text(figure: dict[str, Any]) -> str:
    """A median, and what nine of ten runs lay between."""
    return f"{figure['median']:g} ({figure['p05']:g} to {figure['p95']:g})"
