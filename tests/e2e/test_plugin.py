"""A third party's attack: the example of the docs, as a package that is really installed, in a real audit."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from obfnet.auditing.pairs import write_pairs
from obfnet.data.cases import load_case
from tests.e2e.command import obfnet

pytestmark = pytest.mark.e2e

PAGE = (Path(__file__).parents[2] / "docs" / "leakage.md").read_text()
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "my-attacks"
version = "0.1"

[tool.setuptools]
py-modules = ["my_attacks"]
"""
BROKEN = """

class Broken(ValueByValue):
    name = "broken"

    def fit(self, knowledge, *, seed, progress):
        raise RuntimeError("it never learns")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The example of the docs and a broken attack, installed into a folder of their own."""
    source, target = (tmp_path_factory.mktemp(name) for name in ("source", "target"))
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    entry_points = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)[0]
    (source / "my_attacks.py").write_text(code + BROKEN)
    (source / "pyproject.toml").write_text(f'{PROJECT}\n{entry_points}broken = "my_attacks:Broken"\n')
    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    done = subprocess.run(
        [sys.executable, *pip, "--target", str(target), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {"PYTHONPATH": str(target)}


def test_an_installed_attack_is_run_beside_ours(installed, tmp_path):
    digits = load_case("digits")
    raw = np.kron(digits.train.samples[:], np.ones((1, 1, 2, 2), np.float32))
    write_pairs(tmp_path / "pairs.npz", raw, 1 - raw / 2, digits.train.labels)
    outcome = obfnet(
        "audit",
        tmp_path / "pairs.npz",
        "--budget",
        "quick",
        "--attacks",
        "value-by-value,broken,ridge",
        "--metrics",
        "mse",
        "--out",
        tmp_path / "audit",
        env=installed,
    )
    assert outcome.code == 0, outcome.err
    attacks = {one["name"]: one for one in json.loads((tmp_path / "audit/audit.json").read_text())["attacks"]}
    assert attacks["value-by-value"]["counted"]
    assert attacks["value-by-value"]["normalised"]["mean"] > 0.9
    assert not attacks["broken"]["counted"]
    assert "RuntimeError" in attacks["broken"]["reason"]
    assert "it never learns" not in outcome.err


def test_without_it_the_name_is_unknown(tmp_path):
    (tmp_path / "pairs.npz").write_bytes(b"no archive")
    outcome = obfnet(
        "audit", tmp_path / "pairs.npz", "--attacks", "value-by-value", "--out", tmp_path / "out"
    )
    assert outcome.code == 2
    assert "a known attack, got 'value-by-value'" in outcome.complaint
