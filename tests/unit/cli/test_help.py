"""Every command explains itself: an example, the common options, and nothing heavy to say it."""

import re
import subprocess
import sys

import click
import pytest

from obfnet.cli.main import cli, main

COMMON = ("--seed", "--data-dir", "--out", "--json", "--debug", "--help")
CONTRACT = {
    "demo",
    "data fetch",
    "data list",
    "data export",
    "train inference",
    "train obfuscation",
    "serve",
    "infer",
    "verify",
    "pool publish",
    "pool revoke",
    "pool fetch",
    "bench training",
    "bench serving",
    "bench edge",
    "bench paper",
    "bench privacy",
    "bench audit",
    "audit",
    "monitor",
    "evaluate",
    "protect",
    "sweep",
    "bench monitor",
    "bench fleet",
}


def commands(group=cli, prefix=""):
    """Every command that runs something, by its full name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


COMMANDS = dict(commands())


def shown(capsys, *arguments):
    main(list(arguments))
    return capsys.readouterr().out


def test_the_commands_of_the_contract_are_there():
    assert set(COMMANDS) >= CONTRACT


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_and_the_common_options(capsys, name):
    text = shown(capsys, *name.split(), "--help")
    assert re.search(rf"Example:\n\s+obfnet {name}\b", text)
    for option in COMMON:
        assert option in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name):
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_is_a_command_that_parses(name):
    text = COMMANDS[name].help or ""
    line = re.search(r"obfnet (\S.*)", text.split("Example:")[1]).group(1)
    arguments = line.split()[len(name.split()) :]
    with COMMANDS[name].make_context(name, arguments):
        pass


@pytest.mark.parametrize("arguments", [(), ("train",), ("data",), ("bench",)])
def test_a_group_alone_shows_its_commands_as_bad_usage(capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    assert stopped.value.code == 2
    assert "Commands:" in capsys.readouterr().err


def test_the_root_lists_every_command_and_where_to_start(capsys):
    text = shown(capsys, "--help")
    assert "Start with: obfnet demo" in text
    for name in CONTRACT:
        assert re.search(rf"^  {name.split()[0]}\b", text, re.MULTILINE)


def test_the_version(capsys):
    assert shown(capsys, "--version").startswith("obfnet, version ")


def test_help_in_a_process_of_its_own_loads_no_training_code():
    code = "import sys; sys.argv = ['obfnet', '--help']\nfrom obfnet.cli.main import main\nmain()\n"
    code += "heavy = {'torch', 'onnx', 'sklearn', 'kserve'} & sys.modules.keys()\n"
    code += "sys.exit(str(heavy) if heavy else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Commands:" in done.stdout
