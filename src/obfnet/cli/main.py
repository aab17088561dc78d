"""The root command: finds the subcommands, and turns every error into one line and an exit code.

Subcommands are imported when they are used, so that a device's `obfnet infer` loads no training code.
"""

import importlib
import json
import sys
import traceback
from collections.abc import Sequence
from typing import Any, Final

import click

from obfnet import __version__
from obfnet.cli.interrupts import noted
from obfnet.core.errors import ObfNetError

_EXIT_FAILURE: Final = 1
_EXIT_INTERRUPTED: Final = 130


class LazyGroup(click.Group):
    """A group whose commands are `"module:attribute"` strings, imported on first use.

    Args:
        lazy: Command name to where it is.
    """

    def __init__(self, *args: Any, lazy: dict[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None if there is none of that name."""
        target = self._lazy.get(cmd_name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; Ctrl-C becomes `Abort` without the empty line that click would write."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as exc:
            if sys.stderr.isatty():
                # Off the line that the terminal wrote ^C on.
                click.echo(err=True)
            raise click.Abort from exc


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    lazy={
        "demo": "obfnet.cli.demo:demo",
        "data": "obfnet.cli.data:data",
        "train": "obfnet.cli.train:train",
        "serve": "obfnet.cli.serve:serve",
        "infer": "obfnet.cli.infer:infer",
        "verify": "obfnet.cli.verify:verify",
        "pool": "obfnet.cli.pool:pool",
        "monitor": "obfnet.cli.monitor:monitor",
        "evaluate": "obfnet.cli.evaluate:evaluate",
        "audit": "obfnet.cli.audit:audit",
        "protect": "obfnet.cli.protect:protect",
        "sweep": "obfnet.cli.protect:sweep",
        "bench": "obfnet.cli.bench:bench",
    },
)
@click.version_option(__version__, prog_name="obfnet")
def cli() -> None:
    """Have samples classified in the cloud while the cloud sees obfuscated ones; measure what still leaks.

    Start with: obfnet demo
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits: 0 on success, 1 on failure, 2 on bad usage, 130 on Ctrl-C.

    `audit --fail-over` exits with 3 where more leaks than its bound, and so does `monitor` where a pool no
    longer fits.

    Args:
        arguments: Without the program's name; None takes the process's own.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug, as_json = "--debug" in arguments, "--json" in arguments
    try:
        with noted():
            # A command that ends with a code of its own, as `audit --fail-over` does, hands it back.
            code = cli.main(args=arguments, prog_name="obfnet", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.format_message(), err=True)
        sys.exit(exc.exit_code)
    except click.ClickException as exc:
        hint = (
            f" (see: {exc.ctx.command_path} --help)" if isinstance(exc, click.UsageError) and exc.ctx else ""
        )
        _fail(exc.format_message() + hint, exc.exit_code, debug=debug, as_json=as_json)
    except ObfNetError as exc:
        _fail(str(exc), exc.exit_code, debug=debug, as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        _fail(
            "stopped; what was finished is kept, run the same command again to go on",
            _EXIT_INTERRUPTED,
            debug=debug,
            as_json=as_json,
        )
    except BrokenPipeError:
        # The reader of our output went away; there is nobody to tell.
        sys.stderr.close()
        sys.exit(_EXIT_FAILURE)
    except OSError as exc:
        # What no part foresaw, like a folder of ours that others own, is still the user's to mend.
        named = exc.filename or "the system"
        _fail(
            f"expected to use {named}, got {exc.strerror or type(exc).__name__}; check it, or see --debug",
            _EXIT_FAILURE,
            debug=debug,
            as_json=as_json,
        )
    except Exception as exc:
        _fail(
            f"internal error, {type(exc).__name__}: {exc}; please report it with the output of --debug",
            _EXIT_FAILURE,
            debug=debug,
            as_json=as_json,
        )
    if isinstance(code, int) and code:
        sys.exit(code)


def _fail(message: str, code: int, *, debug: bool, as_json: bool) -> None:
    if debug:
        traceback.print_exc()
    line = " ".join(message.split())
    click.echo(f"obfnet: {line}", err=True)
    if as_json:
        click.echo(json.dumps({"error": line, "exit_code": code}))
    sys.exit(code)
