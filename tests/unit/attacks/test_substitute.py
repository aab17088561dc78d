"""A substitute agrees the more, the more its maker was told; and what was asked is what it is trained on."""

from typing import Any

import numpy as np
import pytest
import torch

from obfnet.attacks.substitute import (
    RAW,
    Answers,
    ModelKnowledge,
    scores_of,
    seen_by_backend,
    train_substitute,
)
from obfnet.core.errors import AttackError
from obfnet.core.progress import Silent
from obfnet.data.rows import Rows
from tests.unit.attacks.small_backend import backend

EFFORT, LITTLE = 0.08, 0.002
Samples = np.ndarray[Any, Any]


def answers(count: int, *, obfuscated: bool = False) -> Answers:
    """Scores for the first samples of the attacker, or for their obfuscated form."""
    rows, through = np.arange(count), np.full(count, 0 if obfuscated else RAW)
    asked = seen_by_backend(backend().public.samples, rows, through, [backend().obfuscator])
    shares = torch.softmax(torch.from_numpy(backend().ask(asked)), 1).numpy()
    return Answers(rows=rows, through=through, shares=shares)


def known(**more: Any) -> ModelKnowledge:
    public = backend().public
    return ModelKnowledge(raw=public.samples, labels=public.labels, classes=10, **more)


def train(knowledge: ModelKnowledge, *, effort: float = EFFORT, **more: Any) -> torch.nn.Module:
    return train_substitute(knowledge, effort=effort, seed=0, progress=Silent(), **more)


def agreement(substitute: torch.nn.Module, samples: Samples) -> float:
    return float((scores_of(substitute, samples).argmax(1) == backend().ask(samples).argmax(1)).mean())


@pytest.fixture(scope="module")
def ignorant() -> torch.nn.Module:
    return train(known())


def test_without_answers_it_learns_the_task_and_not_the_network(ignorant: torch.nn.Module) -> None:
    scored = backend().scored
    right = (scores_of(ignorant, scored.samples).argmax(1) == scored.labels).mean()
    backend_right = (backend().ask(scored.samples).argmax(1) == scored.labels).mean()
    assert right > 0.95
    assert 0.8 < backend_right < 0.93
    assert abs(agreement(ignorant, scored.samples) - backend_right) < 0.03


def test_with_answers_it_agrees_far_more(ignorant: torch.nn.Module) -> None:
    raw = backend().scored.samples
    asked = train(known(answers=answers(len(backend().public.labels))), start=ignorant)
    assert agreement(asked, raw) > agreement(ignorant, raw) + 0.03


def test_with_a_bundle_it_agrees_on_obfuscated_samples(ignorant: torch.nn.Module) -> None:
    obfuscated = backend().obfuscator.obfuscate(backend().scored.samples.copy())
    holder = train(known(pool=(backend().obfuscator,)))
    assert agreement(ignorant, obfuscated) < 0.8
    assert agreement(holder, obfuscated) > agreement(ignorant, obfuscated) + 0.1
    matched = train(known(pool=(backend().obfuscator,)), start=holder, through_graph=True, effort=EFFORT / 4)
    assert agreement(matched, obfuscated) > agreement(ignorant, obfuscated) + 0.1


def test_what_it_goes_on_from_is_not_changed(ignorant: torch.nn.Module) -> None:
    before = {name: value.clone() for name, value in ignorant.state_dict().items()}
    train(known(), start=ignorant, effort=LITTLE)
    for name, value in ignorant.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_the_graph_changes_the_training_and_leaves_the_bundle_as_it_was() -> None:
    network = backend().obfuscator.network
    before = [value.detach().clone() for value in network.parameters()]
    pool = (backend().obfuscator,)
    plain, matched = (
        train(known(pool=pool), effort=LITTLE, through_graph=through_graph) for through_graph in (False, True)
    )
    some = backend().scored.samples[:20]
    assert not np.array_equal(scores_of(plain, some), scores_of(matched, some))
    for value, old in zip(network.parameters(), before, strict=True):
        assert torch.equal(value, old)
        assert value.grad is None or not value.grad.any() or value.requires_grad


def test_the_seed_decides_it_and_nothing_known_is_changed() -> None:
    knowledge = known(answers=answers(50, obfuscated=True), pool=(backend().obfuscator,))
    before = knowledge.labels.copy(), np.array(knowledge.raw)
    some = backend().scored.samples[:20]
    one, again = (scores_of(train(knowledge, effort=LITTLE), some) for _ in range(2))
    other = scores_of(train_substitute(knowledge, effort=LITTLE, seed=1, progress=Silent()), some)
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    np.testing.assert_array_equal(knowledge.labels, before[0])
    np.testing.assert_array_equal(knowledge.raw, before[1])


def test_lazy_rows_and_bytes_are_taken_as_arrays_are() -> None:
    levels = np.rint(backend().public.samples[:200] * 255).astype(np.uint8)
    labels = backend().public.labels[:200]
    forms = (levels, Rows(lambda index: levels[index], levels.shape, levels.dtype), levels / np.float32(255))
    found = [
        scores_of(train(ModelKnowledge(raw=raw, labels=labels, classes=10), effort=LITTLE), levels)
        for raw in forms
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0], found[2], rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(12,), (3, 9, 11), (1, 2, 2), (2, 50, 4), (5, 7)])
def test_samples_of_any_shape(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    raw = random.random((60, *shape), dtype=np.float32)
    knowledge = ModelKnowledge(raw=raw, labels=random.integers(0, 3, 60), classes=3)
    assert scores_of(train(knowledge, effort=LITTLE), raw[:7]).shape == (7, 3)


def test_each_sample_goes_through_the_network_that_is_named() -> None:
    class Plus:
        def __init__(self, number: float) -> None:
            self.number = np.float32(number)

        def obfuscate(self, raw: Samples) -> Samples:
            return raw + self.number

        def differentiable(self) -> Any: ...

    raw = np.zeros((6, 2), np.float32)
    seen = seen_by_backend(raw, np.array([5, 1, 1, 0]), np.array([1, RAW, 0, 1]), [Plus(0.25), Plus(0.5)])
    assert seen[:, 0].tolist() == [0.5, 0, 0.25, 0.5]


def test_an_obfuscated_shape_that_differs_is_refused() -> None:
    class Shorter:
        def obfuscate(self, raw: Samples) -> Samples:
            return raw[:, :1]

        def differentiable(self) -> Any: ...

    raw = np.zeros((4, 2), np.float32)
    with pytest.raises(AttackError, match=r"shape \(2,\), got \(1,\)"):
        seen_by_backend(raw, np.arange(4), np.zeros(4, np.int64), [Shorter()])


@pytest.mark.parametrize(
    ("count", "labels", "message"),
    [
        (19, np.zeros(19, np.int64), "at least 20 samples, got 19"),
        (30, np.zeros(29, np.int64), "30 samples, 29 labels"),
        (30, np.full(30, 3), "labels of 0 to 2"),
        (30, np.full(30, -1), "labels of 0 to 2"),
    ],
)
def test_knowledge_that_does_not_do_is_refused(count: int, labels: Samples, message: str) -> None:
    with pytest.raises(AttackError, match=message):
        ModelKnowledge(raw=np.zeros((count, 2), np.float32), labels=labels, classes=3)


def test_answers_of_other_sizes_are_refused() -> None:
    for rows, shares in ((2, (3, 10)), (2, (2, 9)), (0, (0, 10))):
        wrong = Answers(rows=np.arange(rows), through=np.full(rows, RAW), shares=np.ones(shares, np.float32))
        with pytest.raises(AttackError, match="10 shares for each"):
            known(answers=wrong)


def test_no_effort_and_no_bundle_to_match_are_refused() -> None:
    with pytest.raises(AttackError, match="effort above 0"):
        train(known(), effort=0)
    with pytest.raises(AttackError, match="bundles to match through"):
        train(known(), through_graph=True)
