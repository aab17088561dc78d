"""How errors of every kind become one line on stderr and an exit code."""

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from obfnet.cli import main as cli_module
from obfnet.cli.main import main
from obfnet.core.errors import DataError, UsageError
from obfnet.core.files import claim_output

NOBODY = 65534


def failing_with(monkeypatch, error):
    @click.command()
    @click.option("--debug", is_flag=True)
    @click.option("--json", "as_json", is_flag=True)
    def command(debug, as_json):
        raise error

    monkeypatch.setattr(cli_module.LazyGroup, "get_command", lambda self, ctx, name: command)


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    out, err = capsys.readouterr()
    return stopped.value.code, out, err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DataError("a file", "none", "make one"), 1, "expected a file, got none; make one"),
        (DataError("two\nlines", "a\ttab", "see"), 1, "expected two lines, got a tab; see"),
        (UsageError("a name", "a number", "spell it"), 2, "expected a name, got a number; spell it"),
        (
            ZeroDivisionError("oh"),
            1,
            "internal error, ZeroDivisionError: oh; please report it with the output of --debug",
        ),
        (
            PermissionError(13, "Permission denied", "keys"),
            1,
            "expected to use keys, got Permission denied; check it, or see --debug",
        ),
        (KeyboardInterrupt(), 130, "stopped; what was finished is kept, run the same command again to go on"),
        (click.BadParameter("too small"), 2, "Invalid value: too small (see: obfnet anything --help)"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(capsys, monkeypatch, error, code, line):
    failing_with(monkeypatch, error)
    assert run(capsys, "anything") == (code, "", f"obfnet: {line}\n")
    debugged = run(capsys, "anything", "--debug")
    assert debugged[0] == code
    assert debugged[2].startswith("Traceback")
    assert debugged[2].endswith(f"\nobfnet: {line}\n")
    told, out, _ = run(capsys, "anything", "--json")
    assert json.loads(out) == {"error": line, "exit_code": told}


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("dream",), "No such command 'dream'"),
        (("train", "dream"), "No such command 'dream'"),
        (("data", "fetch"), "Missing argument"),
        (("data", "list", "--dream"), "No such option"),
        (("data", "list", "--seed", "-1"), "--seed"),
        (("infer",), "Missing option '--pool'"),
        (("serve", "model.onnx", "--port", "70000"), "--port"),
        (("data", "fetch", "nist"), "known: mnist, fsd, asl, cifar10, digits"),
    ],
)
def test_bad_usage_is_exit_code_2_and_says_where_the_help_is(capsys, arguments, part):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("obfnet: ")
    assert err.count("\n") == 1
    assert part in err


def test_a_pipe_whose_reader_went_away_is_quiet(monkeypatch):
    failing_with(monkeypatch, BrokenPipeError())
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as closed:
        monkeypatch.setattr("sys.stderr", closed)
        with pytest.raises(SystemExit) as stopped:
            main(["anything"])
    assert stopped.value.code == 1


@contextmanager
def a_folder_that_cannot_be_written():
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    root = os.geteuid() == 0
    try:
        if root:
            # Root may write anywhere; nobody may not.
            os.seteuid(NOBODY)
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_result_that_cannot_be_written_is_one_line(capsys, monkeypatch):
    # What the command imports is imported now: nobody may not read root's Python.
    main(["data", "list"])
    capsys.readouterr()
    with a_folder_that_cannot_be_written() as folder:
        monkeypatch.setenv("OBFNET_HOME", str(folder / "home"))
        code, out, err = run(capsys, "data", "list", "--out", str(folder / "list.json"))
    assert (code, out) == (1, "")
    assert "Permission denied" in err
    assert str(folder / "list.json") in err


def test_a_folder_that_cannot_be_written_is_not_claimed():
    with (
        a_folder_that_cannot_be_written() as folder,
        pytest.raises(Exception, match="Permission denied"),
        claim_output(folder, kind="demo"),
    ):
        raise AssertionError("claimed")
