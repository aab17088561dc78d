"""How `obfnet bench` prints what it measured."""

import json
from pathlib import Path
from typing import Any

import click

from obfnet.core.files import write_json


def finish(result: dict[str, Any], rows: list[tuple[str, str]], out: Path, *, as_json: bool) -> None:
    """Writes a result file and prints it."""
    write_json(out, result)
    show(result, rows, out, as_json=as_json)


def show(result: dict[str, Any], rows: list[tuple[str, str]], out: Path, *, as_json: bool) -> None:
    """Prints a result as a table, or as JSON, with where its file lies."""
    table = "\n".join(
        ["| what | measured |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]
    )
    click.echo(json.dumps(result, indent=2) if as_json else table)
    click.echo(f"result: {out}", err=as_json)
