"""`obfnet bench fleet`: many networks, on Ray and without, with workers and the driver killed."""

from pathlib import Path

import click

from obfnet.cli.bench_output import finish
from obfnet.cli.console import terminal_progress
from obfnet.cli.options import common_options, typed_command

_PATH = click.Path(path_type=Path)
_COUNT = click.IntRange(1)


@click.command()
@click.option("--case", default="digits", show_default=True, help="Data set.")
@click.option(
    "--inference", "inference_path", type=_PATH, required=True, help="Folder of the inference network."
)
@click.option(
    "--count", type=_COUNT, default=64, show_default=True, help="Networks of the pools that are compared."
)
@click.option("--runs", type=_COUNT, default=3, show_default=True, help="Trainings of each of them.")
@click.option(
    "--many",
    type=click.IntRange(0),
    default=1_000,
    show_default=True,
    help="Networks of the pool whose workers and driver are killed; 0 leaves that out.",
)
@click.option(
    "--kill-every", type=float, default=20.0, show_default=True, help="Seconds from killed worker to worker."
)
@click.option("--workers", type=_COUNT, default=2, show_default=True, help="Tasks of Ray at once.")
@click.option("--epochs", type=float, default=2.0, show_default=True, help="Passes of each network.")
@click.option(
    "--work", type=_PATH, default=Path("bench-fleet"), show_default=True, help="New folder for the pools."
)
@common_options(out="Result file.", out_default="results/fleet.json")
def fleet(
    case: str,
    inference_path: Path,
    count: int,
    runs: int,
    many: int,
    kill_every: float,
    workers: int,
    epochs: float,
    work: Path,
    seed: int,
    data_dir: Path | None,
    out: Path,
    as_json: bool,
    debug: bool,
) -> None:
    r"""Compare pools that are trained on Ray with those of one process, undisturbed and disturbed.

    \b
    Example:
      obfnet bench fleet --inference inference/ --many 0
    """
    from obfnet.bench.fleet import FleetBenchmark, bench_fleet
    from obfnet.core.files import claim_output
    from obfnet.report.operating_rows import fleet_rows

    benchmark = FleetBenchmark(
        count=count,
        runs=runs,
        many=many,
        kill_every_s=kill_every,
        workers=workers,
        epochs=epochs,
        seed=seed,
    )
    with claim_output(work, kind="bench-fleet"):
        result = bench_fleet(
            benchmark,
            case=case,
            inference=inference_path,
            work=work,
            data_dir=data_dir,
            progress=terminal_progress(),
            command=typed_command(),
        )
    finish(result, list(fleet_rows(result)), out, as_json=as_json)
