import json
from pathlib import Path

import pytest

from obfnet.bundle import BUNDLE_STEPS, POOL_STEPS, Trust, verify, write_pool
from obfnet.core.errors import BundleError
from tests.malformed import corpus, pools
from tests.malformed.corpus import KEY, NETWORK_ID, PUBLIC_KEY
from tests.malformed.pools import named_bundle

TRUST = Trust(explicit=(PUBLIC_KEY,))


def test_report_of_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "a.obfnet").write_bytes(corpus.good())
    report = verify(tmp_path / "a.obfnet", trust=TRUST, inference_network_id=NETWORK_ID)
    assert (report.kind, report.count, report.public_key) == ("bundle", 1, PUBLIC_KEY)
    assert report.inference_network_id == NETWORK_ID
    assert report.budget_bits is None
    assert [check.step for check in report.checks] == list(BUNDLE_STEPS)
    assert [check.number for check in report.checks] == list(range(1, len(BUNDLE_STEPS) + 1))
    made = [check.step for check in report.checks if check.made]
    assert made == [step for step in BUNDLE_STEPS if not step.startswith("budget-")]
    assert report.bundles[0].protection == "published"
    assert report.bundles[0].size_bytes == len(corpus.good())


def test_check_that_was_not_asked_for_is_not_claimed(tmp_path: Path) -> None:
    (tmp_path / "a.obfnet").write_bytes(corpus.good())
    report = verify(tmp_path / "a.obfnet", trust=TRUST)
    assert [check.step for check in report.checks if not check.made] == [
        "inference-network",
        "budget-cut",
        "budget-exact",
    ]


def test_report_of_a_pool_by_folder_and_by_its_list(tmp_path: Path) -> None:
    pools.good(tmp_path)
    for path in (tmp_path, tmp_path / "pool.json"):
        report = verify(path, trust=TRUST)
        assert (report.kind, report.count) == ("pool", 3)
        assert [check.step for check in report.checks] == [*POOL_STEPS, *BUNDLE_STEPS]
    assert json.loads(json.dumps(report.to_dict()))["count"] == 3


@pytest.mark.parametrize(("budgets", "wanted"), [((4.0, 8.0), 8.0), ((4.0, None), None)])
def test_budget_of_a_pool_is_that_of_its_weakest_bundle(
    budgets: tuple[float | None, ...], wanted: float | None, tmp_path: Path
) -> None:
    bundles = [named_bundle(f"o{seed}", seed=seed, budget_bits=bits) for seed, bits in enumerate(budgets)]
    write_pool(tmp_path, bundles, KEY)
    assert verify(tmp_path, trust=TRUST).budget_bits == wanted


def test_what_is_wrong_raises(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="check 'file'"):
        verify(tmp_path / "nothing", trust=TRUST)
    with pytest.raises(BundleError, match="check 'pool-index'"):
        verify(tmp_path, trust=TRUST)


def test_a_budget_is_reported_as_proved(tmp_path: Path) -> None:
    (tmp_path / "a.obfnet").write_bytes(named_bundle("coded", seed=0, budget_bits=4.0))
    report = verify(tmp_path / "a.obfnet", trust=TRUST)
    assert report.budget_bits == 4
    made = {check.step for check in report.checks if check.made}
    assert {"budget-cut", "budget-exact"} <= made
