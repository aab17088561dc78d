"""Looking at what was received: where it still looks like the sample, whoever the samples are of."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from obfnet.attacks import Observed
from obfnet.attacks.as_received import AsReceived
from obfnet.attacks.held_out import energy_distance
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
    "obfuscate",
    [
        lambda samples: samples,
        lambda samples: 1 - samples,
        lambda samples: 0.4 + 0.2 * samples,
        lambda samples: 0.6 - 0.2 * samples,
        lambda samples: np.rint(255 * samples).astype(np.uint8),
    ],
    ids=["as it is", "negative", "less contrast", "less contrast, negative", "bytes"],
)
def test_what_still_looks_like_the_sample_is_the_sample(
    obfuscate: Callable[[Samples], Samples],
) -> None:
    assert mean_ssim(guesses(obfuscate)) > 0.98


def test_samples_that_look_like_no_public_one_are_taken_as_they_are() -> None:
    # Fainter digits in another place.
    elsewhere = 0.1 + 0.7 * np.roll(RAW[PUBLIC], 2, axis=-1)
    for obfuscate in (lambda samples: samples, lambda samples: 1 - samples):
        assert mean_ssim(guesses(obfuscate, elsewhere)) > 0.98


@pytest.mark.parametrize(
    "raw", [RAW[PUBLIC], np.full_like(RAW[PUBLIC], 0.5)], ids=["public samples", "grey public samples"]
)
@pytest.mark.parametrize("count", [1, 300])
def test_a_stream_of_one_value_tells_nothing(raw: Samples, count: int) -> None:
    grey = np.full((count, 1, 16, 16), 0.25, np.float32)
    known = Observed(raw=raw, labels=LABELS[PUBLIC], stream=grey, answered=LABELS[:count])
    guess = AsReceived().fit(known, seed=0, progress=Silent())(grey, LABELS[:count])
    assert guess.shape == grey.shape
    assert np.ptp(guess) == 0


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (None, "requests of others, got none"),
        (RAW[:0], "requests of others, got none"),
        (RAW[:9, :, :4], r"received samples of the raw shape .*, got \(1, 4, 16\)"),
    ],
    ids=["no stream", "an empty one", "another shape"],
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
