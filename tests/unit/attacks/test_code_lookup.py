"""The dictionary of codes against a slow and obvious one, and its behaviour where there are no codes."""

import numpy as np
import pytest

from obfnet.attacks import WhiteBox
from obfnet.attacks.class_mean import ClassMean
from obfnet.attacks.code_lookup import CodeLookup
from obfnet.core.progress import Silent
from tests.unit.attacks.small_pairs import (
    ANSWERED,
    LABELS,
    RAW,
    SCORED,
    Samples,
    code,
    constant,
    guesses,
    known,
    mean_mse,
    mean_ssim,
    unchanged,
)


class Listener(Silent):
    """Keeps what an attack says, and the figure that it ends with."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.note = ""

    def say(self, line: str) -> None:
        self.lines.append(line)

    def finish(self, note: str = "") -> None:
        self.note = note


def fine_code(samples: Samples) -> Samples:
    """Sixteen bits: which of 4x4 fields are bright."""
    fields = samples.reshape(-1, 1, 4, 4, 4, 4).mean(axis=(3, 5)) > 0.3
    return fields.reshape(len(samples), -1).astype(np.uint8) * np.uint8(255)


def test_the_mean_of_a_code_is_what_a_slow_dictionary_gives() -> None:
    """One label, and codes that hold all there is to know: nothing is better than their mean."""
    random = np.random.default_rng(0)
    codes = random.integers(0, 8, 900)
    raw = (random.uniform(0.3, 0.7, (8, 6))[codes] + random.normal(0, 0.05, (900, 6))).clip(0, 1)
    raw = raw.astype(np.float32)
    received = random.uniform(size=(8, 3)).astype(np.float32)[codes]
    labels = codes % 2
    listener = Listener()
    fitted = CodeLookup().fit(WhiteBox(received=received, raw=raw, labels=labels), seed=0, progress=listener)
    guess = fitted(received[:100], labels[:100])
    slow = np.stack([raw[(received == each).all(axis=1)].mean(axis=0) for each in received[:100]])
    assert not listener.lines
    # The mean of a code's label is drawn a little to the class mean: four samples' worth.
    np.testing.assert_allclose(guess, slow, atol=0.02 if "label" in listener.note else 1e-6)


@pytest.mark.parametrize("obfuscate", [code, fine_code])
def test_a_code_is_answered_better_than_its_label(obfuscate: object) -> None:
    guess, floor = guesses(CodeLookup(), obfuscate), guesses(ClassMean(), constant)
    assert mean_ssim(guess) > mean_ssim(floor) - 0.002
    assert mean_mse(guess) < 0.97 * mean_mse(floor)


def test_more_bits_give_more_away() -> None:
    assert mean_ssim(guesses(CodeLookup(), fine_code)) > mean_ssim(guesses(CodeLookup(), code)) + 0.01


def test_on_raw_samples_it_is_a_nearest_neighbour_and_says_so() -> None:
    listener = Listener()
    guess = CodeLookup().fit(known(RAW), seed=0, progress=listener)(SCORED, ANSWERED)
    floor = guesses(ClassMean(), unchanged)
    assert "hardly more than one nearest neighbour" in listener.lines[0]
    assert mean_ssim(guess) > mean_ssim(floor) + 0.1
    assert mean_mse(guess) < 0.75 * mean_mse(floor)


def test_on_a_constant_it_does_not_beat_the_class_mean() -> None:
    guess, floor = guesses(CodeLookup(), constant), guesses(ClassMean(), constant)
    assert mean_ssim(guess) < mean_ssim(floor) + 0.01


def test_on_the_label_alone_it_does_not_beat_the_class_mean() -> None:
    prototypes = np.random.default_rng(3).uniform(size=(10, 5)).astype(np.float32)
    knowledge = WhiteBox(received=prototypes[LABELS], raw=RAW, labels=LABELS)
    guess = CodeLookup().fit(knowledge, seed=0, progress=Silent())(prototypes[ANSWERED], ANSWERED)
    assert mean_ssim(guess) < mean_ssim(guesses(ClassMean(), constant)) + 0.01


def test_a_code_that_was_never_seen_is_answered_as_the_nearest_one() -> None:
    received = (LABELS[:, None] / 10).astype(np.float32)
    fitted = CodeLookup().fit(WhiteBox(received=received, raw=RAW, labels=LABELS), seed=0, progress=Silent())
    near, exact = np.array([[0.31]], np.float32), np.array([[0.3]], np.float32)
    np.testing.assert_array_equal(fitted(near, np.array([3])), fitted(exact, np.array([3])))
    assert not np.array_equal(
        fitted(near, np.array([3])), fitted(np.array([[0.8]], np.float32), np.array([8]))
    )


@pytest.mark.parametrize("count", [1, 9, 10, 40])
def test_few_pairs_are_enough_to_try(count: int) -> None:
    fitted = CodeLookup(effort=0.01).fit(known(code(RAW), count=count), seed=0, progress=Silent())
    guess = fitted(code(SCORED[:3]), ANSWERED[:3])
    assert (guess.shape, guess.dtype) == ((3, 1, 16, 16), np.float32)
    assert 0 <= guess.min() <= guess.max() <= 1
