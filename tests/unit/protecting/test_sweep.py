import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from obfnet import protect, sweep
from obfnet.core.errors import OutputError, UnknownNameError, UsageError
from obfnet.core.progress import Silent
from obfnet.protecting.settings import ProtectSettings
from obfnet.protecting.sweep import Span, Swept, settings_of

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
        (Span(), ["coded-4", "coded-8", "coded-16"]),
        (Span(protections=("published",)), ["published"]),
        (Span(protections=("published", "coded"), bits=(8, 8)), ["published", "coded-8"]),
        (Span(bits=(8,), count=(1, 4)), ["coded-8-k1", "coded-8-k4"]),
        (Span(protections=("adversarial",), bits=()), ["adversarial"]),
        (
            Span(protections=("randomised", "coded"), bits=(8,), epsilon=(16.0, 0.5)),
            ["randomised-8-epsilon16", "randomised-8-epsilon0.5", "coded-8"],
        ),
        (
            Span(protections=("gaussian", "selective"), bits=(32,), noise=(0.5,), rich_share=(0.1, 0.2)),
            ["gaussian-32-noise0.5", "selective-32-rich0.1", "selective-32-rich0.2"],
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


@pytest.mark.parametrize(
    ("span", "error", "message"),
    [
        (Span(protections=("prayer",)), UnknownNameError, "prayer"),
        (Span(protections=()), UsageError, "a protection and a number of networks, got none"),
        (Span(count=()), UsageError, "a protection and a number of networks, got none"),
        (Span(protections=("published",), bits=(8,)), UsageError, "takes --bits, got published"),
        (Span(epsilon=(3.0,)), UsageError, "takes --epsilon, got coded"),
        (Span(rich_share=(0.3,)), UsageError, "takes --rich-share, got coded"),
        (Span(bits=(8, 0)), UsageError, "0"),
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
        assert (swept.folder / "coded-8" / name).read_bytes() == (alone.folder / name).read_bytes()
    for name in ("accuracy", "leakage", "budget_bits"):
        assert swept.pools["coded-8"].figures[name] == alone.figures[name]


def test_the_table_is_of_the_pools(swept: Swept) -> None:
    written = json.loads((swept.folder / "sweep.json").read_text())
    assert written == swept.figures
    assert [row["name"] for row in written["rows"]] == ["coded-8", "published"]
    for row in written["rows"]:
        own = json.loads((swept.folder / row["name"] / "result.json").read_text())
        assert all(own[key] == value for key, value in row.items() if key != "name")
    assert {"model", "measured_as", "samples", "versions", "machine", "command"} <= written.keys()
    head, coded, published = swept.report.splitlines()[-3:]
    assert head.split()[0] == "setting"
    assert coded.split()[:2] == ["coded-8", "8"]
    assert published.split()[:3] == ["published", "no", "limit"]


def test_the_page_shows_every_setting_and_leads_to_its_report(swept: Swept) -> None:
    page = (swept.folder / "sweep.html").read_text()
    for name in swept.pools:
        assert f'<a href="{name}/report.html">' in page
        assert (swept.folder / name / "report.html").is_file()
    assert page.count("<svg") == 1
    assert "8 bits" in page
    assert not re.search(r"""(src|href)=["'](?!#|[\w.-]+/report)""", page)


def test_a_larger_sweep_trains_what_is_new(digits_model: nn.Module, tmp_path: Path, swept: Swept) -> None:
    first = sweep(
        digits_model,
        "digits",
        out=tmp_path / "out",
        span=replace(SPAN, protections=("coded",)),
        settings=QUICK,
    )
    before = (first.folder / "coded-8" / "digits-000.obfnet").stat().st_mtime_ns
    told = Heard()
    both = sweep(digits_model, "digits", out=tmp_path / "out", span=SPAN, settings=QUICK, progress=told)
    assert (both.folder / "coded-8" / "digits-000.obfnet").stat().st_mtime_ns == before
    assert [line for line in told.said if "reused" in line] == [
        f"pool: {tmp_path / 'out' / 'coded-8'} was trained with these settings before, reused"
    ]
    for one, other in zip(both.figures["rows"], swept.figures["rows"], strict=True):
        assert one["accuracy"] == other["accuracy"]


def test_a_foreign_folder_is_left_alone(digits_model: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="to be empty or a former 'sweep' output"):
        sweep(digits_model, "digits", out=tmp_path, span=SPAN, settings=QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
