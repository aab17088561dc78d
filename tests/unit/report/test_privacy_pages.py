"""The page of protections: what it says of accuracy, leakage, budgets and baselines, and its plots."""

import json
from pathlib import Path
from typing import Any

import pytest

from obfnet.core.errors import DataError
from obfnet.report.privacy_pages import draw_frontiers, privacy_page, write_privacy_pages


def attack(name: str, ssim: float, *, counted: bool = True) -> dict[str, Any]:
    return {
        "name": name,
        "counted": counted,
        "figures": {"ssim": {"mean": ssim}},
        "floor": {"ssim": 0.742},
        "raw": {"ssim": 0.933},
    }


def row(protection: str, bits: float | None, **changed: Any) -> dict[str, Any]:
    own = {
        "row": f"fsd/official/cnn/mlp, {protection}",
        "case": "fsd",
        "split": "official",
        "inference": "fsd-cnn",
        "obfuscation": "fsd-mlp",
        "hidden": 64,
        "protection": protection,
        "budget_bits": bits,
        "seed": 0,
        "accuracy": {"raw": 0.98, "obfuscated": 0.96},
        "baselines": {
            "device_only": 0.93,
            "head": 0.955,
            "selective_raw": [{"share": 0.1, "accuracy": 0.95}, {"share": 0.4, "accuracy": 0.97}],
        },
        "cost": {"parameters": 1_000, "macs": 2_000},
        "headline": {
            "normalised_leakage": 0.25,
            "normalised_leakage_interval": [0.2, 0.3],
            "normalised_leakage_p95": 0.6,
            "share_over_half": 0.125,
            "attack": "residual-decoder",
            "threat_level": "T2",
        },
        "attacks": [
            attack("residual-decoder", 0.812),
            attack("ridge", 0.75),
            attack("cheat", 0.99, counted=False),
        ],
        "attribute": {"attribute": "speaker", "chance": 1 / 6, "accuracy": 0.231},
        "reidentification": [
            {"candidates": 1_000, "k": 1, "rate": 0.034},
            {"candidates": 100, "k": 1, "rate": 0.2},
        ],
    }
    return {**own, **changed}


def result(*rows: dict[str, Any]) -> dict[str, Any]:
    return {
        "command": "obfnet bench privacy --budget quick",
        "budget": "quick",
        "seed": 0,
        "rows": list(rows),
    }


def test_every_figure_of_a_row_is_on_the_page_with_its_attack_and_budget() -> None:
    page = privacy_page([result(row("published", None), row("coded", 8.0))]).replace("\u00a0", " ")
    for shown in (
        "obfnet bench privacy --budget quick",
        "## fsd, official",
        "96.0 %",
        "93.0 %",
        "95.5 %",
        "0.812 (0.742, 0.933)",
        "0.250 [0.200, 0.300]",
        "12.5 %",
        "residual-decoder, T2",
        "3.4 %",
        "8 bits",
        "no ceiling",
        "speaker (chance 16.7 %)",
        "23.1 %",
    ):
        assert shown in page


def test_a_head_as_good_as_the_backend_is_said_and_one_that_is_not_too() -> None:
    page = privacy_page([result(row("coded", 8.0))])
    assert "a head on what is sent (95.5" in page
    assert "no accuracy" in page
    far = {**row("coded", 8.0)["baselines"], "head": 0.8, "device_only": 0.7}
    page = privacy_page([result(row("coded", 8.0, baselines=far))])
    assert "no classifier on the device comes within 1 point" in page


def test_selective_raw_is_said_at_the_same_leakage_where_it_was_measured() -> None:
    page = privacy_page([result(row("coded", 8.0))]).replace("\u00a0", " ")
    assert "selective raw of that mean leakage: 96.0 %" in page
    more = {**row("coded", 8.0)["headline"], "normalised_leakage": 0.5}
    assert "of that mean leakage" not in privacy_page([result(row("coded", 8.0, headline=more))])


@pytest.mark.parametrize(
    ("changed", "worthwhile"),
    [
        ({}, True),
        ({"normalised_leakage": 0.16}, False),
        ({"normalised_leakage_p95": 0.61}, False),
        ({"normalised_leakage_p95": None}, False),
        ({"device_only": 0.92}, False),
        ({"head": 0.915}, False),
        ({"selective_raw": [{"share": 0.1, "accuracy": 0.955}, {"share": 0.4, "accuracy": 0.97}]}, False),
    ],
)
def test_a_row_is_worthwhile_only_by_every_measure(changed: dict[str, Any], worthwhile: bool) -> None:
    one = row("coded", 8.0)
    headline, baselines = one["headline"], one["baselines"]
    headline |= {"normalised_leakage": 0.1, "normalised_leakage_p95": 0.6}
    baselines |= {"device_only": 0.9, "head": 0.905}
    baselines["selective_raw"][0]["accuracy"] = 0.945
    for name, value in changed.items():
        (baselines if name in baselines else headline)[name] = value
    assert privacy_page([result(one)]).count("; worthwhile.") == worthwhile


def test_a_row_that_was_trained_less_says_so() -> None:
    page = privacy_page([result(row("coded", 8.0, share=0.4), row("coded", 4.0, share=1.0))])
    assert page.replace("\u00a0", " ").count("O and its baselines trained for 40 % of the passes") == 1


def test_seeds_are_averaged_with_their_extent() -> None:
    second = row("coded", 8.0, seed=1)
    second["headline"] = {**second["headline"], "normalised_leakage": 0.35}
    page = privacy_page([result(row("coded", 8.0), second)]).replace("\u00a0", " ")
    assert "0.300 [0.250, 0.350]" in page
    assert "coded, 2 seeds" in page


def test_rows_without_baselines_or_a_leakage_still_make_a_page_and_a_plot() -> None:
    old = row("published", None)
    del old["baselines"], old["cost"]
    old["headline"] = {**old["headline"], "normalised_leakage": None, "normalised_leakage_p95": None}
    results = [result(old, row("coded", 4.0))]
    assert "not defined" in privacy_page(results)
    (drawn,) = draw_frontiers(results).items()
    assert drawn[0] == "privacy-fsd-official.svg"
    assert "4 bits" in drawn[1]
    assert drawn[1] == draw_frontiers(results)[drawn[0]]


def test_pages_are_written_and_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "privacy.json"
    path.write_text(json.dumps(result(row("coded", 8.0))))
    written = write_privacy_pages(tmp_path, [path])
    assert sorted(file.name for file in written) == ["privacy-fsd-official.svg", "privacy.md"]
    path.write_text("{}")
    with pytest.raises(DataError, match="results of `obfnet bench privacy`"):
        write_privacy_pages(tmp_path, [path])
