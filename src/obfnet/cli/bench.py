"""`obfnet bench`: side-by-side measurements, each into one result file."""

import importlib.util
from pathlib import Path
from typing import Any, Final

import click

from obfnet.cli import bench_fleet, bench_leakage
from obfnet.cli.bench_output import finish, show
from obfnet.cli.console import terminal_progress
from obfnet.cli.options import common_options, processor_option, typed_command
from obfnet.core.errors import MissingExtraError
from obfnet.report.operating_rows import median_text

_PATH: Final = click.Path(path_type=Path)
_inference_option = click.option(
    "--inference",
    "inference_path",
    type=_PATH,
    required=True,
    help="Folder of the inference network.",
)


@click.group()
def bench() -> None:
    """Measure side by side; each command writes one result file."""


bench.add_command(bench_leakage.privacy)
bench.add_command(bench_leakage.audit)
bench.add_command(bench_fleet.fleet)


@bench.command()
@click.option("--case", default="mnist", show_default=True, help="Data set.")
@_inference_option
@click.option("--count", type=click.IntRange(1), default=16, show_default=True, help="Networks in the pool.")
@click.option("--epochs", type=float, default=3.0, show_default=True, help="Passes of each network.")
@click.option(
    "--pool",
    "pool_path",
    type=_PATH,
    default=Path("bench-pool"),
    show_default=True,
    help="New folder for the pool.",
)
@common_options(out="Result file.", out_default="results/training.json")
def training(
    case: str,
    inference_path: Path,
    count: int,
    epochs: float,
    pool_path: Path,
    seed: int,
    data_dir: Path | None,
    out: Path,
    as_json: bool,
    debug: bool,
) -> None:
    r"""Train a pool and compare its time with as many plain runs of the released schedule.

    \b
    Example:
      obfnet bench training --inference inference/ --count 16
    """
    from obfnet.bench.training import TrainingBenchmark, bench_training
    from obfnet.core.files import claim_output
    from obfnet.data.cases import load_case
    from obfnet.training.inference import load_inference

    progress = terminal_progress()
    network = load_inference(inference_path)
    dataset = load_case(case, data_dir=data_dir, progress=progress)
    benchmark = TrainingBenchmark(count=count, epochs=epochs, seed=seed)
    with claim_output(pool_path, kind="pool"):
        result = bench_training(
            benchmark, dataset, network, folder=pool_path, progress=progress, command=typed_command()
        )
    rows = [
        ("pool", f"{count} networks, {epochs:g} epochs"),
        ("time / plain runs", median_text(result["ratio"])),
        (
            "accuracy, obfuscated (mean, worst)",
            f"{result['accuracy']['obfuscated']:.2%}, {result['accuracy']['obfuscated_worst']:.2%}",
        ),
        ("accuracy, raw", f"{result['accuracy']['raw']:.2%}"),
    ]
    finish(result, rows, out, as_json=as_json)


@bench.command()
@click.option("--pool", "pool_path", type=_PATH, required=True, help="Folder of the pool.")
@_inference_option
@click.option("--requests", type=click.IntRange(1), default=100, show_default=True, help="A round and kind.")
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True, help="Rounds.")
@common_options(out="Result file.", out_default="results/serving.json")
def serving(
    pool_path: Path,
    inference_path: Path,
    requests: int,
    rounds: int,
    seed: int,
    data_dir: Path | None,
    out: Path,
    as_json: bool,
    debug: bool,
) -> None:
    r"""Time requests of each protocol, and one obfuscation beside the bare runtime.

    \b
    Example:
      obfnet bench serving --pool obfnet-demo/pool --inference obfnet-demo/inference
    """
    from obfnet.bench.serving import bench_serving
    from obfnet.bundle import Trust, load_or_create_coordinator_key, public_key_text
    from obfnet.data.cases import load_case
    from obfnet.training.inference import load_inference

    progress = terminal_progress()
    network = load_inference(inference_path)
    dataset = load_case(network.card.case, data_dir=data_dir, progress=progress)
    result = bench_serving(
        pool_path,
        network.onnx_path,
        dataset.test.samples[:requests],
        trust=Trust(explicit=(public_key_text(load_or_create_coordinator_key()),)),
        requests=requests,
        rounds=rounds,
        progress=progress,
        command=typed_command(),
        seed=seed,
    )
    rows = [("one obfuscation / bare runtime", median_text(result["obfuscation"]["ratio"]))]
    for name, figures in result["protocols"].items():
        times = figures["request_us"]
        rows.append((f"{name}: client share of a request", median_text(figures["client_share"])))
        rows.append(
            (f"{name}: raw, obfuscated µs", f"{times['raw']['median']}, {times['obfuscated']['median']}")
        )
    finish(result, rows, out, as_json=as_json)


@bench.command()
@click.option("--pool", "pool_path", type=_PATH, required=True, help="Folder of the pool.")
@click.option(
    "--inference",
    "inference_paths",
    type=_PATH,
    required=True,
    multiple=True,
    help="Folder of the pool's inference network; then, again, of others that replace it.",
)
@click.option("--case", default=None, help="Data set.  [default: that of the first inference network]")
@click.option(
    "--windows", type=click.IntRange(1), default=1_000, show_default=True, help="Windows without a change."
)
@common_options(out="Result file.", out_default="results/monitor.json")
def monitor(
    pool_path: Path,
    inference_paths: tuple[Path, ...],
    case: str | None,
    windows: int,
    seed: int,
    data_dir: Path | None,
    out: Path,
    as_json: bool,
    debug: bool,
) -> None:
    r"""Count the false alarms of `obfnet monitor`, and how soon it sees changes.

    \b
    Example:
      obfnet bench monitor --pool pool/ --inference inference/ --inference other/
    """
    from obfnet.bench.monitor import MonitorBenchmark, bench_monitor
    from obfnet.bundle import Trust, load_or_create_coordinator_key, public_key_text
    from obfnet.data.cases import load_case
    from obfnet.training.inference import load_inference

    progress = terminal_progress()
    networks = tuple(load_inference(path) for path in inference_paths)
    result = bench_monitor(
        MonitorBenchmark(windows=windows, seed=seed),
        load_case(case or networks[0].card.case, data_dir=data_dir, progress=progress),
        networks,
        pool_path,
        trust=Trust(explicit=(public_key_text(load_or_create_coordinator_key()),)),
        progress=progress,
        command=typed_command(),
    )
    false = result["false_alarms"]
    rows = [("false alarms", f"{false['alarms']} in {false['windows']} windows of {result['window']}")]
    for name, seen in result["changes"].items():
        rows.append(
            (name, f"{seen['seen']:.0%} of windows by counts, {seen['seen_by_probes']:.0%} by probes")
        )
    finish(result, rows, out, as_json=as_json)


@bench.command()
@click.option("--source", type=_PATH, default=Path(), help="Checkout.  [default: here]")
@click.option("--rounds", type=click.IntRange(1), default=15, show_default=True, help="Imports to time.")
@common_options(out="Result file.", out_default="results/edge.json")
def edge(
    source: Path, rounds: int, seed: int, data_dir: Path | None, out: Path, as_json: bool, debug: bool
) -> None:
    r"""Weigh a plain install in a fresh environment and time its import.

    \b
    Example:
      obfnet bench edge --source .
    """
    from obfnet.bench.edge import bench_edge

    result = bench_edge(
        source, rounds=rounds, progress=terminal_progress(), command=typed_command(), seed=seed
    )
    rows = [
        ("packages of a plain install", f"{result['install_megabytes']} MB"),
        ("heavy packages in it", ", ".join(result["heavy_packages"]) or "none"),
        ("import obfnet", f"{median_text(result['import_s']['obfnet'])} s"),
        ("empty interpreter", f"{median_text(result['import_s']['empty'])} s"),
    ]
    finish(result, rows, out, as_json=as_json)


@bench.command()
@click.option("--quick", is_flag=True, help="Fewer rows, one seed, less training; its figures are worse.")
@click.option(
    "--work",
    type=_PATH,
    default=Path("runs/paper"),
    show_default=True,
    help="Folder of what is trained and measured; a stopped run goes on from it.",
)
@click.option("--cases", default="", help="Only these cases, with commas between.  [default: all]")
@click.option(
    "--rows", "span", default="", help="Only these rows of the grid: N, N..M or N.., from 1.  [default: all]"
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=None,
    help="Only so many of each row's seeds, the first ones.  [default: all]",
)
@click.option(
    "--inference",
    multiple=True,
    metavar="CASE/SPLIT/ARCH=DIR",
    help="Trained inference network to use for the cells of its seed; may be given several times.",
)
@click.option("--skip-missing", is_flag=True, help="Leave out cases whose data cannot be had.")
@processor_option
@common_options(
    out="Result file; tables and plots are written beside it.", out_default="docs/results/paper.json"
)
def paper(
    quick: bool,
    work: Path,
    cases: str,
    span: str,
    seeds: int | None,
    inference: tuple[str, ...],
    skip_missing: bool,
    processor: str,
    seed: int,
    data_dir: Path | None,
    out: Path,
    as_json: bool,
    debug: bool,
) -> None:
    r"""Train and measure the paper's grid: case x I x O x split, with tables and plots.

    The rows of the result file that are not run now stay as they are.

    \b
    Example:
      obfnet bench paper --quick --out paper-quick.json
    """
    from obfnet.bench.grid import GRIDS, chosen_rows
    from obfnet.report.paper_pages import write_pages

    grid = "quick" if quick else "full"
    chosen = chosen_rows(GRIDS[grid], cases=cases, span=span)
    # Needed after hours of training, and so found out before.
    for package, extra in (("torch", "train"), ("matplotlib", "report")):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, extra)
    from obfnet.bench.paper import PaperBenchmark, bench_paper

    result = bench_paper(
        PaperBenchmark(
            grid=grid,
            rows=GRIDS[grid],
            chosen=chosen,
            seed=seed,
            seeds=seeds,
            inference=inference,
            skip_missing=skip_missing,
            place=processor,
        ),
        work=work,
        out=out,
        data_dir=data_dir,
        progress=terminal_progress(),
        command=typed_command(),
    )
    pages = write_pages(out)
    rows = [(row["row"], _paper_row(row)) for row in result["rows"]]
    rows.append(("cells missing", f"{result['missing_cells']} of {result['cells']}"))
    rows.append(("tables and plots", ", ".join(str(page) for page in pages)))
    show(result, rows, out, as_json=as_json)


def _paper_row(row: dict[str, Any]) -> str:
    shown = ", ".join(
        f"{name.replace('_', '-')} {figure['mean']:.2%}" for name, figure in row["accuracy"].items()
    )
    leakage = row["leakage"]
    normalised = leakage["normalised"]["mean"]
    leaked = "not to be had" if normalised is None else f"{normalised:.2f}"
    return f"{shown}; normalised leakage ({leakage['attack']}, {leakage['threat_level']}) {leaked}"
