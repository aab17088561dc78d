"""Membership is told where an O remembers its samples, and not where it cannot; AUC as in scikit-learn."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from obfnet.attacks.membership import UNCHANGED, Membership, area_under_curve, infer_membership
from obfnet.core.errors import AttackError
from obfnet.data.table import Split
from obfnet.nets.obfuscation import ObfuscationMLP
from tests.unit.attacks.small_backend import SHAPE, TorchObfuscator, backend

Samples = np.ndarray[Any, Any]
COUNT = 300


class Lookup:
    """Remembers its training samples: these become a picture of their label, any other one stays."""

    def __init__(self, remembered: Split) -> None:
        self.labels = {
            sample.tobytes(): int(label)
            for sample, label in zip(remembered.samples, remembered.labels, strict=True)
        }

    def obfuscate(self, raw: Samples) -> Samples:
        out = raw.copy()
        for row, sample in enumerate(raw):
            if (label := self.labels.get(sample.tobytes())) is not None:
                out[row] = label / 10
        return out

    def differentiable(self) -> Any: ...


@pytest.fixture(scope="module")
def parts() -> tuple[Split, Split, Split]:
    """Public samples, members and others, all of one kind."""
    samples = backend().public
    order = np.random.default_rng(0).permutation(len(samples.labels))
    return tuple(  # type: ignore[return-value]
        samples.take(order[start:end]) for start, end in ((2 * COUNT, None), (0, COUNT), (COUNT, 2 * COUNT))
    )


def infer(
    pool: list[Any], parts: tuple[Split, Split, Split], *, seed: int = 0, substitute: Any = None
) -> Membership:
    public, members, others = parts
    return infer_membership(
        pool, public=public, members=members, non_members=others, substitute=substitute, seed=seed
    )


def test_an_o_that_remembers_is_found_out(parts: tuple[Split, Split, Split]) -> None:
    for substitute in (None, backend().network):
        found = infer([Lookup(parts[1])], parts, substitute=substitute)
        assert found.auc > 0.9
        assert found.interval[0] > 0.85
        assert (found.members, found.non_members) == (COUNT // 2, COUNT // 2)


def test_one_that_remembers_is_found_among_those_that_do_not(parts: tuple[Split, Split, Split]) -> None:
    assert infer([UNCHANGED, Lookup(parts[1])], parts).auc > 0.9


def test_an_untrained_o_and_none_tell_nothing(parts: tuple[Split, Split, Split]) -> None:
    torch.manual_seed(0)
    untrained = TorchObfuscator(ObfuscationMLP(SHAPE, 16))
    for network in (untrained, UNCHANGED):
        covered = 0
        for seed in range(5):
            low, high = infer([network], parts, seed=seed, substitute=backend().network).interval
            covered += low <= 0.5 <= high
        # An interval of 95 % misses now and then.
        assert covered >= 4


def test_the_seed_decides(parts: tuple[Split, Split, Split]) -> None:
    one, again, other = (infer([backend().obfuscator], parts, seed=seed) for seed in (0, 0, 1))
    assert one == again != other


def test_labels_that_the_attacker_has_no_sample_of(parts: tuple[Split, Split, Split]) -> None:
    public, members, others = parts
    few = public.take(np.flatnonzero(public.labels < 1))
    found = infer([Lookup(members)], (few, members, others))
    assert np.isfinite(found.auc)


def test_bytes_are_taken_as_shares_are(parts: tuple[Split, Split, Split]) -> None:
    levels = [np.rint(part.samples * 255).astype(np.uint8) for part in parts]
    found = [
        infer(
            [backend().obfuscator],
            tuple(Split(samples=raw, labels=part.labels) for raw, part in zip(form, parts, strict=True)),
        )
        for form in (levels, [level / np.float32(255) for level in levels])
    ]
    assert found[0] == found[1]


def test_the_area_is_scikit_learns() -> None:
    random = np.random.default_rng(0)
    inside, outside = random.integers(0, 8, 50).astype(float), random.integers(0, 6, 70).astype(float)
    expected = roc_auc_score([1] * 50 + [0] * 70, np.concatenate([inside, outside]))
    assert area_under_curve(inside, outside) == pytest.approx(expected, abs=1e-12)


def test_no_network_and_too_few_samples_are_refused(parts: tuple[Split, Split, Split]) -> None:
    with pytest.raises(AttackError, match="at least one obfuscation network"):
        infer([], parts)
    few = parts[1].take(np.arange(19))
    with pytest.raises(AttackError, match="at least 20 members and as many non-members, got 19 and 300"):
        infer([UNCHANGED], (parts[0], few, parts[2]))
