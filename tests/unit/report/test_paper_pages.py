"""The page of the grid: every figure beside its controls, and no word that the figures do not bear out."""

import json
from xml.etree import ElementTree

import pytest

from obfnet.bench.grid import Row
from obfnet.core.errors import DataError, MissingExtraError
from obfnet.report.paper_pages import compare_with_device_only, main, paper_page, write_pages
from obfnet.report.paper_plots import draw_plots, plot_titles
from tests.unit.report.paper_figures import digits_by_width, measured, result_of

SPEECH = Row(case="fsd", inference="cnn", obfuscation="mlp", seeds=(0, 1))


def page_of(*rows, **more):
    return paper_page(result_of(*rows, **more)).replace("\xa0", " ")


def one_row(*, row=SPEECH, **figures):
    return row, {seed: measured(**figures) for seed in row.seeds}


def verdict(*rows):
    return next(line for line in page_of(*rows).splitlines() if line.startswith("- **"))


def table(page):
    """Column title to cell, of the first row of the first table."""
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    titles, cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], lines[2]))
    return dict(zip(titles, cells, strict=True))


def test_a_table_names_attack_and_threat_level_and_every_control():
    row = table(page_of(one_row(speaker=0.93)))
    assert row["accuracy, raw"] == "99.0 % (99.0 % to 99.0 %)"
    assert row["SSIM (decoder, T2): floor, obfuscated, raw"].startswith("0.37 (")
    assert row["normalised leakage (decoder, T2): mean"].startswith("0.80")
    assert row["95th percentile"].startswith("0.90")
    assert row["speaker recognised (attribute-probe, T2): obfuscated"].startswith("93.0 %")
    assert row["raw; chance"] == "99.0 % (99.0 % to 99.0 %); 17.0 % (17.0 % to 17.0 %)"
    assert row["parameters, O; I"] == "157,684; 1,199,882"
    assert row["latency (bare runtime)"] == "53 µs (32 µs)"
    assert row["request (raw float32; JPEG)"] == "3.31 kB (3.14 kB; 700 bytes)"
    assert "trained" not in row


def test_one_seed_has_no_spread():
    single = Row(case="fsd", inference="cnn", obfuscation="mlp", seeds=(0,))
    assert table(page_of(one_row(row=single)))["obfuscated"] == "97.0 %"


def test_an_attack_that_fails_its_control_is_not_scaled():
    page = page_of(one_row(leakage=None))
    assert table(page)["normalised leakage (decoder, T2): mean"] == "–"
    assert "no better on raw samples than the label alone: too weak to judge by" in page
    assert "![" not in page


@pytest.mark.parametrize(
    ("obfuscated", "alone", "says"),
    [([0.97, 0.971], [0.95, 0.951], 1), ([0.95, 0.951], [0.97, 0.971], -1), ([0.96, 0.961], [0.96, 0.96], 0)],
)
def test_obfuscated_must_beat_device_only_by_more_than_the_spread(obfuscated, alone, says):
    def row(ours, theirs):
        cells = {seed: measured(obfuscated=ours[seed], device_only=theirs[seed]) for seed in range(len(ours))}
        return result_of((SPEECH, cells))["rows"][0]

    assert compare_with_device_only(row(obfuscated, alone)) == says
    # The same means from seeds that lie further apart say nothing.
    assert compare_with_device_only(row([obfuscated[0] - 0.05, obfuscated[1] + 0.05], alone)) == 0


def test_few_test_samples_cannot_tell_even_where_the_seeds_agree():
    assert compare_with_device_only(result_of(one_row(test=10_000))["rows"][0]) == 1
    assert compare_with_device_only(result_of(one_row(test=100))["rows"][0]) == 0


def test_it_says_where_the_method_earns_its_keep():
    text = verdict(one_row(obfuscated=0.93, device_only=0.7, tenth=0.5))
    assert text == (
        "- **fsd, official.** The method earns its keep in 1 of 1 row (mlp(100) through cnn: "
        "93.0 % obfuscated against 70.0 % device-only). At a tenth of O's cost a device-only classifier "
        "reaches 50.0 %. Normalised leakage under the decoder attack (threat level T2): 0.80."
    )


def test_it_says_where_a_device_only_classifier_does_as_well():
    text = verdict(one_row(obfuscated=0.95, device_only=0.98, speaker=0.9))
    assert "earns its keep" not in text
    assert (
        "A device-only classifier does as well (better in 1) in all of 1 row, 95.0 % obfuscated against "
        "98.0 % device-only: there remote inference buys only the confidentiality of the inference network."
    ) in text
    assert "speaker is recognised from obfuscated samples in 90.0 %, from raw ones in 99.0 %" in text
    assert "(attribute-probe attack, threat level T2; chance 17.0 %)" in text


def test_rows_of_both_kinds_are_told_apart():
    text = verdict(*digits_by_width((8, 16, 32, 64)))
    assert "earns its keep in 3 of 8 rows (cnn(64) through cnn:" in text
    assert "in the other 5" in text


def test_values_of_one_rule_share_a_table():
    rows = [
        one_row(row=Row(case="fsd", split=f"speaker:{who}", inference="cnn", obfuscation="mlp", seeds=(0,)))
        for who in ("theo", "lucas")
    ]
    page = page_of(*rows)
    assert page.count("### ") == 1
    assert [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| speaker")] == [
        "| speaker:theo",
        "| speaker:lucas",
    ]


def test_less_training_and_missing_cells_are_said_first():
    less = Row(
        case="fsd",
        inference="cnn",
        obfuscation="mlp",
        seeds=(0,),
        share=0.12,
        obfuscation_share=0.5,
        attack_share=0.25,
    )
    page = page_of(one_row(row=less), grid="quick", missing=8, skipped_cases=["asl"])
    head = page.split("## ")[0]
    assert "The quick grid, 1 row" in head
    assert "**Trained less**" in head
    assert "**Not complete**: 8 of 9 cells" in head
    assert "Left out, since the data could not be had: asl." in head
    assert table(page)["trained"] == "I 12 %, O 6 %, attack 25 %"
    assert "with full training either side may come out ahead" in page
    full = page_of(one_row())
    assert "Trained less" not in full
    assert "Not complete" not in full


def test_where_a_network_or_a_row_came_from_is_said():
    result = result_of(one_row())
    result["rows"][0]["inference"]["given"] = [True, False]
    result["rows"][0]["machine"] = {"processor": "another", "cores": 1}
    page = paper_page(result)
    assert "given, not trained by this command: cnn" in page
    assert "was measured on another machine or with other versions" in page


def test_a_result_without_rows_is_a_page():
    assert "Nothing is measured yet." in page_of(missing=3)


def test_what_is_no_result_is_named(tmp_path):
    for content in ("{", "[]", '{"rows": 1}'):
        (tmp_path / "paper.json").write_text(content)
        with pytest.raises(DataError, match=r"paper\.json"):
            write_pages(tmp_path / "paper.json")


def test_there_is_a_plot_a_case_and_one_where_the_width_varies():
    result = result_of(*digits_by_width(), one_row())
    assert list(plot_titles(result, "p")) == ["p-mnist.svg", "p-mnist-width.svg", "p-fsd.svg"]
    assert plot_titles(result_of(*digits_by_width((8, 16))), "p").keys() == {"p-mnist.svg"}


def test_plots_need_their_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"obfnet\[report\]"):
        draw_plots(result_of(one_row()), "paper")


def test_page_and_plots_are_written_beside_the_result_the_same_every_time(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    path = tmp_path / "paper.json"
    path.write_text(json.dumps(result_of(*digits_by_width(), one_row())))
    monkeypatch.setattr("sys.argv", ["paper_pages", str(path)])
    main()
    first = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert first.keys() == {
        "paper.json",
        "paper.md",
        "paper-mnist.svg",
        "paper-mnist-width.svg",
        "paper-fsd.svg",
    }
    write_pages(path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == first
    for name in ("paper-mnist.svg", "paper-mnist-width.svg", "paper-fsd.svg"):
        drawing = ElementTree.fromstring(first[name])
        text = " ".join(
            "".join(element.itertext()) for element in drawing.iter() if element.tag.endswith("}text")
        )
        assert "normalised leakage (decoder, T2)" in text
        assert "accuracy, %" in text
        assert f"]({name})" in first["paper.md"].decode()
        assert b"<dc:date>" not in first[name]
