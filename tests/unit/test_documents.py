"""README and docs cannot drift from the command line, the result files and the public API."""

import ast
import importlib.util
import json
import re
from pathlib import Path

import click
import pytest

import obfnet
from obfnet.attacks import ATTACKS
from obfnet.auditing.settings import BUDGETS
from obfnet.cli.main import cli
from obfnet.core.errors import DataError
from obfnet.report.paper_pages import paper_page
from obfnet.report.paper_plots import draw_plots
from obfnet.report.privacy_pages import draw_frontiers, privacy_page
from obfnet.report.results_page import readme_block, results_page, with_block

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
# There is none before `obfnet bench paper` was run for the first time.
PAPER = sorted(ROOT.glob("docs/results/*.json"))


def command_names(group: click.Group = cli, prefix: str = "obfnet") -> set[str]:
    context = click.Context(group)
    names = set()
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            names |= command_names(command, f"{prefix} {name}")
        else:
            names.add(f"{prefix} {name}")
    return names


def test_the_readme_names_every_command_and_no_other():
    section = README.split("## Commands")[1].split("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("| `")]
    named = set(re.findall(r"`(obfnet [a-z ]+)`", "\n".join(line.split("|")[1] for line in table)))
    assert named == command_names()


def test_every_command_line_in_the_readme_can_be_parsed():
    lines = re.findall(r"`(?:\.venv/bin/)?obfnet ([^`\n]+)`", README)
    assert lines
    for line in lines:
        command, words = cli, line.split()
        while isinstance(command, click.Group):
            command = command.get_command(click.Context(command), words.pop(0))
            assert command is not None, line
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line


def test_the_five_lines_use_public_names_and_are_five():
    block = re.search(r"```python\n(.*?)```", README, flags=re.DOTALL).group(1)
    imported = [
        alias.name
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert imported
    assert all(hasattr(obfnet, name) for name in imported)
    assert len([line for line in block.splitlines() if line.strip()]) <= 5


def test_the_make_targets_of_the_readme_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"^make ([a-z]+)", README, flags=re.MULTILINE)) <= targets
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_results_page_says_what_the_result_files_say():
    assert (ROOT / "docs" / "results.md").read_text() == results_page(ROOT / "results")


def test_the_page_of_protections_says_what_the_result_files_say():
    results = [json.loads(path.read_text()) for path in sorted(ROOT.glob("results/privacy*.json"))]
    pages = {"privacy.md": privacy_page(results), **draw_frontiers(results)}
    assert {name: (ROOT / "docs" / "results" / name).read_text() for name in pages} == pages


def test_the_page_of_leakage_has_every_attack_with_its_level_and_budgets():
    page = (ROOT / "docs" / "leakage.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| (T\d) \|.*\| (all|not `quick`) \|$", page, re.MULTILINE)
    skipped = BUDGETS["quick"].skipped
    assert not any(BUDGETS[name].skipped for name in ("standard", "thorough"))
    assert rows == [
        (name, ATTACKS.get(name).threat_level, "not `quick`" if name in skipped else "all")
        for name in ATTACKS.names()
    ]


def test_the_readme_figures_are_those_of_the_result_file():
    assert with_block(README, readme_block(ROOT / "results")) == README


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.name)
def test_the_tables_of_the_grid_say_what_its_result_file_says(path):
    figures = json.loads(path.read_text())
    assert path.with_suffix(".md").read_text() == paper_page(figures, path.stem)


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="Matplotlib is not installed")
@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.name)
def test_the_plots_of_the_grid_are_those_of_its_result_file(path):
    drawn = draw_plots(json.loads(path.read_text()), path.stem)
    assert {name: (path.parent / name).read_text() for name in drawn} == drawn


def test_what_was_not_measured_is_said(tmp_path):
    page = results_page(tmp_path)
    assert page.count("Not measured yet") == 24
    with pytest.raises(DataError, match=r"demo\.json"):
        readme_block(tmp_path)


def test_a_damaged_result_file_is_named(tmp_path):
    (tmp_path / "edge.json").write_text("{")
    with pytest.raises(DataError, match=r"edge\.json"):
        results_page(tmp_path)


def test_a_readme_without_markers_is_refused():
    with pytest.raises(DataError, match="markers"):
        with_block("# no markers", "block")


@pytest.mark.parametrize("path", [*ROOT.glob("docs/**/*.md"), ROOT / "README.md"], ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target
