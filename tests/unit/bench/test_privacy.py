"""The privacy benchmark: trains and audits a small case, goes on from what there is, and keeps other rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from obfnet.auditing.settings import AuditSettings
from obfnet.bench.grid import Row
from obfnet.bench.privacy import _ROWS, PUBLISHED, PrivacyBenchmark, bench_privacy, privacy_rows
from obfnet.core.errors import OutputError, UnknownNameError, UsageError
from obfnet.core.progress import Silent

ROW = Row(case="digits", inference="mlp", obfuscation="mlp", hidden=16, seeds=(0,), share=0.5)


class Heard(Silent):
    """Keeps the lines that were said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def measured(folder: Path, progress: Silent | None = None, **settings: Any) -> dict[str, Any]:
    audit = AuditSettings(budget="quick", attacks=("ridge", "pca-neighbour"), metrics=("mse",), **settings)
    return bench_privacy(
        PrivacyBenchmark(rows=(ROW,), audit=audit, place="cpu"),
        work=folder / "work",
        out=folder / "privacy.json",
        data_dir=None,
        progress=progress or Silent(),
        command="obfnet bench privacy",
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("privacy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_ROWS, "published", (*PUBLISHED, ROW))
        measured(folder)
    return folder


def test_every_case_of_the_paper_is_in_it() -> None:
    assert [row.case for row in PUBLISHED] == ["mnist", "fsd", "asl", "cifar10"]
    assert [row.case for row in privacy_rows("cifar10, mnist", "published")] == ["mnist", "cifar10"]
    assert [row.bits for row in privacy_rows("mnist")] == [None, 16, 8, 4, None, 16, 16, 16, 32]
    with pytest.raises(UsageError, match="rows of cifar10 with randomised"):
        privacy_rows("cifar10", "randomised")
    with pytest.raises(
        UnknownNameError, match="known: published, coded, adversarial, randomised, gaussian, selective"
    ):
        privacy_rows("mnist", "magic")
    with pytest.raises(UnknownNameError, match="known: mnist, fsd, asl, cifar10"):
        privacy_rows("mnist,moon")


def test_a_row_has_accuracy_beside_what_leaks(finished: Path) -> None:
    (row,) = json.loads((finished / "privacy.json").read_text())["rows"]
    assert (row["row"], row["protection"], row["budget_bits"]) == (ROW.name, "published", None)
    # Trained for a moment: better than chance is enough here.
    assert 0.15 < row["accuracy"]["obfuscated"] <= 1
    assert 0.7 < row["accuracy"]["raw"] <= 1
    baselines = row["baselines"]
    # Trained for a moment, they may be no better than chance.
    assert all(0 < baselines[name] <= 1 for name in ("device_only", "head"))
    shares = [one["share"] for one in baselines["selective_raw"]]
    assert shares == sorted(shares)
    # Whoever sends more samples raw gets nearer to the backend's own accuracy.
    right = [one["accuracy"] for one in baselines["selective_raw"]]
    assert baselines["device_only"] <= right[0] < right[-1] <= row["accuracy"]["raw"]
    low, high = row["headline"]["normalised_leakage_interval"]
    assert low <= row["headline"]["normalised_leakage"] <= high
    assert {attack["name"] for attack in row["attacks"]} == {"ridge", "pca-neighbour"}
    assert all(attack["controls"]["identity"]["passed"] for attack in row["attacks"] if attack["counted"])
    # The backend was asked: its answers, right or wrong, are what an attacker sees.
    assert row["subject"]["warnings"] == []


def test_what_was_trained_and_attacked_is_taken_as_it_is(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_ROWS, "published", (*PUBLISHED, ROW))
    before = json.loads((finished / "privacy.json").read_text())
    heard = Heard()
    again = measured(finished, heard)
    assert again["rows"][0]["headline"] == before["rows"][0]["headline"]
    assert sum("attacked before" in line for line in heard.lines) >= 8
    assert sum("reused" in line for line in heard.lines) == 2


def test_results_of_another_budget_or_kind_are_not_mixed(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "privacy.json").write_text(
        (finished / "privacy.json").read_text().replace("quick", "thorough", 1)
    )
    with pytest.raises(OutputError, match="one of budget"):
        measured(tmp_path, seed=1)
    (tmp_path / "privacy.json").write_text("[]")
    with pytest.raises(OutputError, match="another file"):
        measured(tmp_path)
    assert not (tmp_path / "work").exists()


def test_the_bytes_that_a_device_sends_do_not_depend_on_batch_or_engine(tmp_path: Path) -> None:
    from obfnet.bench.cell import Workplace, inference_for, obfuscation_for
    from obfnet.bench.grid import Cell
    from obfnet.bench.parity import measure_parity
    from obfnet.data.cases import load_case

    row = Row(
        case="digits", inference="mlp", obfuscation="mlp", hidden=64, share=0.5, protection="coded", bits=6
    )
    dataset, at = load_case("digits"), Workplace(folder=tmp_path, place="cpu", progress=Silent())
    cell = Cell(row=row, seed=0)
    bundle = obfuscation_for(cell, dataset, inference_for(cell, dataset, at), at)
    found = measure_parity(bundle, dataset.test.samples)
    assert found["samples"] == len(dataset.test.labels)
    assert (found["in_batches"], found["torch"]) == (0, 0)
    assert 1 < found["outputs"] <= 2**6
