import pytest

from obfnet.core.errors import UsageError
from obfnet.protecting.choose import choose_network
from obfnet.training.protections import Purpose
from obfnet.training.published import Published


def purpose(side: int, architecture: str = "") -> Purpose:
    return Purpose(shape=(3, side, side), architecture=architecture, hidden=0, classes=10)


@pytest.mark.parametrize(
    ("side", "limits", "wanted"),
    [
        (16, {}, ("mlp", 100)),
        (64, {}, ("conv", 24)),
        (16, {"max_parameters": 60_000}, ("mlp", 32)),
        (64, {"max_macs": 5_000_000}, ("conv", 16)),
        (64, {"hidden": 8}, ("conv", 8)),
    ],
)
def test_the_widest_network_within_the_limits(side, limits, wanted) -> None:
    assert choose_network(Published(), purpose(side), **limits) == wanted


def test_an_architecture_that_was_asked_for_is_kept() -> None:
    assert choose_network(Published(), purpose(64, "mlp"))[0] == "mlp"


def test_limits_that_nothing_meets_name_the_smallest() -> None:
    with pytest.raises(UsageError, match=r"within 10 MACs, got at least [\d,]+ MACs, [\d,]+ parameters"):
        choose_network(Published(), purpose(16), max_macs=10)
