"""Recognisers of an attribute: what shows is found, and one that fails a control is not counted."""

from typing import Any, ClassVar

import numpy as np
import pytest

from obfnet.attacks import ATTRIBUTE_ATTACKS, AttributeAttack
from obfnet.auditing.attributes import measure_attribute
from obfnet.auditing.settings import BUDGETS
from obfnet.auditing.subject import AttackerPart, AuditSubject, ScoredPart
from obfnet.core.progress import Silent

COUNT = 400


class Heard(Silent):
    """Keeps the lines that were said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def subject_of(*, shows: bool, received: Any = lambda raw: 1 - raw) -> AuditSubject:
    random = np.random.default_rng(0)
    raw = random.random((COUNT, 1, 8, 8), dtype=np.float32) / 2
    values = random.integers(0, 2, COUNT)
    if shows:
        raw[:, 0, :, 4:] += values[:, None, None] / 2
    half = COUNT // 2
    labels = np.arange(COUNT) % 4
    return AuditSubject(
        name="halves",
        kind="pictures",
        attacker=AttackerPart(
            raw=raw[:half], received=received(raw[:half]), labels=labels[:half], attribute=values[:half]
        ),
        scored=ScoredPart(
            raw=raw[half:], received=received(raw[half:]), answered=labels[half:], attribute=values[half:]
        ),
        classes=("a", "b", "c", "d"),
        attribute_name="half",
        attribute_values=("dark", "bright"),
    )


def measured(subject: AuditSubject, progress: Silent | None = None) -> dict[str, Any] | None:
    return measure_attribute(subject, None, BUDGETS["quick"], seed=0, progress=progress or Silent())


def test_what_shows_in_what_is_received_is_recognised_and_every_control_is_passed() -> None:
    found = measured(subject_of(shows=True))
    assert found is not None
    assert found["accuracy"] > 0.95
    assert found["raw_accuracy"] > 0.95
    assert {row["name"] for row in found["attacks"]} == set(ATTRIBUTE_ATTACKS.names())
    for row in found["attacks"]:
        assert row["counted"], row
        assert row["controls"]["identity"]["interval"][0] > found["chance"]
        assert row["controls"]["constant"]["interval"][0] <= found["chance"]


def test_nothing_is_recognised_in_a_constant() -> None:
    found = measured(subject_of(shows=True, received=lambda raw: np.full_like(raw, 0.5)))
    assert found is not None
    assert found["accuracy"] <= found["chance"] + 0.02


def test_an_attribute_that_raw_samples_do_not_show_has_no_figure() -> None:
    heard = Heard()
    assert measured(subject_of(shows=False), heard) is None
    assert "no recogniser of the half passes its controls: no figure" in heard.lines


class Cheat(AttributeAttack):
    """Knows the answers of the scored samples, whatever it is shown."""

    name = "cheat"
    threat_level = "T2"
    citation = "none"
    assumes = "nothing"
    answers: ClassVar[Any] = None

    def fit(self, received: Any, values: Any, *, count: int, seed: int, progress: Any) -> Any:
        return lambda samples: np.eye(count)[self.answers]


def test_one_that_sees_what_it_must_not_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = subject_of(shows=True)
    Cheat.answers = subject.scored.attribute
    names, get = ATTRIBUTE_ATTACKS.names(), ATTRIBUTE_ATTACKS.get
    registry = type(ATTRIBUTE_ATTACKS)
    monkeypatch.setattr(registry, "names", lambda self: [*names, "cheat"])
    monkeypatch.setattr(registry, "get", lambda self, name: Cheat if name == "cheat" else get(name))
    found = measured(subject)
    assert found is not None
    counted = {row["name"]: row["counted"] for row in found["attacks"]}
    assert counted == {**dict.fromkeys(names, True), "cheat": False}
    assert found["attack"] != "cheat"
