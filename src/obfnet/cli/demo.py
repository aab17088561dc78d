"""`obfnet demo`: the main job, end to end."""

import importlib.util
import json
from pathlib import Path
from typing import Any, Final

import click

from obfnet.cli.console import terminal_progress
from obfnet.cli.options import common_options, skip_bad_option, typed_command
from obfnet.core.errors import MissingExtraError
from obfnet.data.cases import case_spec, split_rule

_NEEDED_LATE: Final = ("kserve", "sklearn", "jinja2")


@click.command()
@click.option(
    "--case",
    default="mnist",
    show_default=True,
    help="Data set, folder or CSV file; mnist falls back to 'digits', and says so.",
)
@click.option("--split", default=None, help="How the case is cut.  [default: its first]")
@skip_bad_option
@click.option(
    "--arch",
    default="",
    help="Inference network: cnn (I_C), mlp (I_M), residual, compact.  [default: the case's]",
)
@click.option(
    "--obfuscation",
    default="",
    help="Obfuscation networks: mlp (O_M), cnn (O_C), conv.  [default: the case's]",
)
@click.option(
    "--inference",
    "inference_path",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder of a trained inference network to use.  [default: train one]",
)
@click.option("--count", type=click.IntRange(1), default=4, show_default=True, help="Networks in the pool.")
@click.option("--quick", is_flag=True, help="The same with less training; its figures are worse.")
@common_options(out="Folder for everything the demo makes.", out_default="obfnet-demo")
def demo(
    case: str,
    split: str | None,
    skip_bad: bool,
    arch: str,
    obfuscation: str,
    inference_path: Path | None,
    count: int,
    quick: bool,
    seed: int,
    data_dir: Path | None,
    out: Path,
    as_json: bool,
    debug: bool,
) -> None:
    r"""Train, serve, obfuscate, ask, attack and report, with real parts on real digits.

    \b
    Example:
      obfnet demo --quick --out demo/
    """
    # What would stop it is found out now rather than after the training.
    split_rule(case_spec(case), split)
    for package in _NEEDED_LATE:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "all")
    try:
        from obfnet.demo.run import run_demo
        from obfnet.demo.settings import DemoSettings
    except ModuleNotFoundError as exc:
        if (exc.name or "").startswith("obfnet"):
            raise
        raise MissingExtraError(exc.name or "torch", "all") from exc
    settings = DemoSettings.full(
        case=case,
        split=split,
        architecture=arch,
        obfuscation_architecture=obfuscation,
        count=count,
        seed=seed,
    )
    command = typed_command()
    result = run_demo(
        settings.quick() if quick else settings,
        out=out,
        inference_path=inference_path,
        skip_bad=skip_bad,
        data_dir=data_dir,
        progress=terminal_progress(),
        command=command,
    )
    click.echo(json.dumps(result.figures, indent=2) if as_json else _table(result.figures))
    click.echo(f"report: {result.report_path}", err=as_json)


def _table(figures: dict[str, Any]) -> str:
    accuracy, leakage, bundle = figures["accuracy"], figures["leakage"], figures["obfuscation"]
    attack = f"{leakage['attack']}, {leakage['threat_level']}"
    rows = [
        ("accuracy, raw", f"{accuracy['raw']:.2%}"),
        (
            "accuracy, obfuscated (mean, worst)",
            f"{accuracy['obfuscated']:.2%}, {accuracy['obfuscated_worst']:.2%}",
        ),
        ("accuracy, device only at O's cost", f"{accuracy['device_only']:.2%}"),
        (f"SSIM rebuilt from obfuscated ({attack})", f"{leakage['ssim']:.3f}"),
        ("SSIM rebuilt from raw, same attack", f"{leakage['raw_ssim']:.3f}"),
        ("SSIM of the label alone (floor)", f"{leakage['floor_ssim']:.3f}"),
        (
            "normalised leakage (0 = label, 1 = raw)",
            "not to be had: the attack on raw does not beat the floor"
            if leakage["normalised"] is None
            else f"{leakage['normalised']:.2f}",
        ),
        (
            "one obfuscation on the device",
            f"{bundle['latency_us']:.0f} µs (runtime alone {bundle['bare_runtime_us']:.0f})",
        ),
        (
            "request, raw and obfuscated",
            f"{figures['request_bytes']['raw']} and {figures['request_bytes']['obfuscated']} bytes",
        ),
        ("time", f"{figures['seconds']['total']:.0f} s"),
    ]
    if (speaks := figures["attribute"]) is not None:
        rows.insert(
            7,
            (
                f"{speaks['attribute']} recognised ({speaks['attack']}, {speaks['threat_level']})",
                f"{speaks['accuracy']:.1%} (raw {speaks['raw_accuracy']:.1%}, chance {speaks['chance']:.1%})",
            ),
        )
    if (limited := figures["limited"]) is not None:
        bits, its = f"{limited['budget_bits']:g} bits", limited["leakage"]
        rows[-1:-1] = [
            (f"with a ceiling of {bits}: accuracy", f"{limited['accuracy']:.2%}"),
            (
                f"with a ceiling of {bits}: SSIM ({attack})",
                f"{its['ssim']:.3f} (from the label alone {its['label_ssim']:.3f})",
            ),
        ]
    width = max(len(name) for name, _ in rows)
    heading = f"case {figures['case']}, split {figures['split']}, {bundle['count']} networks"
    heading += f", protection {bundle['protection']}"
    if figures["case"] != figures["case_requested"]:
        heading += f" (fallback: {figures['case_requested']} could not be had)"
    return "\n".join([heading, *(f"  {name:<{width}}  {value}" for name, value in rows)])
