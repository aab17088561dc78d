"""Adversarial examples: on the network itself they fool far more than noise, and never leave their bounds."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from obfnet.attacks.transfer import fooled, pgd, random_noise, usual_eps
from obfnet.core.errors import AttackError
from obfnet.data.rows import Rows
from tests.unit.attacks.small_backend import backend

Samples = np.ndarray[Any, Any]


def answered_right() -> tuple[Samples, Samples]:
    scored = backend().scored
    right = np.flatnonzero(backend().ask(scored.samples.copy()).argmax(1) == scored.labels)
    return scored.samples[right], scored.labels[right]


def test_on_the_network_itself_it_fools_far_more_than_noise() -> None:
    samples, labels = answered_right()
    changed = pgd(backend().network, samples, labels, eps=0.2, seed=0)
    noisy = random_noise(samples, eps=0.2, seed=0)
    assert fooled(backend().ask, changed, labels).mean() > 0.9
    assert fooled(backend().ask, noisy, labels).mean() < 0.25


@pytest.mark.parametrize("change", ["pgd", "noise"])
def test_no_value_is_changed_by_more_than_allowed(change: str) -> None:
    samples, labels = answered_right()
    changed = (
        pgd(backend().network, samples, labels, eps=0.1, seed=0)
        if change == "pgd"
        else random_noise(samples, eps=0.1, seed=0)
    )
    assert changed.dtype == np.float32
    assert changed.shape == samples.shape
    assert 0 <= changed.min() <= changed.max() <= 1
    assert 0.09 < np.abs(changed - samples).max() <= 0.1 + 1e-6


def test_on_a_linear_network_it_is_the_sign_of_the_weights() -> None:
    # The best change is known there: every value by eps towards the other label.
    network = nn.Linear(6, 2, bias=False)
    samples = np.full((5, 6), 0.5, np.float32)
    labels = np.array([0, 1, 0, 1, 0])
    weights = network.weight.detach().numpy()
    towards = np.sign(weights[1 - labels] - weights[labels])
    changed = pgd(network, samples, labels, eps=0.2, seed=0)
    np.testing.assert_allclose(changed, 0.5 + 0.2 * towards, rtol=0, atol=1e-6)


def test_the_batch_and_the_networks_mode_do_not_matter() -> None:
    samples, labels = answered_right()
    samples, labels = samples[:260], labels[:260]
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.BatchNorm1d(64), nn.Linear(64, 10)).train()
    whole = pgd(network, samples, labels, eps=0.1, seed=0)
    lazy = Rows(lambda index: samples[index], samples.shape, samples.dtype)
    np.testing.assert_array_equal(pgd(network, lazy, labels, eps=0.1, seed=0), whole)
    assert network.training
    assert all(value.grad is None for value in network.parameters())
    assert int(network[2].num_batches_tracked) == 0


def test_the_seed_decides() -> None:
    samples, labels = answered_right()
    for change in (
        lambda seed: random_noise(samples, eps=0.1, seed=seed),
        lambda seed: pgd(backend().network, samples, labels, eps=0.1, seed=seed, steps=1),
    ):
        one, again, other = change(0), change(0), change(1)
        np.testing.assert_array_equal(one, again)
        assert (one != other).any()


def test_who_is_fooled_is_counted_sample_by_sample() -> None:
    scores = torch.eye(3)[[0, 1, 2, 2]].numpy()
    assert fooled(lambda samples: scores, np.zeros((4, 1), np.float32), np.array([0, 2, 2, 1])).tolist() == [
        False,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize("eps", [0, -0.1, 1.1, float("nan")])
def test_a_size_out_of_range_is_refused(eps: float) -> None:
    samples, labels = answered_right()
    for change in (
        lambda: pgd(backend().network, samples, labels, eps=eps, seed=0),
        lambda: random_noise(samples, eps=eps, seed=0),
    ):
        with pytest.raises(AttackError, match="eps in"):
            change()


def test_no_step_is_refused() -> None:
    samples, labels = answered_right()
    with pytest.raises(AttackError, match="at least 1 step"):
        pgd(backend().network, samples, labels, eps=0.1, seed=0, steps=0)


def test_photographs_are_changed_by_less() -> None:
    assert usual_eps((3, 64, 64)) == pytest.approx(8 / 255)
    assert usual_eps((1, 28, 28)) == usual_eps((40,)) == 0.3
