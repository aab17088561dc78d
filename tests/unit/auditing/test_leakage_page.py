"""What the page "How we measure leakage" shows is what the code does: its example, groups and levels."""

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from obfnet.attacks import KNOWLEDGE, ReconstructionAttack, WhiteBox
from obfnet.core.errors import AttackError
from obfnet.core.progress import Silent
from obfnet.data.cases import load_case
from obfnet.metrics import METRICS
from obfnet.metrics.similarity import ssim

PAGE = (Path(__file__).parents[3] / "docs" / "leakage.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def example() -> type[ReconstructionAttack]:
    (code,) = blocks("python")
    names: dict[str, Any] = {"__name__": "my_attacks"}
    exec(code, names)
    attack: type[ReconstructionAttack] = names["ValueByValue"]
    return attack


def test_the_example_is_short_and_says_what_it_is() -> None:
    attack = example()()
    assert len([line for line in blocks("python")[0].splitlines() if line.strip()]) <= 32
    assert attack.name in blocks("toml")[0]
    assert attack.threat_level in KNOWLEDGE
    assert attack.citation
    assert attack.assumes


def test_the_example_undoes_what_it_can_and_finds_nothing_in_a_constant() -> None:
    digits = load_case("digits")
    raw, scored, answered = digits.train.samples, digits.test.samples[:], digits.test.labels

    def guessed(received: Any, asked: Any) -> Any:
        knowledge = WhiteBox(raw=raw, labels=digits.train.labels, received=received)
        guesses = example()(effort=1).fit(knowledge, seed=0, progress=Silent())(asked, answered)
        assert guesses.shape == scored.shape
        assert guesses.dtype == np.float32
        return ssim(scored, guesses).mean()

    mean = ssim(scored, np.broadcast_to(raw[:].mean(axis=0), scored.shape)).mean()
    assert guessed(1 - raw[:] / 2, 1 - scored / 2) > mean + 0.3
    assert guessed(np.full_like(raw[:], 0.5), np.full_like(scored, 0.5)) < mean + 0.01
    with pytest.raises(AttackError, match="raw shape"):
        guessed(raw[:].reshape(len(raw), -1), scored)


def test_its_entry_points_are_of_groups_that_are_read() -> None:
    source = Path(__file__).parents[3] / "src" / "obfnet"
    read = set()
    for package in ("attacks", "metrics"):
        read |= set(re.findall(r'entry_points="([\w.]+)"', (source / package / "__init__.py").read_text()))
    shown = {group for block in blocks("toml") for group in tomllib.loads(block)["project"]["entry-points"]}
    assert shown <= read
    assert all(group in PAGE for group in read)


def test_it_names_every_level_with_its_type_and_every_metric() -> None:
    for level, known in KNOWLEDGE.items():
        assert re.search(rf"^\| {level} \|.*`{known.__name__}` \|$", PAGE, flags=re.MULTILINE), level
    for name in METRICS.names():
        assert f"`{name}`" in PAGE, name


def test_the_files_that_it_names_exist() -> None:
    named = re.findall(r"`((?:src|tests)/[\w/.]+)`", PAGE)
    assert named
    for path in named:
        assert (Path(__file__).parents[3] / path).exists(), path
