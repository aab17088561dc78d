"""What the tests of the command line share: one finished demo, one coordinator's work, one backend."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from obfnet.bundle import load_or_create_coordinator_key, public_key_text
from tests.e2e.command import Outcome, obfnet, start

NO_DATA = ("OBFNET_DATA",)
QUICK = ("demo", "--quick", "--count", "2")


@dataclass(frozen=True, kw_only=True)
class FinishedDemo:
    """A demo's folder and what the command said."""

    folder: Path
    outcome: Outcome
    figures: dict


@pytest.fixture(scope="session")
def started_demo(tmp_path_factory):
    """A demo that is at work while other fixtures are made."""
    folder = tmp_path_factory.mktemp("finished") / "demo"
    demo = start(*QUICK, "--out", folder, without=NO_DATA)
    yield folder, demo
    demo.finish()


@pytest.fixture(scope="session")
def finished_demo(started_demo) -> FinishedDemo:
    """`obfnet demo --quick` where MNIST cannot be had, so that it falls back to the bundled digits."""
    folder, demo = started_demo
    outcome = demo.finish()
    assert outcome.code == 0, outcome.err
    return FinishedDemo(
        folder=folder, outcome=outcome, figures=json.loads((folder / "result.json").read_text())
    )


@pytest.fixture(scope="session")
def demos_run_again(finished_demo, tmp_path_factory) -> list[tuple[Path, Outcome]]:
    """The same demo, asked for as `digits`, in two copies of its folder at the same time."""
    parent = tmp_path_factory.mktemp("again")
    folders = [shutil.copytree(finished_demo.folder, parent / name) for name in ("one", "other")]
    running = [
        start(*QUICK, "--case", "digits", "--out", folder, "--json", without=NO_DATA) for folder in folders
    ]
    return list(zip(folders, [demo.finish() for demo in running], strict=True))


@dataclass(frozen=True, kw_only=True)
class Coordinator:
    """What `train inference` and `train obfuscation` made, and how they were asked."""

    train_inference: tuple[str, ...]
    train_obfuscation: tuple[str, ...]
    inference: Path
    pool: Path
    key: str
    outcomes: tuple[Outcome, Outcome]


@pytest.fixture(scope="session")
def coordinator(started_demo, tmp_path_factory) -> Coordinator:
    """An inference network and a pool for uint8 digits, trained without a break."""
    folder = tmp_path_factory.mktemp("coordinator")
    inference, pool = folder / "inference", folder / "pool"
    train_inference = ("train", "inference", "--case", "digits", "--dtype", "uint8", "--epochs", "40")
    train_obfuscation = ("train", "obfuscation", "--case", "digits", "--inference", str(inference))
    train_obfuscation += ("--count", "2", "--epochs", "30")
    first = obfnet(*train_inference, "--out", inference, "--json")
    assert first.code == 0, first.err
    second = obfnet(*train_obfuscation, "--out", pool, "--json")
    assert second.code == 0, second.err
    return Coordinator(
        train_inference=train_inference,
        train_obfuscation=train_obfuscation,
        inference=inference,
        pool=pool,
        key=public_key_text(load_or_create_coordinator_key()),
        outcomes=(first, second),
    )
