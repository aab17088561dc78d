"""`obfnet bench paper`: real cells on the bundled digits, through the same door as the command's, and the
command itself where it is asked for what cannot be.
"""

import json

import pytest

from obfnet.bench.grid import Row
from obfnet.bench.paper import PaperBenchmark, bench_paper
from obfnet.core.progress import Silent
from obfnet.report.paper_pages import paper_page
from tests.e2e.command import obfnet

pytestmark = pytest.mark.e2e

ROWS = tuple(
    Row(
        case="digits",
        inference="mlp",
        obfuscation="mlp",
        hidden=hidden,
        seeds=(0,),
        attack_share=0.1,
        tenth=True,
    )
    for hidden in (8, 48)
)


class Said(Silent):
    def __init__(self):
        self.lines, self.tasks = [], []

    def say(self, line):
        self.lines.append(line)

    def start(self, task, total):
        self.tasks.append(task)


def run(folder, chosen=ROWS):
    said = Said()
    result = bench_paper(
        PaperBenchmark(grid="tiny", rows=ROWS, chosen=chosen),
        work=folder / "work",
        out=folder / "paper.json",
        data_dir=None,
        progress=said,
        command="obfnet bench paper",
    )
    return result, said


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper")
    return folder, *run(folder)


def test_a_real_grid_measures_everything(finished):
    _, result, _ = finished
    assert result["complete"]
    narrow, wide = result["rows"]
    for row in result["rows"]:
        assert row["accuracy"]["raw"]["mean"] > 0.9
        # The bundle's own count, against the layers': 64 n + n and 64 n + 64.
        n = row["obfuscation"]["hidden"]
        assert (row["obfuscation"]["parameters"], row["obfuscation"]["macs"]) == (129 * n + 64, 128 * n)
        assert row["device_only"]["macs"] <= row["obfuscation"]["macs"]
        assert row["leakage"]["raw_ssim"]["mean"] > row["leakage"]["floor_ssim"]["mean"]
        assert row["leakage"]["normalised_p95"]["mean"] >= row["leakage"]["normalised"]["mean"]
        assert (row["leakage"]["attack"], row["leakage"]["threat_level"]) == ("decoder", "T2")
        assert row["attribute"] is None
        assert 0 < row["latency"]["bare_us"]["mean"] < row["latency"]["obfuscate_us"]["mean"]
        assert row["request_bytes"]["request"] > row["request_bytes"]["float32_tensor"] == 256
    assert wide["accuracy"]["obfuscated"]["mean"] > narrow["accuracy"]["obfuscated"]["mean"]
    assert wide["inference"]["ids"] == narrow["inference"]["ids"]
    assert "digits, official" in paper_page(result)


def test_networks_that_cells_share_are_trained_once(finished):
    _, _, said = finished
    # The second cell takes the inference network and the decoder on raw samples as they are.
    assert said.tasks.count("train inference network") == 1
    assert sum("inference network" in line and "reused" in line for line in said.lines) == 1


def test_a_second_run_measures_nothing_and_says_the_same(finished):
    folder, result, _ = finished
    again, said = run(folder)
    assert not said.tasks
    assert again["rows"] == result["rows"]


@pytest.mark.parametrize(
    ("arguments", "complaint", "code"),
    [
        (("--cases", "mnist,nonesuch"), "a known case of this grid", 2),
        (("--rows", "1000.."), "from 1 to 53", 2),
    ],
)
def test_the_command_refuses_what_it_has_not_in_one_line(tmp_path, arguments, complaint, code):
    outcome = obfnet("bench", "paper", *arguments, "--work", tmp_path / "w", "--out", tmp_path / "p.json")
    assert outcome.code == code
    assert complaint in outcome.complaint
    assert not list(tmp_path.iterdir())


def test_the_command_refuses_the_result_of_another_grid(tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "p.json"
    out.write_text(
        json.dumps({"grid": "full", "seed": 0, "rows": [], "command": "", "versions": {}, "machine": {}})
    )
    outcome = obfnet("bench", "paper", "--quick", "--work", tmp_path / "w", "--out", out)
    assert outcome.code == 1
    assert "got one of grid full" in outcome.complaint
    assert not (tmp_path / "w").exists()
