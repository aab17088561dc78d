"""The order of a model's labels, beside a search of all orders, and beside models whose order is known."""

from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn

from obfnet.core.errors import ModelError
from obfnet.models.label_order import best_order, is_clearly_better
from obfnet.models.source import open_model
from obfnet.models.understand import understand
from obfnet.models.wishes import Wishes

NAMES = tuple(f"n{digit}" for digit in range(10))


@pytest.mark.parametrize("seed", range(20))
def test_no_order_of_all_makes_more_answers_right(seed):
    random = np.random.default_rng(seed)
    classes = int(random.integers(2, 7))
    labels = random.integers(0, classes, 60)
    answers = np.where(random.random(60) < 0.6, random.permutation(classes)[labels], labels)
    right = {order: int((np.array(order)[answers] == labels).sum()) for order in permutations(range(classes))}
    found = tuple(best_order(answers, labels, classes).tolist())
    assert right[found] == max(right.values())
    # Of equals the one that was given.
    given = tuple(range(classes))
    assert found == given or right[found] > right[given]


@pytest.mark.parametrize("seed", range(50))
def test_a_model_that_guesses_is_of_no_other_order(seed):
    random = np.random.default_rng(seed)
    for classes in (2, 3, 10):
        labels = random.integers(0, classes, 256)
        # Right at times, and wrong in no particular way.
        answers = np.where(random.random(256) < 0.2, labels, random.integers(0, classes, 256))
        order = best_order(answers, labels, classes)
        assert not is_clearly_better(answers == labels, order[answers] == labels)


@pytest.fixture(scope="module")
def logistic():
    """scikit-learn's classifier of its own digits, and samples that it was not fitted on."""
    samples, labels = load_digits(return_X_y=True)
    samples = (samples / 16).astype(np.float32)
    fitted = LogisticRegression(max_iter=2_000, C=3.0).fit(samples[:1_200], labels[:1_200])
    return fitted, samples[1_200:].reshape(-1, 1, 8, 8), labels[1_200:]


def with_outputs(fitted, order):
    """The same classifier with output k for class `order[k]`."""
    layer = nn.Linear(64, 10)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(fitted.coef_[order]))
        layer.bias.copy_(torch.from_numpy(fitted.intercept_[order]))
    return open_model(nn.Sequential(nn.Flatten(), layer))


def look(model, samples, labels, *, names=NAMES, numbered=False):
    wishes = Wishes(range="0,1")
    return understand(
        model, samples, labels, wishes, shape=(1, 8, 8), layout="CHW", names=names, numbered=numbered
    )


PARTLY = {
    "two swapped": [0, 1, 2, 4, 3, 5, 6, 7, 8, 9],
    "three turned": [1, 2, 0, 3, 4, 5, 6, 7, 8, 9],
    "half turned": [0, 1, 2, 3, 4, 6, 7, 8, 9, 5],
}


@pytest.mark.parametrize("order", PARTLY.values(), ids=PARTLY)
def test_labels_that_are_permuted_in_part_are_noticed_and_the_order_is_given(logistic, order):
    fitted, samples, labels = logistic
    model = with_outputs(fitted, order)
    with pytest.raises(ModelError) as refused:
        look(model, samples, labels)
    assert refused.value.expected == "labels in the order of the model's outputs"
    proposed = tuple(refused.value.remedy.split("give --classes ")[1].split(","))
    assert proposed == tuple(NAMES[one] for one in order)
    # With that order it is taken, and as right as scikit-learn says.
    places = np.array([proposed.index(name) for name in NAMES])
    found = look(model, samples, places[labels], names=proposed)
    assert found.accuracy > 0.9
    assert found.accuracy == pytest.approx(fitted.score(samples.reshape(-1, 64), labels), abs=0.03)


def test_labels_that_are_numbers_are_to_be_numbered_anew(logistic):
    fitted, samples, labels = logistic
    order = PARTLY["three turned"]
    model = with_outputs(fitted, order)
    with pytest.raises(ModelError, match=r"outputs are your labels 1,2,0,3,4,5,6,7,8,9, number them so"):
        look(model, samples, labels, numbered=True)
    assert look(model, samples, np.argsort(order)[labels], numbered=True).accuracy > 0.9


@pytest.mark.parametrize("count", [40, 60, 200])
def test_a_weak_model_in_the_right_order_is_taken(logistic, count):
    _, samples, labels = logistic
    flat = samples.reshape(-1, 64)
    weak = LogisticRegression(max_iter=200, C=0.01).fit(flat[:count], labels[:count])
    assert len(weak.classes_) == 10
    found = look(with_outputs(weak, list(range(10))), samples[count:], labels[count:])
    assert found.accuracy == pytest.approx(weak.score(flat[count:], labels[count:]), abs=0.08)
