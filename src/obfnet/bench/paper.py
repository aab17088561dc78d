"""Runs the paper's grid, cell by cell, into one result file from which tables and plots are made.

A finished cell is a file of its own in the work folder, so that a stopped run goes on where it was; the
result file is written after every cell and says how much is missing. What a cell is, is `cell`'s.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from obfnet.bench.cell import Workplace, cell_fingerprint, inference_for, measure_cell
from obfnet.bench.former import former_result
from obfnet.bench.given import Given, given_networks, network_of
from obfnet.bench.grid import Cell, Row, cells
from obfnet.bench.summary import row_figures
from obfnet.core.errors import UsageError
from obfnet.core.files import claim_output, write_json
from obfnet.core.memory import give_back_memory
from obfnet.core.progress import Progress
from obfnet.core.result import provenance
from obfnet.data.case import Dataset
from obfnet.data.cases import case_spec, load_case, split_rule
from obfnet.data.fetch import NoSourceError
from obfnet.nets import INFERENCE_ARCHITECTURES, OBFUSCATION_ARCHITECTURES

# What a row may have of its own, where it was measured by another command or elsewhere than the rest.
_MADE: Final = ("command", "versions", "machine")


@dataclass(frozen=True, kw_only=True)
class PaperBenchmark:
    """What to run.

    Args:
        grid: Name of the grid, for the result file; files of different grids are never mixed.
        rows: The whole grid.
        chosen: The rows of it to run now.
        seed: Added to each row's seeds.
        seeds: So many of each row's seeds are run now, the first ones; None runs all.
        inference: Trained inference networks to use, each as `CASE/SPLIT/ARCHITECTURE=FOLDER`; each serves
            the cells of the seed that it was trained with.
        skip_missing: Whether cases that cannot be had are left out; otherwise they are an error.
        place: Processor that trains.
    """

    grid: str
    rows: tuple[Row, ...]
    chosen: tuple[Row, ...]
    seed: int = 0
    seeds: int | None = None
    inference: tuple[str, ...] = ()
    skip_missing: bool = False
    place: str = "auto"


def bench_paper(
    benchmark: PaperBenchmark,
    *,
    work: Path,
    out: Path,
    data_dir: Path | None,
    progress: Progress,
    command: str,
) -> dict[str, Any]:
    """Runs the chosen part of a grid; what was run before with the same settings is taken as it is.

    Args:
        benchmark: What to run.
        work: Folder of what is trained and measured; empty, missing, or a former run's.
        out: Result file; rows of the same grid that are not run now are kept in it.
        data_dir: Folder with the data sets, or None.
        progress: Told of every cell and step.
        command: For the result file.

    Returns:
        The content of `out`, which is written after every cell.

    Raises:
        OutputError: `out` is no result of this grid, or it or `work` cannot be written.
        UsageError: a name, or an inference network that is not one of the grid's.
        NoSourceError: a data set cannot be had; nothing was trained yet.
        ObfNetError: whatever a cell raises.

    Does not guarantee: that a stronger attack would not rebuild more, or recognise more.
    """
    result = _Result(benchmark, out, command)
    given = given_networks(benchmark.inference, benchmark.rows, seed=benchmark.seed)
    for row in benchmark.chosen:
        spec = case_spec(row.case)
        split_rule(spec, row.split)
        INFERENCE_ARCHITECTURES.get(spec.inference_architecture(row.inference))
        OBFUSCATION_ARCHITECTURES.get(spec.obfuscation_architecture(row.obfuscation))
    with claim_output(work, kind="bench-paper"):
        at = Workplace(folder=work / benchmark.grid, place=benchmark.place, progress=progress)
        rows = _at_hand(benchmark, data_dir, progress)
        result.skipped = sorted({row.case for row in benchmark.chosen} - {row.case for row in rows})
        # Now rather than after the first cell: a file that cannot be written is found out before training.
        result.write()
        todo = cells(rows, seed=benchmark.seed, most=benchmark.seeds)
        for cell, figures in _each(todo, given, data_dir, at):
            result.add(cell, figures)
            result.write()
    return result.content()


def _each(
    todo: Sequence[Cell], given: Given, data_dir: Path | None, at: Workplace
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    spent: dict[Cell, float] = {}
    name: tuple[str, str] | None = None
    dataset: Dataset | None = None
    for number, cell in enumerate(todo):
        left = _time_left(todo[number:], spent)
        at.progress.say(f"cell {number + 1} of {len(todo)}: {cell.name}{left}")
        if dataset is None or name != (cell.row.case, cell.row.split):
            # Two cases at once, or the peak of the last one kept, would be more than a small machine has.
            dataset, name = None, (cell.row.case, cell.row.split)
            give_back_memory()
            dataset = load_case(cell.row.case, split=cell.row.split, data_dir=data_dir, progress=at.progress)
        figures = _measured(cell, dataset, given, at)
        give_back_memory()
        spent[cell] = figures["seconds"]
        yield cell, figures


def _measured(cell: Cell, dataset: Dataset, given: Given, at: Workplace) -> dict[str, Any]:
    begun = time.monotonic()
    own = given.get((*network_of(cell.row), cell.seed))
    inference = own or inference_for(cell, dataset, at)
    path = at.folder / "cells" / f"{cell_fingerprint(cell, dataset, inference)}.json"
    try:
        figures: dict[str, Any] = json.loads(path.read_text())
        at.progress.say(f"{cell.name}: measured before, taken from {path.name}")
    except (OSError, ValueError):
        figures = {
            "cell": cell.name,
            "given": own is not None,
            **measure_cell(cell, dataset, inference, at),
            "seconds": round(time.monotonic() - begun, 1),
        }
        write_json(path, figures)
    return figures


class _Result:
    """The result file: rows measured now, and those that it had before."""

    def __init__(self, benchmark: PaperBenchmark, out: Path, command: str) -> None:
        self._benchmark, self._out = benchmark, out
        self._made = {"command": command, **provenance()}
        self._former = _former_rows(benchmark, out, self._made)
        self._cells: dict[str, dict[int, dict[str, Any]]] = {}
        self.skipped: list[str] = []

    def add(self, cell: Cell, figures: dict[str, Any]) -> None:
        """Takes a finished cell in."""
        self._cells.setdefault(cell.row.name, {})[cell.seed] = figures

    def write(self) -> None:
        """Writes the file, whole."""
        write_json(self._out, self.content())

    def content(self) -> dict[str, Any]:
        """What the file holds."""
        rows = [found for row in self._benchmark.rows if (found := self._row(row)) is not None]
        total = sum(len(row.seeds) for row in self._benchmark.rows)
        missing = total - sum(len(row["seeds"]) for row in rows)
        return {
            "command": self._made["command"],
            "grid": self._benchmark.grid,
            "complete": missing == 0,
            "cells": total,
            "missing_cells": missing,
            "skipped_cases": self.skipped,
            "rows": rows,
            "seed": self._benchmark.seed,
            "versions": self._made["versions"],
            "machine": self._made["machine"],
        }

    def _row(self, row: Row) -> dict[str, Any] | None:
        former, measured = self._former.get(row.name), self._cells.get(row.name, {})
        # A row that was whole is not replaced by a part of it.
        if len(measured) < max(1, len(former["seeds"]) if former else 0):
            return former
        return row_figures(row, measured)


def _former_rows(benchmark: PaperBenchmark, out: Path, made: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    settings = {"grid": benchmark.grid, "seed": benchmark.seed}
    what = f"a result of the {benchmark.grid} grid with seed {benchmark.seed}"
    former = former_result(out, what=what, key="row", same=settings)
    own = {name: former[name] for name in _MADE if name in former and former[name] != made[name]}
    found = {name: {**own, **row} for name, row in former["rows"].items()}
    known = {row.name: row for row in benchmark.rows}
    return {
        name: row
        for name, row in found.items()
        # What the grid has otherwise by now is measured anew.
        if name in known
        and _shares(row) == _shares(asdict(known[name]))
        and set(row["seeds"]) <= {benchmark.seed + one for one in known[name].seeds}
    }


def _shares(row: Mapping[str, Any]) -> tuple[float, ...]:
    # Older files do not have the middle one.
    return row["share"], row.get("obfuscation_share", 1.0), row["attack_share"]


def _at_hand(benchmark: PaperBenchmark, data_dir: Path | None, progress: Progress) -> list[Row]:
    # Every data set is read once before anything is trained: what is missing or broken shows now.
    missing: set[str] = set()
    for case, split in dict.fromkeys((row.case, row.split) for row in benchmark.chosen):
        if case in missing:
            continue
        try:
            load_case(case, split=split, data_dir=data_dir, progress=progress)
        except NoSourceError as exc:
            if not benchmark.skip_missing:
                raise
            progress.say(f"{case} is left out: {exc}")
            missing.add(case)
    rows = [row for row in benchmark.chosen if row.case not in missing]
    if not rows:
        raise UsageError("a case that can be had", "none", "give the folder of the data with --data-dir")
    return rows


def _time_left(todo: Sequence[Cell], spent: Mapping[Cell, float]) -> str:
    """What is left by what similar cells took: those of the same row, else of the same case, else all."""
    if not spent:
        return ""

    def expected(cell: Cell) -> float:
        for alike in (
            [seconds for other, seconds in spent.items() if other.row == cell.row],
            [seconds for other, seconds in spent.items() if other.row.case == cell.row.case],
        ):
            if alike:
                return sum(alike) / len(alike)
        return sum(spent.values()) / len(spent)

    return f"; about {sum(map(expected, todo)) / 60:.0f} min left"
