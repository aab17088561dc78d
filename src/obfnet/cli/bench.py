"""`obfnet bench`: side-by-side measurements, each into one result file."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from obfnet.cli.console import terminal_progress
from obfnet.cli.options import common_options
from obfnet.core.files import write_json


@click.group()
def bench() -> None:
    """Measure side by side; each command writes one result file."""


@bench.command()
@click.option("--case", default="mnist", show_default=True, help="Data set.")
@click.option(
    "--inference",
    "inference_path",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the inference network.",
)
@click.option("--count", type=click.IntRange(1), default=16, show_default=True, help="Networks in the pool.")
@click.option("--epochs", type=float, default=2.0, show_default=True, help="Passes of each network.")
@click.option(
    "--pool",
    "pool_path",
    type=click.Path(path_type=Path),
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
            benchmark, dataset, network, folder=pool_path, progress=progress, command=_command()
        )
    rows = [
        ("pool", f"{count} networks, {epochs:g} epochs"),
        ("time / plain runs", _shown(result["ratio"])),
        (
            "accuracy, obfuscated (mean, worst)",
            f"{result['accuracy']['obfuscated']:.2%}, {result['accuracy']['obfuscated_worst']:.2%}",
        ),
        ("accuracy, raw", f"{result['accuracy']['raw']:.2%}"),
    ]
    _finish(result, rows, out, as_json=as_json)


@bench.command()
@click.option(
    "--pool", "pool_path", type=click.Path(path_type=Path), required=True, help="Folder of the pool."
)
@click.option(
    "--inference",
    "inference_path",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the inference network.",
)
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
        command=_command(),
        seed=seed,
    )
    rows = [("one obfuscation / bare runtime", _shown(result["obfuscation"]["ratio"]))]
    for name, figures in result["protocols"].items():
        times = figures["request_us"]
        rows.append((f"{name}: client share of a request", _shown(figures["client_share"])))
        rows.append(
            (f"{name}: raw, obfuscated µs", f"{times['raw']['median']}, {times['obfuscated']['median']}")
        )
    _finish(result, rows, out, as_json=as_json)


@bench.command()
@click.option("--source", type=click.Path(path_type=Path), default=Path(), help="Checkout.  [default: here]")
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

    result = bench_edge(source, rounds=rounds, progress=terminal_progress(), command=_command(), seed=seed)
    rows = [
        ("packages of a plain install", f"{result['install_megabytes']} MB"),
        ("heavy packages in it", ", ".join(result["heavy_packages"]) or "none"),
        ("import obfnet", f"{_shown(result['import_s']['obfnet'])} s"),
        ("empty interpreter", f"{_shown(result['import_s']['empty'])} s"),
    ]
    _finish(result, rows, out, as_json=as_json)


def _command() -> str:
    return " ".join(["obfnet", *sys.argv[1:]])


def _shown(figure: dict[str, Any]) -> str:
    return f"{figure['median']:g} ({figure['p05']:g} to {figure['p95']:g})"


def _finish(result: dict[str, Any], rows: list[tuple[str, str]], out: Path, *, as_json: bool) -> None:
    write_json(out, result)
    table = "\n".join(
        ["| what | measured |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]
    )
    click.echo(json.dumps(result, indent=2) if as_json else table)
    click.echo(f"result: {out}", err=as_json)
