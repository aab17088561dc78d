"""Looking at what was received: where it still looks like the sample, whoever the samples are of."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from obfnet.attacks import Observed
from obfnet.attacks.as_received import AsReceived, energy_distance
from obfnet.core.errors import AttackError
from obfnet.core.progress import Silent
from tests.unit.attacks.small_pairs import ANSWERED, LABELS, RAW, SCORED, mean_ssim

Samples = np.ndarray[Any, Any]
PUBLIC, OTHERS = slice(0, None, 2), slice(1, None, 2)


def guesses(obfuscate: Callable[[Samples], Samples], raw: Samples = RAW[PUBLIC]) -> Samples:
    known = Observed(raw=raw, labels=LABELS[PUBLIC], stream=obfuscate(RAW[OTHERS]), answered=LABELS[OTHERS])
    guess = AsReceived().fit(known, seed=0, progress=Silent())(obfuscate(SCORED), ANSWERED)
    assert (guess.shape, guess.dtype) == (SCORED.shape, np.float32)
    assert 0 <= guess.min() <= guess.max() <= 1
    return guess


@pytest.mark.parametrize(
    ("obfuscate", "least"),
    [
        (lambda samples: samples, 0.98),
        (lambda samples: 1 - samples, 0.98),
        (lambda samples: 0.4 + 0.2 * samples, 0.98),
        (lambda samples: 0.6 - 0.2 * samples, 0.98),
        (lambda samples: np.rint(255 * samples).astype(np.uint8), 0.98),
    ],
    ids=["as it is", "negative", "less contrast", "less contrast, negative", "bytes"],
)
def test_what_still_looks_like_the_sample_is_the_sample(
    obfuscate: Callable[[Samples], Samples], least: float
) -> None:
    assert mean_ssim(guesses(obfuscate)) > least


def test_it_does_not_lean_on_public_samples_that_look_otherwise() -> None:
    # Digits on grey paper, in another place: what it takes over is their brightness alone.
    elsewhere = 0.2 + 0.6 * np.roll(RAW[PUBLIC], 2, axis=-1)
    assert mean_ssim(guesses(lambda samples: samples, elsewhere)) > 0.8


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (None, "requests of others, got none"),
        (RAW[:9, :, :4], r"received samples of the raw shape .*, got \(1, 4, 16\)"),
    ],
    ids=["no stream", "another shape"],
)
def test_without_anything_to_look_at_it_says_so(stream: Samples | None, message: str) -> None:
    known = Observed(raw=RAW, labels=LABELS, stream=stream, answered=LABELS[:9])
    with pytest.raises(AttackError, match=message):
        AsReceived().fit(known, seed=0, progress=Silent())


def test_energy_distance_is_the_definition_written_out() -> None:
    random = np.random.default_rng(0)
    some, others = random.normal(size=(7, 3)), random.normal(1, 1, size=(5, 3))

    def mean_between(one: Samples, two: Samples, *, same: bool) -> float:
        pairs = [
            float(np.linalg.norm(a - b))
            for i, a in enumerate(one)
            for j, b in enumerate(two)
            if not (same and i == j)
        ]
        return sum(pairs) / len(pairs)

    wanted = (
        2 * mean_between(some, others, same=False)
        - mean_between(some, some, same=True)
        - mean_between(others, others, same=True)
    )
    assert energy_distance(some, others) == pytest.approx(wanted)
