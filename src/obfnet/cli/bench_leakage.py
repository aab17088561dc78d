"""`obfnet bench privacy` and `obfnet bench audit`: what leaks, and whether the audit can tell."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from obfnet.cli.bench_output import show
from obfnet.cli.console import terminal_progress
from obfnet.cli.options import (
    comma_separated,
    common_options,
    processor_option,
    trust_option,
    typed_command,
)

_PATH: Final = click.Path(path_type=Path)
_MET: Final = {True: "as expected", False: "NOT AS EXPECTED", None: "measured"}

_attacks_option = click.option(
    "--attacks", default="", help="Only these attacks, with commas between.  [default: all of the budget]"
)


def _budget_option(default: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    return click.option(
        "--budget",
        type=click.Choice(["quick", "standard", "thorough"]),
        default=default,
        show_default=True,
        help="Of each audit.",
    )


@click.command()
@click.option("--cases", default="", help="Only these cases, with commas between.  [default: all]")
@click.option(
    "--protections", default="", help="Only these protections, with commas between.  [default: all]"
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Trainings of each row, from different seeds.",
)
@_budget_option("standard")
@_attacks_option
@click.option(
    "--work",
    type=_PATH,
    default=Path("runs/paper"),
    show_default=True,
    help="Folder of what is trained and attacked; may be that of `bench paper`, which is then gone on from.",
)
@click.option(
    "--inference",
    multiple=True,
    metavar="CASE/SPLIT/ARCH=DIR",
    help="Trained inference network to use; may be given several times.",
)
@processor_option
@common_options(out="Result file.", out_default="results/privacy.json")
def privacy(
    cases: str,
    protections: str,
    seeds: int,
    budget: str,
    attacks: str,
    work: Path,
    inference: tuple[str, ...],
    processor: str,
    seed: int,
    data_dir: Path | None,
    out: Path,
    as_json: bool,
    debug: bool,
) -> None:
    r"""Audit obfuscation on every case: accuracy beside what leaks.

    The rows of the result file that are not run now stay as they are.

    \b
    Example:
      obfnet bench privacy --cases mnist --budget quick
    """
    from obfnet.auditing.settings import AuditSettings
    from obfnet.bench.privacy import PrivacyBenchmark, bench_privacy, privacy_rows

    result = bench_privacy(
        PrivacyBenchmark(
            rows=privacy_rows(cases, protections),
            audit=AuditSettings(budget=budget, attacks=comma_separated(attacks), seed=seed),
            seeds=seeds,
            inference=inference,
            place=processor,
        ),
        work=work,
        out=out,
        data_dir=data_dir,
        progress=terminal_progress(),
        command=typed_command(),
    )
    rows = [(row["row"], row["headline"]["verdict"]) for row in result["rows"]]
    show(result, rows, out, as_json=as_json)


@click.command()
@click.option("--known", "names", default="", help="Only these obfuscations, with commas between.")
@click.option("--case", default="mnist", show_default=True, help="Data set, of pictures.")
@click.option(
    "--bundle",
    "bundle_path",
    type=_PATH,
    default=None,
    help="Bundle of this case to audit by its ONNX file, as a torch module, and from recorded pairs.",
)
@trust_option
@_budget_option("quick")
@_attacks_option
@click.option(
    "--work",
    type=_PATH,
    default=Path("runs/audit"),
    show_default=True,
    help="Folder of finished attacks; a stopped run goes on from it.",
)
@common_options(out="Result file.", out_default="results/audit.json")
def audit(
    names: str,
    case: str,
    bundle_path: Path | None,
    trust: tuple[str, ...],
    budget: str,
    attacks: str,
    work: Path,
    seed: int,
    data_dir: Path | None,
    out: Path,
    as_json: bool,
    debug: bool,
) -> None:
    r"""Judge the audit by obfuscations whose leakage is known, some of them made to fool it.

    \b
    Example:
      obfnet bench audit --known permutation,linear
    """
    from obfnet.auditing.settings import AuditSettings
    from obfnet.bench.audit import AuditBenchmark, bench_audit, known_obfuscations
    from obfnet.bundle import Trust, read_bundle

    progress = terminal_progress()
    bundle = (
        None
        if bundle_path is None
        else read_bundle(bundle_path, trust=Trust(explicit=trust, say=progress.say))
    )
    result = bench_audit(
        AuditBenchmark(
            known=known_obfuscations(comma_separated(names)),
            case=case,
            bundle=bundle,
            audit=AuditSettings(budget=budget, attacks=comma_separated(attacks), metrics=("mse",), seed=seed),
        ),
        work=work,
        out=out,
        data_dir=data_dir,
        progress=progress,
        command=typed_command(),
    )
    rows = [
        (
            row["name"],
            f"{_MET[row['met']]}: {row['expected']} (first of {row['seeds']}: "
            f"{row['each'][0]['normalised']:.3f}, {row['each'][0]['attack']})",
        )
        for row in result["rows"]
    ]
    if (readings := result["readings"]) is not None:
        each = ", ".join(f"{one['reading']} {one['normalised']:.3f}" for one in readings["each"])
        agree = "agree" if readings["agree"] else "DO NOT AGREE"
        rows.append((readings["bundle"], f"{agree} within their intervals: {each}"))
    show(result, rows, out, as_json=as_json)
