"""`obfnet protect` and `obfnet sweep`: pools for anybody's inference network, audited and reported."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from obfnet.cli.console import terminal_progress
from obfnet.cli.options import (
    comma_separated,
    common_options,
    engine_options,
    on_ray,
    print_result,
    skip_bad_option,
    typed_command,
)
from obfnet.core.errors import UsageError

if TYPE_CHECKING:
    from obfnet.models.wishes import Wishes
    from obfnet.protecting.settings import ProtectSettings

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T", int, float)
_COUNT: Final = click.IntRange(1)


def _model_options(function: F) -> F:
    """Adds what says which model and samples."""
    for option in (
        click.option(
            "--classes",
            default="",
            help="The classes in the order of the model's outputs, with commas between.  [default: as the "
            "model says, or sorted]",
        ),
        click.option(
            "--labels",
            type=click.Choice(["own", "none"]),
            default="own",
            show_default=True,
            help="Whether labels are used; without them the model's own answers stand for them.",
        ),
        click.option(
            "--data",
            required=True,
            help="Raw samples, pictures or WAV files: a folder with one subfolder a class, a CSV file "
            "(file,label), or a case's name.",
        ),
        click.option(
            "--model",
            required=True,
            help="The inference network: package.module:callable, model.onnx, model.pt2 (torch.export), or "
            "the folder of an image classifier of transformers (config.json, model.safetensors).",
        ),
    ):
        function = option(function)
    return function


def _making_options(function: F) -> F:
    """Adds what says how networks are made, what the model takes, and how they are audited."""
    for option in (
        click.option(
            "--attacks",
            default="",
            help="Only these attacks, with commas between.  [default: all of the budget]",
        ),
        click.option(
            "--budget",
            type=click.Choice(["quick", "standard", "thorough"]),
            default="quick",
            show_default=True,
            help="Of the audit at the end.",
        ),
        click.option("--std", default="", help="Of each channel, likewise."),
        click.option("--mean", default="", help="Of each channel, in [0, 1], where samples are normalised."),
        click.option("--dtype", default="", help="float32 or uint8.  [default: the model's]"),
        click.option(
            "--range", "span", default="", help="Its values: LOW,HIGH or imagenet.  [default: worked out]"
        ),
        click.option(
            "--rate", type=_COUNT, default=None, help="Samples a second, of a model that takes waveforms."
        ),
        click.option(
            "--layout",
            default="",
            help="Its axes: CHW, HWC or HW; of waveforms T or CT.  [default: worked out]",
        ),
        click.option(
            "--shape",
            default="",
            help="Of one sample as the model takes it, 3,224,224.  [default: the model's]",
        ),
        click.option(
            "--device-only-epochs",
            type=float,
            default=None,
            help="The same of the device-only classifier of O's cost.  [default: by their number]",
        ),
        click.option(
            "--epochs",
            type=float,
            default=None,
            help="Passes over the training samples.  [default: by their number]",
        ),
        click.option("--max-parameters", type=_COUNT, default=None, help="Most parameters of O."),
        click.option(
            "--max-macs",
            type=_COUNT,
            default=None,
            help="Most multiply-accumulates of O a sample.  [default: 40 million]",
        ),
        click.option(
            "--hidden", type=_COUNT, default=None, help="Width of the bottleneck.  [default: one that fits]"
        ),
        click.option(
            "--arch", default="", help="Obfuscation networks: mlp, conv, cnn.  [default: one that fits]"
        ),
    ):
        function = option(function)
    return function


@click.command()
@_model_options
@click.option(
    "--protection",
    default="coded",
    show_default=True,
    help="How O is limited: coded, published, adversarial, randomised, gaussian or selective.",
)
@click.option("--bits", type=int, default=None, help="Budget of a request.  [default: 16 with coded]")
@click.option("--epsilon", type=float, default=None, help="Of one request: with randomised.")
@click.option(
    "--rich-share",
    type=float,
    default=None,
    help="Of requests that may tell more: with selective or adversarial.",
)
@click.option("--noise", type=float, default=None, help="Standard deviation of the noise: with gaussian.")
@click.option("--count", type=_COUNT, default=4, show_default=True, help="Networks in the pool.")
@_making_options
@engine_options("Where parts of 16 networks are trained, and attacks run.")
@skip_bad_option
@common_options(out="Folder for the pool, result.json and report.html.", out_required=True)
def protect(
    model: str,
    data: str,
    protection: str,
    bits: int | None,
    epsilon: float | None,
    rich_share: float | None,
    noise: float | None,
    count: int,
    skip_bad: bool,
    data_dir: Path | None,
    out: Path,
    as_json: bool,
    debug: bool,
    **asked: Any,
) -> None:
    r"""Make a pool of obfuscation networks for your own classifier, and measure what leaks.

    What the model takes and gives is worked out from the samples, and said; what cannot be is asked for. The
    model is not changed, and no pickle is loaded.

    \b
    Example:
      obfnet protect --model model.onnx --data pictures/ --bits 16 --out pool/
    """
    from obfnet.protecting.figures import report_lines
    from obfnet.protecting.run import protect as run

    wishes, settings = _asked(**asked)
    made = run(
        model,
        data,
        out=out,
        wishes=wishes,
        settings=replace(
            settings,
            protection=protection,
            bits=bits,
            epsilon=epsilon,
            rich_share=rich_share,
            noise=noise,
            count=count,
        ),
        data_dir=data_dir,
        skip_bad=skip_bad,
        command=typed_command(),
        progress=terminal_progress(),
    )
    lines = [*report_lines(made.figures), f"pool, result.json, audit.json, report.html: {out}"]
    print_result(made.figures, lines, as_json=as_json, out=None)


@click.command()
@_model_options
@click.option(
    "--protection",
    default="coded",
    show_default=True,
    help="How O is limited: some of coded, published, adversarial, randomised, gaussian, selective.",
)
@click.option("--bits", default="", help="Budgets of a request.  [default: 4,8,16 with coded]")
@click.option("--epsilon", default="", help="Of one request: with randomised.")
@click.option(
    "--rich-share", default="", help="Of requests that may tell more: with selective or adversarial."
)
@click.option("--noise", default="", help="Standard deviations of the noise: with gaussian.")
@click.option("--count", default="", help="Networks in a pool.  [default: 4]")
@_making_options
@engine_options("Where pools are trained, all at once with ray, and attacks run.")
@skip_bad_option
@common_options(out="Folder for a pool of each setting, sweep.json and sweep.html.", out_required=True)
def sweep(
    model: str,
    data: str,
    protection: str,
    bits: str,
    epsilon: str,
    rich_share: str,
    noise: str,
    count: str,
    skip_bad: bool,
    data_dir: Path | None,
    out: Path,
    as_json: bool,
    debug: bool,
    **asked: Any,
) -> int:
    r"""Protect your classifier in several ways, and see what each keeps and what leaks.

    Values have commas between. Each protection is tried with those of the values that it takes, in a folder
    of its own. A sweep that was stopped goes on; pools of former ones are taken where they are asked for.

    \b
    Example:
      obfnet sweep --model model.onnx --data pictures/ --protection coded,published --bits 4,8,16 --out sweep/
    """
    from obfnet.protecting.sweep import Span, sweep_lines
    from obfnet.protecting.sweep import sweep as run

    wishes, settings = _asked(**asked)
    made = run(
        model,
        data,
        out=out,
        span=Span(
            protections=comma_separated(protection),
            bits=_numbers(bits, int, "--bits"),
            epsilon=_numbers(epsilon, float, "--epsilon"),
            rich_share=_numbers(rich_share, float, "--rich-share"),
            noise=_numbers(noise, float, "--noise"),
            count=_numbers(count, int, "--count"),
        ),
        wishes=wishes,
        settings=settings,
        data_dir=data_dir,
        skip_bad=skip_bad,
        command=typed_command(),
        progress=terminal_progress(),
    )
    lines = [*sweep_lines(made.figures), f"pools, sweep.json, sweep.html: {out}"]
    print_result(made.figures, lines, as_json=as_json, out=None)
    for name, error in made.failed.items():
        click.echo(f"obfnet: {name}: {error}", err=True)
    return 1 if made.failed else 0


def _asked(
    *,
    labels: str,
    classes: str,
    arch: str,
    hidden: int | None,
    max_macs: int | None,
    max_parameters: int | None,
    epochs: float | None,
    device_only_epochs: float | None,
    shape: str,
    layout: str,
    rate: int | None,
    span: str,
    dtype: str,
    mean: str,
    std: str,
    budget: str,
    attacks: str,
    engine: str,
    address: str | None,
    workers: int | None,
    seed: int,
) -> "tuple[Wishes, ProtectSettings]":
    """What the options that both commands have ask for, but for the protection and its limits."""
    from obfnet.models.wishes import Wishes
    from obfnet.protecting.settings import ProtectSettings

    wishes = Wishes(
        shape=_numbers(shape, int, "--shape"),
        layout=layout,
        rate_hz=rate or 0,
        range=span,
        dtype=dtype,
        mean=_numbers(mean, float, "--mean"),
        std=_numbers(std, float, "--std"),
    )
    settings = ProtectSettings(
        architecture=arch,
        hidden=hidden,
        max_macs=max_macs,
        max_parameters=max_parameters,
        epochs=epochs,
        device_only_epochs=device_only_epochs,
        labels=labels == "own",
        classes=comma_separated(classes),
        budget=budget,
        attacks=comma_separated(attacks),
        engine="ray" if on_ray(engine, address, workers) else "local",
        address=address,
        workers=workers,
        seed=seed,
    )
    return wishes, settings


def _numbers(text: str, kind: type[T], option: str) -> tuple[T, ...]:
    try:
        return tuple(kind(part) for part in comma_separated(text))
    except ValueError as exc:
        raise UsageError(f"numbers with commas between for {option}", repr(text), "correct it") from exc
