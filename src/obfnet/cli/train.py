"""`obfnet train`: inference networks, and pools of obfuscation networks against them."""

from pathlib import Path

import click

from obfnet.cli.console import terminal_progress
from obfnet.cli.options import (
    case_options,
    common_options,
    engine_options,
    on_ray,
    print_result,
    processor_option,
)
from obfnet.core.errors import MissingExtraError, UsageError
from obfnet.core.files import claim_output
from obfnet.data.cases import case_spec, load_case, split_rule


@click.group()
def train() -> None:
    """Train networks (the coordinator's part)."""


@train.command()
@case_options
@click.option(
    "--arch",
    default="",
    help="cnn (the paper's I_C), mlp (I_M), or ours: residual, compact.  [default: the case's]",
)
@click.option(
    "--epochs", type=float, default=None, help="Passes over the training samples.  [default: the case's]"
)
@click.option(
    "--patience",
    type=click.IntRange(1),
    default=None,
    help="Stop after so many epochs without a better validation accuracy.  [default: never]",
)
@click.option(
    "--dtype", default=None, help="What the backend takes: float32 or uint8.  [default: the case's]"
)
@processor_option
@common_options(out="Folder for the network.", out_required=True)
def inference(
    case: str,
    split: str | None,
    skip_bad: bool,
    arch: str,
    epochs: float | None,
    patience: int | None,
    dtype: str | None,
    processor: str,
    seed: int,
    data_dir: Path | None,
    out: Path,
    as_json: bool,
    debug: bool,
) -> None:
    r"""Train an inference network and export it as ONNX.

    \b
    Example:
      obfnet train inference --case mnist --arch cnn --out inference/
    """
    spec = case_spec(case)
    split_rule(spec, split)
    _need_torch()
    from obfnet.training.inference import train_inference
    from obfnet.training.recipes import inference_recipe

    recipe = inference_recipe(spec, spec.inference_architecture(arch), epochs=epochs)
    progress = terminal_progress()
    dataset = load_case(case, split=split, skip_bad=skip_bad, data_dir=data_dir, progress=progress)
    with claim_output(out, kind="inference"):
        trained = train_inference(
            dataset,
            out=out,
            architecture=arch,
            dtype=dtype,
            recipe=recipe,
            patience=patience,
            seed=seed,
            place=processor,
            progress=progress,
        )
    result = {
        "onnx": str(trained.onnx_path),
        "id": trained.card.id,
        "case": trained.card.case,
        "split": dataset.split,
        "architecture": trained.card.architecture,
        "skipped": list(dataset.skipped),
        "validation_accuracy": trained.card.validation_accuracy,
    }
    lines = [
        f"inference network {trained.card.id[:12]}: {trained.onnx_path}",
        f"validation accuracy {trained.card.validation_accuracy:.2%}",
        f"serve it with: obfnet serve {trained.onnx_path}",
    ]
    print_result(result, lines, as_json=as_json, out=None)


@train.command()
@case_options
@click.option(
    "--inference",
    "inference_path",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the inference network.",
)
@click.option(
    "--arch", default="", help="mlp (the paper's O_M), cnn (O_C) or conv (ours).  [default: the case's]"
)
@click.option(
    "--hidden",
    type=click.IntRange(1),
    default=None,
    help="Width of the bottleneck.  [default: the network's]",
)
@click.option(
    "--protection",
    default="published",
    show_default=True,
    help="How O is limited: published, coded, adversarial, randomised, gaussian or selective.",
)
@click.option(
    "--bits",
    type=int,
    default=None,
    help="Length of the code, with gaussian budget of a request, 1 to 256; with adversarial if you like.",
)
@click.option(
    "--epsilon",
    type=float,
    default=None,
    help="Of the local differential privacy of one request: with randomised, and only there.",
)
@click.option(
    "--noise",
    type=float,
    default=None,
    help="Standard deviation of the noise on each number in [-1, 1]: with gaussian, and only there.",
)
@click.option(
    "--rich-share",
    type=float,
    default=None,
    help="Share of requests that may tell more than the others: with selective, or adversarial over it.",
)
@click.option("--count", type=click.IntRange(1), default=4, show_default=True, help="Networks in the pool.")
@click.option(
    "--epochs", type=float, default=None, help="Passes over the training samples.  [default: the case's]"
)
@processor_option
@click.option(
    "--key", type=click.Path(path_type=Path), default=None, help="The coordinator's key; made on first use."
)
@engine_options("Where parts of 16 networks are trained; of more than one part the same pool comes out.")
@common_options(out="Folder for the pool.", out_required=True)
def obfuscation(
    case: str,
    split: str | None,
    skip_bad: bool,
    inference_path: Path,
    arch: str,
    hidden: int | None,
    protection: str,
    bits: int | None,
    epsilon: float | None,
    noise: float | None,
    rich_share: float | None,
    count: int,
    epochs: float | None,
    processor: str,
    key: Path | None,
    engine: str,
    address: str | None,
    workers: int | None,
    seed: int,
    data_dir: Path | None,
    out: Path,
    as_json: bool,
    debug: bool,
) -> None:
    r"""Train a pool of obfuscation networks and publish it as signed bundles.

    \b
    Example:
      obfnet train obfuscation --case mnist --inference inference/ --count 4 --out pool/
    """
    spec = case_spec(case)
    split_rule(spec, split)
    _need_torch()
    from obfnet.bundle import load_or_create_coordinator_key, public_key_text
    from obfnet.training.inference import load_inference
    from obfnet.training.obfuscation import PoolSettings, train_obfuscation
    from obfnet.training.ray_engine import CaseSource, RayEngine
    from obfnet.training.recipes import obfuscation_schedule

    ray = on_ray(engine, address, workers)
    if ray and processor == "cuda":
        raise UsageError("--processor cpu with --engine ray", "cuda", "train on a GPU with --engine local")
    schedule = obfuscation_schedule(spec, protection=protection, epochs=epochs)
    settings = PoolSettings(
        architecture=arch,
        hidden=hidden,
        protection=protection,
        bits=bits,
        epsilon=epsilon,
        noise=noise,
        rich_share=rich_share,
        count=count,
        schedule=schedule,
        seed=seed,
    )
    progress = terminal_progress()
    network = load_inference(inference_path)
    dataset = load_case(case, split=split, skip_bad=skip_bad, data_dir=data_dir, progress=progress)
    signing_key = load_or_create_coordinator_key(key)
    with claim_output(out, kind="pool"):
        pool = train_obfuscation(
            dataset,
            network,
            out=out,
            key=signing_key,
            settings=settings,
            place=processor,
            progress=progress,
            engine=RayEngine(
                source=CaseSource.of(dataset, network, case=case, skip_bad=skip_bad, data_dir=data_dir),
                address=address,
                workers=workers,
                progress=progress,
            )
            if ray
            else None,
        )
    result = {
        "pool": str(pool.folder),
        "public_key": public_key_text(signing_key),
        "validation_accuracy": list(pool.validation_accuracy),
        "reused": pool.reused,
        "split": dataset.split,
        "skipped": list(dataset.skipped),
    }
    shown = ", ".join(f"{value:.2%}" for value in pool.validation_accuracy)
    lines = [
        f"pool of {count}: {pool.folder}",
        f"validation accuracy through I: {shown}",
        f"devices trust it with: --trust {public_key_text(signing_key)}",
    ]
    print_result(result, lines, as_json=as_json, out=None)


def _need_torch() -> None:
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as exc:
        raise MissingExtraError("torch", "train") from exc
