"""Costs of requests of two levels: against a slow count of everything that a backend could have seen."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfnet.core.errors import RangeError
from obfnet.guarantees.nested_levels import may_be_rich, most_bits, poor_cost, rich_cost
from obfnet.guarantees.statement import guarantee_of


@given(share=st.floats(0.01, 0.99), poor=st.integers(0, 2), details=st.integers(1, 3))
def test_no_more_stories_cost_at_most_l_than_two_to_the_l(share: float, poor: int, details: int) -> None:
    """Every sequence of four requests, with the device's own rule of what may be rich."""
    bits, requests = poor + details, 4
    stories: list[tuple[float, int]] = []
    for levels in itertools.product((False, True), repeat=requests):
        cost, seen, rich_so_far = 0.0, 1, 0
        for number, rich in enumerate(levels):
            permitted = may_be_rich(share, requests=number, rich=rich_so_far)
            if rich and not permitted:
                break
            cost += rich_cost(bits, share) if rich else poor_cost(poor, share, permitted=permitted)
            seen *= 2**bits if rich else 2**poor
            rich_so_far += rich
        else:
            stories.append((cost, seen))
            assert rich_so_far <= share * requests + 1
            assert cost <= most_bits(poor, bits, share, requests=requests) + 1e-9
    assert sum(seen * 2.0**-cost for cost, seen in stories) <= 1 + 1e-9
    for limit, _ in stories:
        assert sum(seen for cost, seen in stories if cost <= limit) <= 2**limit * (1 + 1e-9)


@pytest.mark.parametrize(("bits", "share"), [(-1, 0.5), (math.inf, 0.5), (4, 0.0), (4, 1.0), (4, math.nan)])
def test_impossible_levels_are_refused(bits: float, share: float) -> None:
    for cost in (lambda: poor_cost(bits, share, permitted=True), lambda: rich_cost(bits, share)):
        with pytest.raises(RangeError):
            cost()


def test_the_guarantee_names_both_levels_and_what_many_requests_tell() -> None:
    promised = guarantee_of(17.0, poor_bits=8.0, rich_share=0.2)
    assert promised.budget_bits == 17.0
    for part in ("2^17 ", "2^8 ", "0.2 n + 1", f"{most_bits(8, 17, 0.2, requests=100):.0f}"[:3]):
        assert part in promised.statement
    assert any("meter" in assumption for assumption in promised.assumptions)
