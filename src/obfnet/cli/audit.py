"""`obfnet audit`: what can be rebuilt from what the backend receives, as `audit.json` and one page."""

import json
from pathlib import Path
from typing import Any, Final

import click

from obfnet.cli.console import terminal_progress
from obfnet.cli.options import (
    comma_separated,
    common_options,
    engine_options,
    on_ray,
    skip_bad_option,
    trust_option,
    typed_command,
)
from obfnet.core.errors import UsageError

_PATH: Final = click.Path(path_type=Path)
_EXIT_OVER: Final = 3


@click.command()
@click.argument("source", type=_PATH)
@click.option("--case", default=None, help="Data set that a pool or bundle is attacked with.")
@click.option("--split", default=None, help="How the case is cut.  [default: its first]")
@skip_bad_option
@click.option(
    "--inference",
    "inference_path",
    type=_PATH,
    default=None,
    help="Folder of `obfnet train inference`, whose network answers; without it the true labels do.",
)
@click.option(
    "--budget",
    type=click.Choice(["quick", "standard", "thorough"]),
    default="standard",
    show_default=True,
    help="How long attackers train, on how many samples.",
)
@click.option(
    "--threat",
    type=click.Choice(["T0", "T1", "T2", "T3"]),
    default=None,
    help="Highest threat level.  [default: T2; T3 for pairs]",
)
@click.option(
    "--attacks", default="", help="Only these attacks, with commas between.  [default: all of the budget]"
)
@click.option("--metrics", default="", help="Only these metrics, with commas between.  [default: all]")
@click.option(
    "--side",
    type=click.Choice(["data", "model"]),
    default="data",
    show_default=True,
    help="What leaks: the data, or (model) what a bundle tells about the inference network.",
)
@click.option(
    "--fail-over",
    type=float,
    default=None,
    metavar="BOUND",
    help="Exit with 3 when the normalised leakage is above this.",
)
@engine_options("Where attacks run; the same audit comes out.")
@trust_option
@common_options(
    out="Folder for audit.json, report.html and what is kept to go on from.", out_default="obfnet-audit"
)
def audit(
    source: Path,
    case: str | None,
    split: str | None,
    skip_bad: bool,
    inference_path: Path | None,
    budget: str,
    threat: str | None,
    attacks: str,
    metrics: str,
    side: str,
    fail_over: float | None,
    engine: str,
    address: str | None,
    workers: int | None,
    trust: tuple[str, ...],
    seed: int,
    data_dir: Path | None,
    out: Path,
    as_json: bool,
    debug: bool,
) -> None:
    r"""Attack a pool, a bundle, or recorded pairs in many ways, and say how much leaks.

    SOURCE is a pool's folder, a bundle, or PAIRS.npz with arrays raw, obfuscated, label and, if you like,
    attribute.

    \b
    Example:
      obfnet audit pool/ --case mnist --budget quick --out audit/
    """
    from obfnet.auditing.ray_engine import RayEngine
    from obfnet.auditing.run import AuditRequest, run_audit
    from obfnet.auditing.settings import AuditSettings

    if side == "model" and fail_over is not None:
        raise UsageError("--fail-over with --side data", "--side model", "leave one of them out")
    ray = on_ray(engine, address, workers)
    settings = AuditSettings(
        budget=budget,
        threat_level=threat,
        attacks=comma_separated(attacks),
        metrics=comma_separated(metrics),
        seed=seed,
    )
    request = AuditRequest(
        source=source,
        case=case,
        split=split,
        skip_bad=skip_bad,
        inference=inference_path,
        data_dir=data_dir,
        trust=trust,
        side=side,
    )
    result = run_audit(
        request,
        settings,
        out=out,
        progress=terminal_progress(),
        command=typed_command(),
        engine=RayEngine(address=address, workers=workers) if ray else None,
    )
    click.echo(json.dumps(result, indent=2) if as_json else "\n".join(_lines(result, out)))
    leaked = result["headline"]["normalised_leakage"]
    # A finished audit of the data side has a figure: without one it would have been an error.
    if fail_over is not None and leaked > fail_over:
        click.echo(
            f"obfnet: expected a normalised leakage of at most {fail_over:g}, got {leaked:.3f}; "
            "use a stronger protection",
            err=True,
        )
        raise click.exceptions.Exit(_EXIT_OVER)


def _lines(result: dict[str, Any], out: Path) -> list[str]:
    lines = [result["headline"]["verdict"], ""]
    for attack in result["attacks"]:
        normalised = attack["normalised"]
        if attack["counted"] and normalised is not None:
            low, high = normalised["interval"]
            shown = f"{normalised['mean']:.3f} ({low:.3f} to {high:.3f})"
        else:
            shown = f"not counted: {attack['reason']}"
        lines.append(f"  {attack['name']:<20} {attack['threat_level']}  {shown}")
    return [*lines, "", f"report: {out / 'report.html'}", f"result: {out / 'audit.json'}"]
