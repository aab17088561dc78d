"""The run of a grid: cell by cell, resumable, merged into the result file of the same grid and no other.

Measuring is made up here, since what a cell measures is not in question; `tests/e2e` runs real cells.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from obfnet.bench.cell import plan_for
from obfnet.bench.grid import Cell, Row
from obfnet.bench.paper import PaperBenchmark, bench_paper
from obfnet.core.errors import OutputError, UnknownNameError, UsageError
from obfnet.core.files import claim_output
from obfnet.core.progress import Silent
from obfnet.data.cases import load_case
from obfnet.data.fetch import NoSourceError
from obfnet.fitting import Schedule
from obfnet.training.inference import train_inference
from tests.unit.report.paper_figures import measured

ROWS = tuple(
    Row(case="digits", inference="mlp", obfuscation="mlp", hidden=hidden, seeds=(0, 1), share=0.05)
    for hidden in (16, 32)
)
ABSENT = Row(case="asl", split="scene", inference="compact", obfuscation="conv", seeds=(0,))


class Said(Silent):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Inference networks on the digits of seeds 0 and 1, so that no test trains its own."""
    digits, folder = load_case("digits"), tmp_path_factory.mktemp("networks")
    for seed in (0, 1):
        train_inference(
            digits,
            out=folder / str(seed),
            architecture="mlp",
            schedule=Schedule(epochs=0.2),
            seed=seed,
        )
    return tuple(f"digits/official/mlp={folder / str(seed)}" for seed in (0, 1))


@pytest.fixture
def work(tmp_path, monkeypatch, networks):
    """Runs a grid in a folder of its own; notes which cells were really measured."""

    class Work:
        out = tmp_path / "paper.json"
        folder = tmp_path / "work"
        cells: list[str] = []  # noqa: RUF012 - one a test
        stop_at = 1000

        def measure(self, cell, dataset, inference, at):
            if len(self.cells) >= self.stop_at:
                raise KeyboardInterrupt
            self.cells.append(cell.name)
            figures = measured(obfuscated=0.9 + 0.01 * cell.seed, hidden=cell.row.hidden)
            # The run itself adds these two.
            del figures["given"], figures["seconds"]
            return {**figures, "inference": {**figures["inference"], "id": inference.card.id}}

        def run(self, chosen=ROWS, *, rows=ROWS, grid="tiny", progress=None, inference=networks, **more):
            return bench_paper(
                PaperBenchmark(grid=grid, rows=rows, chosen=tuple(chosen), inference=inference, **more),
                work=self.folder,
                out=self.out,
                data_dir=None,
                progress=progress or Silent(),
                command="obfnet bench paper",
            )

    one = Work()
    one.cells = []
    monkeypatch.setattr("obfnet.bench.paper.measure_cell", one.measure)
    return one


def test_a_row_has_every_seed_and_what_they_have_in_common(work):
    result = work.run()
    assert result == json.loads(work.out.read_text())
    assert (result["complete"], result["missing_cells"], result["cells"]) == (True, 0, 4)
    row = result["rows"][0]
    assert (row["case"], row["split"], row["seeds"], row["share"]) == ("digits", "official", [0, 1], 0.05)
    assert row["split_about"] == "a fixed fifth of the samples"
    assert row["accuracy"]["obfuscated"] == {
        "mean": pytest.approx(0.905),
        "min": 0.9,
        "max": 0.91,
        "each": [0.9, 0.91],
    }
    assert row["obfuscation"]["hidden"] == 16
    assert len(set(row["inference"]["ids"])) == 2
    assert result["versions"]["torch"]


def test_a_stopped_run_keeps_what_was_finished_and_goes_on_there(work):
    work.stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        work.run()
    left = json.loads(work.out.read_text())
    assert (left["complete"], left["missing_cells"]) == (False, 1)
    assert [row["seeds"] for row in left["rows"]] == [[0, 1], [0]]
    work.stop_at = 1000
    said = Said()
    assert work.run(progress=said)["complete"]
    assert len(work.cells) == 4
    assert sum("measured before" in line for line in said.lines) == 3


def test_a_cell_is_measured_again_where_something_decisive_differs(work):
    work.run(ROWS[:1])
    more = Row(case="digits", inference="mlp", obfuscation="mlp", hidden=16, seeds=(0, 1), share=0.1)
    result = work.run([more], rows=(more, *ROWS[1:]))
    assert len(work.cells) == 4
    assert [row["share"] for row in result["rows"]] == [0.1]


def test_less_training_of_the_obfuscation_network_alone_is_another_cell_with_the_same_inference_network(work):
    brief = replace(ROWS[0], obfuscation_share=0.5)
    usual, result = work.run(ROWS[:1])["rows"][0], work.run([brief], rows=(brief, *ROWS[1:]))
    assert len(work.cells) == 4
    row = result["rows"][0]
    assert (row["share"], row["obfuscation_share"]) == (0.05, 0.5)
    assert row["inference"]["ids"] == usual["inference"]["ids"]
    digits = load_case("digits")
    (whole, half) = (plan_for(Cell(row=one, seed=0), digits) for one in (ROWS[0], brief))
    assert half == replace(whole, obfuscation=half.obfuscation)
    assert half.obfuscation.epochs == whole.obfuscation.epochs / 2


def test_a_damaged_cell_is_measured_again(work):
    work.run(ROWS[:1])
    for cell in work.folder.glob("tiny/cells/*.json"):
        cell.write_text("{")
    work.run(ROWS[:1])
    assert len(work.cells) == 4


def test_progress_says_which_cell_of_how_many_and_the_time_left(work):
    said = Said()
    work.run(progress=said)
    lines = [line for line in said.lines if line.startswith("cell ")]
    assert lines[0] == "cell 1 of 4: digits/official/mlp/mlp(16), seed 0"
    assert lines[3].startswith("cell 4 of 4: digits/official/mlp/mlp(32), seed 1; about ")
    assert lines[3].endswith(" min left")


def test_rows_that_are_not_run_now_are_kept(work):
    first = work.run(ROWS[:1])
    assert (first["complete"], first["missing_cells"]) == (False, 2)
    second = work.run(ROWS[1:])
    assert second["complete"]
    assert [row["row"] for row in second["rows"]] == [row.name for row in ROWS]
    assert second["rows"][0] == first["rows"][0]


def test_a_kept_row_says_how_it_was_made_where_that_was_otherwise(work):
    work.run(ROWS[:1])
    former = json.loads(work.out.read_text())
    former["machine"]["processor"] = "another"
    work.out.write_text(json.dumps(former))
    kept, fresh = work.run(ROWS[1:])["rows"]
    assert kept["machine"]["processor"] == "another"
    assert not {"machine", "versions", "command"} & fresh.keys()


def test_a_whole_row_is_not_replaced_by_a_part_of_it(work):
    whole = work.run(ROWS[:1])["rows"][0]
    for cell in work.folder.glob("tiny/cells/*.json"):
        cell.unlink()
    work.stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        work.run(ROWS[:1])
    assert json.loads(work.out.read_text())["rows"] == [whole]


@pytest.mark.parametrize("more", [{"grid": "other"}, {"seed": 7, "inference": ()}])
def test_a_result_of_another_grid_is_left_alone(work, more):
    work.run(ROWS[:1])
    before = work.out.read_bytes()
    with pytest.raises(OutputError, match=r"got one of (grid tiny|seed 0); give another --out"):
        work.run(**more)
    assert work.out.read_bytes() == before


@pytest.mark.parametrize("content", ["{", "[]", '{"rows": []}', '"text"'])
def test_another_file_is_left_alone(work, content):
    work.out.write_text(content)
    with pytest.raises(OutputError, match="another file"):
        work.run()
    assert work.out.read_text() == content


def test_a_work_folder_in_use_or_of_others_is_refused(work):
    with claim_output(work.folder, kind="bench-paper"), pytest.raises(OutputError, match="at work in it"):
        work.run()
    work.folder = work.folder.parent / "another"
    with claim_output(work.folder, kind="pool"):
        (work.folder / "pool.json").touch()
    with pytest.raises(OutputError, match="the output of 'obfnet pool'"):
        work.run()
    assert not work.cells
    assert not work.out.exists()


@pytest.fixture
def nothing_at_hand(tmp_path, monkeypatch):
    """Neither a data folder nor what another test decoded before."""
    monkeypatch.delenv("OBFNET_DATA", raising=False)
    monkeypatch.setenv("OBFNET_HOME", str(tmp_path / "home"))


@pytest.mark.usefixtures("nothing_at_hand")
def test_missing_data_stop_it_before_any_training(work):
    with pytest.raises(NoSourceError, match="of asl"):
        work.run([*ROWS, ABSENT], rows=(*ROWS, ABSENT))
    assert not work.cells
    assert not work.out.exists()


@pytest.mark.usefixtures("nothing_at_hand")
def test_missing_data_are_left_out_on_request_and_said(work):
    said = Said()
    result = work.run([*ROWS, ABSENT], rows=(*ROWS, ABSENT), skip_missing=True, progress=said)
    assert any(line.startswith("asl is left out: ") for line in said.lines)
    assert (result["skipped_cases"], result["missing_cells"], result["complete"]) == (["asl"], 1, False)
    with pytest.raises(UsageError, match="a case that can be had"):
        work.run([ABSENT], rows=(*ROWS, ABSENT), skip_missing=True)


def test_a_given_network_is_used_for_the_cells_of_its_seed(work, networks):
    card = json.loads((Path(networks[1].partition("=")[2]) / "inference.json").read_text())
    only = Row(case="digits", inference="mlp", obfuscation="mlp", seeds=(1,), share=0.05)
    row = work.run([only], rows=(only,), inference=networks[1:])["rows"][0]
    assert (row["inference"]["ids"], row["inference"]["given"]) == ([card["id"]], [True])
    assert not (work.folder / "tiny" / "inference").exists()


@pytest.mark.parametrize(
    "text", ["", "digits", "digits/official=x", "digits/official/cnn=x", "a/b/c/d=x", "=x"]
)
def test_a_given_network_that_is_not_named_by_a_row_is_refused(work, text):
    with pytest.raises(UsageError, match="CASE/SPLIT/ARCHITECTURE=FOLDER"):
        work.run(inference=(text,))


def test_a_given_network_of_another_seed_or_case_is_refused(work, networks):
    folder = networks[1].partition("=")[2]
    only = Row(case="digits", inference="mlp", obfuscation="mlp", seeds=(0,), share=0.05)
    with pytest.raises(UsageError, match="one of digits/official/mlp with seed 1"):
        work.run([only], rows=(only,), inference=networks[1:])
    with pytest.raises(UsageError, match="one of digits/official/mlp with seed 1"):
        work.run(rows=(*ROWS, ABSENT), inference=(f"asl/scene/compact={folder}",))


def test_an_unknown_architecture_is_refused_before_anything_is_made(work):
    wrong = Row(case="digits", inference="mlp", obfuscation="nonesuch", seeds=(0,))
    with pytest.raises(UnknownNameError, match="nonesuch"):
        work.run([wrong], rows=(wrong,), inference=())
    assert not work.folder.exists()
