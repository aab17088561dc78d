import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from torch import nn

from obfnet import protect, sweep
from obfnet.core.errors import ModelError, OutputError, TrainingError, UnknownNameError, UsageError
from obfnet.core.progress import Silent
from obfnet.models.wishes import Wishes
from obfnet.protecting import run
from obfnet.protecting.settings import ProtectSettings
from obfnet.protecting.sweep import Span, Swept, settings_of
from obfnet.training import engine

QUICK = ProtectSettings(count=2, epochs=2, attacks=("ridge",))
SPAN = Span(protections=("coded", "published"), bits=(8,), count=(2,))


class Heard(Silent):
    """Keeps what the user is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


@pytest.fixture(scope="module")
def swept(digits_model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    out = tmp_path_factory.mktemp("sweep") / "out"
    return sweep(digits_model, "digits", out=out, span=SPAN, settings=QUICK)


@pytest.mark.parametrize(
    ("span", "names"),
    [
        (Span(), ["coded-4-k2", "coded-8-k2", "coded-16-k2"]),
        (Span(protections=("published",)), ["published-k2"]),
        (Span(protections=("published", "coded"), bits=(8, 8)), ["published-k2", "coded-8-k2"]),
        (Span(bits=(8,), count=(1, 4)), ["coded-8-k1", "coded-8-k4"]),
        (Span(protections=("adversarial",), bits=[]), ["adversarial-k2"]),
        (
            Span(protections=("randomised", "coded"), bits=(8,), epsilon=(16.0, 0.5)),
            ["randomised-8-epsilon16-k2", "randomised-8-epsilon0.5-k2", "coded-8-k2"],
        ),
        (
            Span(protections=("gaussian", "selective"), bits=(32,), noise=(0.5,), rich_share=(0.1, 0.2)),
            ["gaussian-32-noise0.5-k2", "selective-32-rich0.1-k2", "selective-32-rich0.2-k2"],
        ),
        (
            Span(protections=("gaussian",), bits=(32,), noise=(0.50000001, 0.5)),
            ["gaussian-32-noise0.50000001-k2", "gaussian-32-noise0.5-k2"],
        ),
    ],
)
def test_each_protection_is_tried_with_what_it_takes(span: Span, names: list[str]) -> None:
    found = settings_of(span, replace(QUICK, seed=5))
    assert list(found) == names
    assert {(one.seed, one.epochs, one.attacks) for one in found.values()} == {(5, 2, ("ridge",))}
    for name, one in found.items():
        assert name.startswith(one.protection)
        assert one.bits is None or str(one.bits) in name


def test_what_a_span_leaves_open_is_as_the_settings_say() -> None:
    base = ProtectSettings(protection="selective", bits=32, rich_share=0.2, count=3)
    assert list(settings_of(Span(), base)) == ["selective-32-rich0.2-k3"]
    assert settings_of(Span(), base)["selective-32-rich0.2-k3"] == base
    assert list(settings_of(Span(), replace(base, protection="coded", rich_share=None))) == ["coded-32-k3"]


@pytest.mark.parametrize("given", [{"protections": "coded"}, {"bits": 8}, {"noise": 0.5}])
def test_one_value_where_several_may_be_is_refused(given: Any) -> None:
    with pytest.raises(UsageError, match=r"several values of \w+, in a tuple, got .*; write \("):
        Span(**given)


@pytest.mark.parametrize(
    ("span", "error", "message"),
    [
        (Span(protections=("prayer",)), UnknownNameError, "prayer"),
        (Span(count=(1, 0)), UsageError, "a pool of at least 1 network, got 0"),
        (Span(count=(9000,)), UsageError, "a pool of at most 8,192 networks, got 9,000"),
        (Span(protections=("published",), bits=(8,)), UsageError, "takes --bits, got published"),
        (Span(epsilon=(3.0,)), UsageError, "takes --epsilon, got coded"),
        (Span(rich_share=(0.3,)), UsageError, "takes --rich-share, got coded"),
        (Span(bits=(8, 0)), UsageError, "a code of 1 to 4096 bits for protection coded, got 0"),
        (Span(protections=("randomised",), bits=(8,)), UsageError, "epsilon"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(
    span: Span, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        sweep("nobody:knows", "nowhere/", out=tmp_path / "out", span=span)
    assert not (tmp_path / "out").exists()


def test_a_pool_is_what_protect_makes_alone(swept: Swept, digits_model: nn.Module, tmp_path: Path) -> None:
    alone = protect(digits_model, "digits", out=tmp_path / "alone", settings=replace(QUICK, bits=8))
    files = sorted(path.name for path in alone.folder.glob("*.obfnet"))
    assert len(files) == 2
    for name in files:
        assert (swept.folder / "coded-8-k2" / name).read_bytes() == (alone.folder / name).read_bytes()
    for name in ("accuracy", "leakage", "budget_bits"):
        assert swept.pools["coded-8-k2"].figures[name] == alone.figures[name]


def test_the_table_is_of_the_pools(swept: Swept) -> None:
    written = json.loads((swept.folder / "sweep.json").read_text())
    assert written == swept.figures
    assert [row["name"] for row in written["rows"]] == ["coded-8-k2", "published-k2"]
    for row in written["rows"]:
        own = json.loads((swept.folder / row["name"] / "result.json").read_text())
        assert all(own[key] == value for key, value in row.items() if key not in ("name", "settings"))
        assert row["settings"]["epochs"] == QUICK.epochs
        assert row["leakage"]["normalised"] <= row["leakage"]["normalised_p95"]
        low, high = row["leakage"]["normalised_interval"]
        assert low <= row["leakage"]["normalised"] <= high
        assert f"{low:.3f} to {high:.3f}" in swept.report
    assert {"model", "measured_as", "samples", "versions", "machine", "command"} <= written.keys()
    head, coded, published = swept.report.splitlines()[-3:]
    assert head.split()[0] == "setting"
    assert coded.split()[:3] == ["coded-8-k2", "8", "bits"]
    assert published.split()[:3] == ["published-k2", "no", "limit"]
    assert "1 of 1 count" in coded


def test_the_page_shows_every_setting_and_leads_to_its_report(swept: Swept) -> None:
    page = (swept.folder / "sweep.html").read_text()
    for name in swept.pools:
        assert f'<a href="{name}/report.html">' in page
        assert (swept.folder / name / "report.html").is_file()
    assert page.count("<svg") == 1
    right = swept.figures["rows"][0]["accuracy"]
    interval = stats.binomtest(round(right["device_only"] * right["samples"]), right["samples"])
    low, high = (round(100 * end, 1) for end in interval.proportion_ci(method="wilson"))
    assert re.search(rf"{low}\W%\s+to\s+{high}\W%", page)
    assert page.count('class="interval"') == 3 * len(swept.pools)
    assert "8 bits" in page
    assert "more than 2<sup>b</sup> times as large" in page
    assert "Not in the table" not in page
    assert not re.search(r"""(src|href)=["'](?!#|[\w.-]+/report)""", page)


def test_a_larger_sweep_trains_what_is_new(digits_model: nn.Module, tmp_path: Path, swept: Swept) -> None:
    first = sweep(
        digits_model,
        "digits",
        out=tmp_path / "out",
        span=replace(SPAN, protections=("coded",)),
        settings=QUICK,
    )
    before = (first.folder / "coded-8-k2" / "digits-000.obfnet").stat().st_mtime_ns
    told = Heard()
    both = sweep(digits_model, "digits", out=tmp_path / "out", span=SPAN, settings=QUICK, progress=told)
    assert (both.folder / "coded-8-k2" / "digits-000.obfnet").stat().st_mtime_ns == before
    assert [line for line in told.said if "reused" in line] == [
        f"pool: {tmp_path / 'out' / 'coded-8-k2'} was trained with these settings before, reused"
    ]
    for one, other in zip(both.figures["rows"], swept.figures["rows"], strict=True):
        assert one["accuracy"] == other["accuracy"]


def test_a_foreign_folder_is_left_alone(digits_model: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="to be empty or a former 'sweep' output"):
        sweep(digits_model, "digits", out=tmp_path, span=SPAN, settings=QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("parts", ["one part", "two parts"])
def test_a_setting_that_cannot_be_trained_stops_no_other(
    parts: str, digits_model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if parts == "two parts":
        monkeypatch.setattr(engine, "PART", 1)
    # Four bits after a third of a pass are a code that has collapsed, whatever the machine.
    span = Span(protections=("coded", "published"), bits=(4,), count=(2,))
    short = replace(QUICK, epochs=0.02)
    made = sweep(digits_model, "digits", out=tmp_path / "out", span=span, settings=short)
    assert list(made.pools) == ["published-k2"]
    assert list(made.failed) == ["coded-4-k2"]
    assert "a code that collapsed" in str(made.failed["coded-4-k2"])
    assert json.loads((tmp_path / "out" / "sweep.json").read_text())["failed"].keys() == {"coded-4-k2"}
    page = (tmp_path / "out" / "sweep.html").read_text()
    assert "Not in the table" in page
    assert "coded-4-k2: expected" in page
    assert made.report.splitlines()[-1] == "coded-4-k2: not made"
    assert not (tmp_path / "out" / "coded-4-k2" / "pool.json").exists()
    with pytest.raises(TrainingError, match=r"none; coded-4-k2: .*a code that collapsed"):
        sweep(
            digits_model,
            "digits",
            out=tmp_path / "none",
            span=replace(span, protections=("coded",)),
            settings=short,
        )


def test_what_was_measured_of_a_former_pool_goes_with_it(
    digits_model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, span = tmp_path / "out", replace(SPAN, protections=("coded",))
    sweep(digits_model, "digits", out=out, span=span, settings=QUICK)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "measure", stopped)
    with pytest.raises(KeyboardInterrupt):
        sweep(digits_model, "digits", out=out, span=span, settings=replace(QUICK, epochs=3))
    left = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {"coded-8-k2/pool.json", "coded-8-k2/training.json"} <= left
    assert not left & {"sweep.json", "sweep.html", "coded-8-k2/result.json", "coded-8-k2/report.html"}


def test_a_table_stays_where_nothing_could_be_begun(
    swept: Swept, digits_model: nn.Module, tmp_path: Path
) -> None:
    before = (swept.folder / "sweep.json").read_bytes()
    for model, settings in (("nobody:knows", QUICK), (digits_model, replace(QUICK, attacks=("nobody",)))):
        with pytest.raises((ModelError, UnknownNameError)):
            sweep(model, "digits", out=swept.folder, span=SPAN, settings=settings)
    assert (swept.folder / "sweep.json").read_bytes() == before


def test_agreement_is_called_so(digits_model: nn.Module, tmp_path: Path) -> None:
    settings = replace(QUICK, labels=False)
    made = sweep(
        digits_model,
        "digits",
        out=tmp_path / "out",
        span=Span(protections=("published",), count=(1,)),
        settings=settings,
        wishes=Wishes(range="-1,1"),
    )
    page = (made.folder / "sweep.html").read_text()
    assert "agreement with the model, %" in page
    assert "the model is right about" not in page
