"""`obfnet evaluate`: how often the deployed backend is right about a pool's samples."""

from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click

from obfnet.bundle import read_pool
from obfnet.cli.console import terminal_progress
from obfnet.cli.options import (
    case_options,
    comma_separated,
    common_options,
    meter_options,
    pool_options,
    print_result,
    request_options,
    trust_option,
    trusted,
    typed_command,
)
from obfnet.edge import Device, UnsafeRawPassthrough
from obfnet.edge.evaluate import SAMPLES
from obfnet.edge.evaluate import evaluate as run

_COUNT: Final = click.IntRange(1)
_EXIT_PART: Final = 1


@click.command()
@pool_options
@case_options
@click.option(
    "--raw", "send_raw", is_flag=True, help="Send the same samples raw too, UNPROTECTED, for comparison."
)
@click.option(
    "--samples", type=_COUNT, default=SAMPLES, show_default=True, help="Test samples to ask about, by --seed."
)
@click.option(
    "--classes",
    default="",
    help="The model's classes in the order of its outputs, with commas between.  [default: as protect left "
    "them beside the pool, or the case's]",
)
@click.option(
    "--batch",
    type=_COUNT,
    default=1,
    show_default=True,
    help="Samples a request; more than one with --pick sample, or a pool of one.",
)
@meter_options
@request_options
@trust_option
@common_options(out="File for the result as JSON.")
def evaluate(
    pool_path: Path,
    url: str,
    case: str,
    split: str | None,
    skip_bad: bool,
    send_raw: bool,
    samples: int,
    classes: str,
    model: str | None,
    protocol: str,
    timeout_s: float,
    meter: Path | None,
    limit_bits: float | None,
    pick: str,
    batch: int,
    trust: tuple[str, ...],
    seed: int,
    data_dir: Path | None,
    out: Path | None,
    as_json: bool,
    debug: bool,
) -> int:
    r"""Ask a deployed backend about test samples of a case, obfuscated, and say how often it is right.

    Each sample is sent as `infer` sends it, and costs what a request costs. Nothing is trained.

    \b
    Example:
      obfnet evaluate --pool pool/ --case pictures/ --url http://127.0.0.1:8080
    """
    checked = trusted(trust)
    pool = read_pool(pool_path, trust=checked)
    with ExitStack() as opened:
        device = opened.enter_context(
            Device(
                pool,
                url,
                model=model,
                protocol=protocol,
                timeout_s=timeout_s,
                meter=meter,
                limit_bits=limit_bits,
                pick=pick,
            )
        )
        raw = None
        if send_raw:
            click.echo("obfnet: sending the same samples raw too, unprotected", err=True)
            raw = opened.enter_context(
                UnsafeRawPassthrough(url, pool.input, model=model, protocol=protocol, timeout_s=timeout_s)
            )
        found = run(
            device,
            case,
            raw=raw,
            samples=samples,
            classes=comma_separated(classes),
            split=split,
            batch=batch,
            skip_bad=skip_bad,
            seed=seed,
            data_dir=data_dir,
            command=typed_command(),
            progress=terminal_progress(),
        )
    print_result(found.figures, found.report.splitlines(), as_json=as_json, out=out)
    if found.complete:
        return 0
    # The figures of a part are printed and kept, marked; nobody shall take the command for a success.
    click.echo(f"obfnet: {found.figures['stopped']}", err=True)
    return _EXIT_PART
