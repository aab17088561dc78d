"""What an attacker is handed: pairs that belong together, and never those that it is scored on."""

import numpy as np
import pytest

from obfnet.attacks import WhiteBox
from obfnet.core.errors import AttackError

RAW = np.random.default_rng(0).random((6, 1, 4, 4), dtype=np.float32)
LABELS = np.arange(6)


def test_a_sample_that_the_attacker_knows_cannot_be_scored() -> None:
    knowledge = WhiteBox(received=1 - RAW[:4], raw=RAW[:4], labels=LABELS[:4])
    knowledge.forbid_overlap(RAW[4:])
    with pytest.raises(AttackError, match="never saw the samples it is scored on, got 2 it knew"):
        knowledge.forbid_overlap(RAW[2:])


def test_a_known_sample_is_known_in_any_precision() -> None:
    knowledge = WhiteBox(received=RAW, raw=RAW, labels=LABELS)
    with pytest.raises(AttackError, match="1 it knew"):
        knowledge.forbid_overlap(RAW[3:4].astype(np.float64))


@pytest.mark.parametrize(
    ("received", "raw", "labels"),
    [
        (RAW[:5], RAW, LABELS),
        (RAW, RAW, LABELS[:5]),
        (RAW[:0], RAW[:0], LABELS[:0]),
    ],
    ids=["fewer received", "fewer labels", "none"],
)
def test_pairs_that_do_not_belong_together_are_refused(
    received: np.ndarray, raw: np.ndarray, labels: np.ndarray
) -> None:
    with pytest.raises(AttackError, match=r"record .* again"):
        WhiteBox(received=received, raw=raw, labels=labels)
