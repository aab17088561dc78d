"""The options that every command takes, spelled once."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from obfnet.core.errors import DataError, UsageError
from obfnet.core.files import sha256_hex, write_json

if TYPE_CHECKING:
    from obfnet.bundle import Trust

F = TypeVar("F", bound=Callable[..., Any])


def common_options(
    *, out: str, out_default: str | None = None, out_required: bool = False
) -> Callable[[F], F]:
    """Adds `--seed`, `--data-dir`, `--out`, `--json` and `--debug` to a command.

    Args:
        out: What `--out` means for this command.
        out_default: Its default.
        out_required: Whether it must be given.
    """

    def add(function: F) -> F:
        decorators = [
            click.option(
                "--seed",
                type=click.IntRange(0, 2**32 - 1),
                default=0,
                show_default=True,
                help="Seed of all randomness that should repeat; the device's picks never do.",
            ),
            click.option(
                "--data-dir",
                type=click.Path(path_type=Path),
                default=None,
                help="Folder with the data sets; OBFNET_DATA does the same.",
            ),
            click.option(
                "--out",
                type=click.Path(path_type=Path),
                default=out_default,
                required=out_required,
                show_default=out_default is not None,
                help=out,
            ),
            click.option(
                "--json", "as_json", is_flag=True, help="Print the result as JSON on standard output."
            ),
            click.option("--debug", is_flag=True, help="Show the traceback of an error."),
        ]
        # Docstrings are raw, as the linter wants; click's mark for lines to keep is the character itself.
        function.__doc__ = (function.__doc__ or "").replace("\\b\n", "\b\n")
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return add


def skip_bad_option(function: F) -> F:
    """Adds `--skip-bad` to a command that reads samples from files."""
    return click.option(
        "--skip-bad", is_flag=True, help="Leave out and count files that cannot be read, instead of stopping."
    )(function)


def case_options(function: F) -> F:
    """Adds `--case`, `--split` and `--skip-bad` to a command that reads a data set."""
    for option in (
        skip_bad_option,
        click.option(
            "--split",
            default=None,
            help="How the case is cut; 'RULE:VALUE' for one speaker.  [default: its first]",
        ),
        click.option("--case", required=True, help="Data set, or a folder or CSV file of your own."),
    ):
        function = option(function)
    return function


def processor_option(function: F) -> F:
    """Adds `--processor` to a command that trains."""
    return click.option(
        "--processor",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="What trains; auto takes a GPU where there is one.",
    )(function)


def engine_options(about: str) -> Callable[[F], F]:
    """Adds `--engine`, `--address` and `--workers` to a command whose work can be done on a cluster.

    Args:
        about: What `--engine` means for this command.
    """

    def add(function: F) -> F:
        for option in (
            click.option(
                "--workers",
                type=click.IntRange(1),
                default=None,
                help="With ray, on this machine.  [default: its cores]",
            ),
            click.option(
                "--address",
                default=None,
                help="Of a Ray cluster.  [default: one on this machine, for this command]",
            ),
            click.option(
                "--engine",
                type=click.Choice(["local", "ray"]),
                default="local",
                show_default=True,
                help=about,
            ),
        ):
            function = option(function)
        return function

    return add


def on_ray(engine: str, address: str | None, workers: int | None) -> bool:
    """Whether the options of `engine_options` ask for Ray; raises `UsageError` where they ask for both."""
    if engine == "local" and (address or workers):
        raise UsageError("--address and --workers with --engine ray", "--engine local", "leave them out")
    return engine == "ray"


def trust_option(function: F) -> F:
    """Adds `--trust` to a command that reads bundles."""
    return click.option(
        "--trust",
        multiple=True,
        metavar="KEY",
        help="Coordinator's public key to accept, text or file; without it the first key seen is pinned.",
    )(function)


def pool_options(function: F) -> F:
    """Adds `--pool` and `--url` to a command that asks a backend as a device does."""
    for option in (
        click.option("--url", required=True, help="Backend: http(s)://HOST:PORT or grpc(s)://HOST:PORT."),
        click.option(
            "--pool", "pool_path", type=click.Path(path_type=Path), required=True, help="Folder of the pool."
        ),
    ):
        function = option(function)
    return function


def meter_options(function: F) -> F:
    """Adds `--model`, `--meter` and `--limit-bits` to a command that asks a backend as a device does."""
    for option in (
        click.option(
            "--limit-bits", type=float, default=None, help="Most bits to send in all.  [default: no limit]"
        ),
        click.option(
            "--meter",
            type=click.Path(path_type=Path),
            default=None,
            help="File that counts the bits sent; for a pool with a budget.",
        ),
        click.option("--model", default=None, help="The model's name on the backend.  [default: model]"),
    ):
        function = option(function)
    return function


def request_options(function: F) -> F:
    """Adds `--pick`, `--protocol` and `--timeout`, which say how a device sends a request."""
    for option in (
        click.option(
            "--timeout", "timeout_s", type=float, default=10.0, show_default=True, help="Seconds to wait."
        ),
        click.option(
            "--protocol",
            type=click.Choice(["auto", "binary", "json", "grpc"]),
            default="auto",
            show_default=True,
            help="How tensors travel.",
        ),
        click.option(
            "--pick",
            type=click.Choice(["request", "sample"]),
            default="request",
            show_default=True,
            help="What decides the bundle: chance, for each request, or the sample itself, always the same "
            "one.",
        ),
    ):
        function = option(function)
    return function


def trusted(keys: tuple[str, ...]) -> "Trust":
    """What `--trust` says; a key that is pinned is told on standard error."""
    from obfnet.bundle import Trust

    return Trust(explicit=keys, say=lambda line: click.echo(f"obfnet: {line}", err=True))


def made_for_option(function: F) -> F:
    """Adds `--inference` to a command that reads what was made for an inference network; see `network_id`."""
    return click.option(
        "--inference",
        "inference_path",
        type=click.Path(path_type=Path),
        default=None,
        help="ONNX file of the inference network that it must have been made for.",
    )(function)


def network_id(path: Path) -> str:
    """SHA-256 of an inference network, by its ONNX file or its folder; raises `DataError`."""
    file = path / "inference.onnx" if path.is_dir() else path
    try:
        return sha256_hex(file.read_bytes())
    except OSError as exc:
        raise DataError(f"an ONNX file at {file}", exc.strerror or str(exc), "check --inference") from exc


def typed_command() -> str:
    """The command line as the user typed it, for result files."""
    return " ".join(["obfnet", *sys.argv[1:]])


def comma_separated(text: str) -> tuple[str, ...]:
    """The names of an option that takes several with commas between; none of an empty text.

    Example:
        >>> comma_separated("ridge, decoder"), comma_separated("")
        (('ridge', 'decoder'), ())
    """
    return tuple(name.strip() for name in text.split(",") if name.strip())


def print_result(result: dict[str, Any], lines: list[str], *, as_json: bool, out: Path | None) -> None:
    """Prints a result for people or for machines, and keeps it in a file where one was asked for.

    Args:
        result: JSON-ready.
        lines: The same for people.
        as_json: Whether machines read standard output.
        out: File for the JSON, or None.

    Raises:
        OutputError: the file cannot be written.
    """
    if out is not None:
        write_json(out, result)
    click.echo(json.dumps(result, indent=2) if as_json else "\n".join(lines))
