"""The budget meter: counts before anything is sent, keeps its count, and trusts no broken file."""

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from obfnet.core.errors import BudgetSpentError, DataError, OutputError, UsageError
from obfnet.edge.meter import BudgetMeter

POOL = "ab" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "meter.json"


def test_bits_add_up_and_outlive_the_process(path: Path) -> None:
    meter = BudgetMeter(POOL, path=path)
    meter.spend(16)
    meter.spend(4)
    assert (meter.spent_bits, meter.requests) == (20, 2)
    assert BudgetMeter(POOL, path=path).spent_bits == 20
    assert BudgetMeter(POOL).spent_bits == 0


@pytest.mark.parametrize("kept", [True, False])
def test_a_limit_is_never_passed_and_a_refusal_costs_nothing(path: Path, kept: bool) -> None:
    meter = BudgetMeter(POOL, limit_bits=33, path=path if kept else None)
    meter.spend(16)
    meter.spend(16)
    with pytest.raises(BudgetSpentError, match=r"at most 33 bits .* got 32 spent and 16 more asked for"):
        meter.spend(16)
    assert meter.spent_bits == 32
    meter.spend(1)
    assert meter.spent_bits == 33


def _spend(path: Path, times: int) -> None:
    meter = BudgetMeter(POOL, path=path)
    for _ in range(times):
        meter.spend(1)


def test_two_processes_lose_no_bit(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_spend, args=(path, 50)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    assert BudgetMeter(POOL, path=path).spent_bits == 100


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '"x"']
    + [
        json.dumps({"format_version": 1, "pool": POOL, "spent_bits": bits, "requests": 1})
        for bits in (-1, float("nan"), float("inf"), "much")
    ]
    + [
        json.dumps({"format_version": 2, "pool": POOL, "spent_bits": 1, "requests": 1}),
        json.dumps({"pool": POOL, "spent_bits": 1}),
    ],
)
def test_a_broken_file_is_no_fresh_start(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(DataError, match="got a broken file"):
        BudgetMeter(POOL, path=path)
    assert path.read_text() == content


def test_a_file_broken_while_it_runs_stops_the_device(path: Path) -> None:
    meter = BudgetMeter(POOL, path=path)
    path.write_text("{")
    with pytest.raises(DataError, match="broken"):
        meter.spend(1)


def test_a_file_that_goes_away_while_it_runs_is_counted_on(path: Path) -> None:
    meter = BudgetMeter(POOL, path=path)
    meter.spend(5)
    path.unlink()
    meter.spend(5)
    assert BudgetMeter(POOL, path=path).spent_bits == 10


def test_another_pools_meter_is_refused(path: Path) -> None:
    BudgetMeter("cd" * 32, path=path).spend(1)
    with pytest.raises(DataError, match=r"pool abab.* got that of pool cdcd"):
        BudgetMeter(POOL, path=path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="can be written"):
        BudgetMeter(POOL, path=tmp_path / "meter.json")


def test_a_path_without_a_folder_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="can be written"):
        BudgetMeter(POOL, path=tmp_path / "nowhere" / "meter.json")


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_refused(limit: float) -> None:
    with pytest.raises(UsageError, match="a limit above 0 bits"):
        BudgetMeter(POOL, limit_bits=limit)


def test_a_protection_without_a_ceiling_cannot_be_counted() -> None:
    with pytest.raises(UsageError, match="a finite number of bits"):
        BudgetMeter(POOL).spend(float("inf"))


def test_of_two_levels_no_more_than_the_share_is_rich_across_restarts(path: Path) -> None:
    permitted = [
        BudgetMeter(POOL, path=path).spend_one_of_two(poor_bits=4, rich_bits=20, share=0.25)
        for _ in range(12)
    ]
    meter = BudgetMeter(POOL, path=path)
    assert permitted == [True, False, False, True] + [False, False, False, True] * 2
    assert (meter.requests, meter.rich, meter.spent_bits) == (12, 4, 4 * 20 + 8 * 4)


def test_what_was_counted_as_rich_and_is_not_is_given_back(path: Path) -> None:
    meter = BudgetMeter(POOL, path=path)
    for _ in range(5):
        assert meter.spend_one_of_two(poor_bits=4, rich_bits=20, share=0.25)
        meter.give_back(15)
    assert (meter.requests, meter.rich, meter.spent_bits) == (5, 0, 25)


def test_a_limit_holds_for_what_a_rich_request_may_cost(path: Path) -> None:
    meter = BudgetMeter(POOL, limit_bits=10, path=path)
    with pytest.raises(BudgetSpentError):
        meter.spend_one_of_two(poor_bits=4, rich_bits=20, share=0.25)
    assert (meter.requests, meter.rich, meter.spent_bits) == (0, 0, 0)


@pytest.mark.parametrize("rich", [-1, 2, "some", None])
def test_a_count_of_rich_requests_that_cannot_be_is_a_broken_file(path: Path, rich: object) -> None:
    count = {"format_version": 1, "pool": POOL, "spent_bits": 1.0, "requests": 1}
    path.write_text(json.dumps({**count, "rich": rich}))
    with pytest.raises(DataError, match="got a broken file"):
        BudgetMeter(POOL, path=path)
    path.write_text(json.dumps(count))
    assert BudgetMeter(POOL, path=path).rich == 0
