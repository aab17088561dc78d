"""What a bundle tells about I, put together: the rows, what they assume, and the sentence."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from obfnet.auditing.model_side import measure_model_confidentiality
from obfnet.core.errors import AttackError, UsageError
from obfnet.data.table import Split
from tests.unit.attacks.small_backend import backend

Samples = np.ndarray[Any, Any]
EVERYTHING = 100_000
LITTLE = 0.002


def measure(**changed: Any) -> dict[str, Any]:
    public = backend().public
    order = np.random.default_rng(0).permutation(len(public.labels))
    arguments: dict[str, Any] = {
        "public": public.take(order[120:]),
        "scored": backend().scored,
        "obfuscators": [backend().obfuscator],
        "ask": backend().ask,
        "members": backend().trained_on,
        "non_members": public.take(order[:120]),
        # As many as there are, once.
        "queries": (EVERYTHING, 2 * EVERYTHING),
        "effort": LITTLE,
    }
    return measure_model_confidentiality(**(arguments | changed))


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    """One measurement that is long enough to say something."""
    return measure(effort=0.04, public_is="disjoint", trained_on=backend().trained_on.samples)


def row(result: dict[str, Any], *, answers: str, bundles: bool, least: int = 0) -> dict[str, Any]:
    return next(
        row
        for row in result["substitute"]
        if row["answers"] == answers and row["bundles"] == bundles and row["queries"] >= least
    )


def test_every_row_is_there_and_the_result_is_json(whole: dict[str, Any]) -> None:
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole
    rows = whole["substitute"]
    most = max(row["queries"] for row in rows)
    assert 900 < most < 1_200
    kinds = [(row["queries"], row["answers"], row["bundles"]) for row in rows]
    assert kinds == [
        (0, "none", False),
        (0, "none", True),
        (0, "none", True),
        *[(most, answers, bundles) for answers in ("labels", "scores") for bundles in (False, True)],
    ]
    assert len({row["knowledge"] for row in rows}) == len(rows)


def test_figures_lie_in_their_intervals(whole: dict[str, Any]) -> None:
    for one in whole["substitute"]:
        for name in ("agreement", "agreement_obfuscated", "transfer"):
            low, high = one[f"{name}_interval"]
            assert 0 <= low <= one[name] <= high <= 1
        assert 0 <= one["noise"] <= 1
    for entry in whole["bundle_adds"]:
        for name in ("agreement", "agreement_obfuscated", "transfer"):
            low, high = entry[name]["interval"]
            assert low <= entry[name]["difference"] <= high


def test_answers_tell_more_than_none_and_a_bundle_tells_of_obfuscated_samples(whole: dict[str, Any]) -> None:
    nothing = row(whole, answers="none", bundles=False)
    asked = row(whole, answers="scores", bundles=False, least=500)
    held = row(whole, answers="none", bundles=True)
    assert asked["agreement"] > nothing["agreement"] + 0.02
    assert held["agreement_obfuscated_interval"][0] > nothing["agreement_obfuscated_interval"][1]
    assert asked["transfer"] > nothing["noise"] + 0.2


def test_the_differences_are_those_of_the_rows(whole: dict[str, Any]) -> None:
    rows = {row["knowledge"]: row for row in whole["substitute"]}
    assert len(whole["bundle_adds"]) == sum(row["bundles"] for row in rows.values())
    for entry in whole["bundle_adds"]:
        more, less = rows[entry["knowledge"]], rows[entry["over"]]
        assert (more["queries"], more["answers"]) == (less["queries"], less["answers"])
        assert entry["agreement"]["difference"] == pytest.approx(more["agreement"] - less["agreement"])


def test_membership_stands_beside_its_control(whole: dict[str, Any]) -> None:
    found = whole["membership"]
    assert (found["members"], found["non_members"]) == (60, 60)
    for name, figure in (("interval", "auc"), ("control_interval", "control")):
        assert 0 <= found[name][0] <= found[figure] <= found[name][1] <= 1


def test_the_assumptions_say_whose_the_samples_are(whole: dict[str, Any]) -> None:
    assert any("checked by value" in line for line in whole["assumptions"])
    for public_is, words in (
        ("disjoint", "by the caller's word"),
        ("training", "a strong attacker"),
        ("unknown", "is not known"),
    ):
        result = measure(public_is=public_is, queries=(), obfuscators=[])
        assert any(words in line for line in result["assumptions"])
    with pytest.raises(UsageError, match="public_is of disjoint, training, unknown"):
        measure(public_is="mine")


def test_samples_that_are_said_to_be_disjoint_and_are_not_are_refused() -> None:
    with pytest.raises(AttackError, match="got 7 that were"):
        measure(
            public=backend().public,
            public_is="disjoint",
            trained_on=backend().public.samples[:7],
            non_members=None,
        )


def test_nothing_is_trained_on_what_is_scored_or_asked_membership_of() -> None:
    public, scored = backend().public, backend().scored
    joined = Split(
        samples=np.concatenate([public.samples, scored.samples, backend().trained_on.samples]),
        labels=np.concatenate([public.labels, scored.labels, backend().trained_on.labels]),
    )
    mixed = measure(public=joined, queries=(50,), obfuscators=[])
    apart = measure(public=public, queries=(50,), obfuscators=[])
    assert mixed["substitute"] == apart["substitute"]
    assert any("120 of the attacker's samples were left out" in line for line in apart["assumptions"])
    assert any("600 of the attacker's samples were left out" in line for line in mixed["assumptions"])
    with pytest.raises(AttackError, match="public samples that are not scored"):
        measure(public=scored)


def test_without_bundles_there_is_no_row_of_them_and_no_membership() -> None:
    result = measure(obfuscators=[], queries=(30,))
    assert [row["bundles"] for row in result["substitute"]] == [False] * 3
    assert {row["agreement_obfuscated"] for row in result["substitute"]} == {None}
    assert result["membership"] is None
    assert result["bundle_adds"] == []


def test_a_bundle_without_gradients_leaves_one_row_out() -> None:
    class Opaque:
        def obfuscate(self, raw: Samples) -> Samples:
            return backend().obfuscator.obfuscate(raw)

        def differentiable(self) -> Any:
            raise AttackError("an operator with a gradient", "none", "leave it out")

    result = measure(obfuscators=[Opaque()], queries=())
    assert [row["bundles"] for row in result["substitute"]] == [False, True]
    assert result["membership"] is not None


def test_shares_are_as_good_as_logits_and_the_seed_decides() -> None:
    def shares(samples: Samples) -> Samples:
        return torch.softmax(torch.from_numpy(backend().ask(samples)), 1).numpy()

    one, again, other = (
        measure(ask=ask, queries=(40,), seed=seed, obfuscators=[])
        for ask, seed in ((backend().ask, 0), (backend().ask, 0), (backend().ask, 1))
    )
    as_shares = measure(ask=shares, queries=(40,), obfuscators=[])
    assert one == again
    assert one != other
    for a, b in zip(one["substitute"], as_shares["substitute"], strict=True):
        assert a["agreement"] == pytest.approx(b["agreement"], abs=0.02)


def test_the_backend_is_asked_no_more_than_was_paid_for() -> None:
    asked: list[int] = []

    def ask(samples: Samples) -> Samples:
        assert samples.dtype == np.float32
        assert 0 <= samples.min() <= samples.max() <= 1
        asked.append(len(samples))
        return backend().ask(samples)

    measure(ask=ask, queries=(40, 80), obfuscators=[], members=None)
    scored = len(backend().scored.labels)
    # 80 questions once, the judge's own on scored samples, on noise, and on five rows' adversarial examples.
    assert sum(asked) <= 80 + scored + 6 * scored


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda samples: np.zeros(len(samples)), r"scores of shape \(N, K\)"),
        (lambda samples: np.full((len(samples), 10), np.nan), r"finite scores"),
        (lambda samples: np.eye(11)[np.full(len(samples), 10)], "answers some scored samples right"),
    ],
)
def test_a_backend_that_answers_no_scores_is_refused(ask: Any, message: str) -> None:
    with pytest.raises(AttackError, match=message):
        measure(ask=ask)
