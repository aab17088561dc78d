"""`obfnet monitor`: whether a pool still fits the samples and the backend."""

from pathlib import Path
from typing import Final

import click
import numpy as np

from obfnet.bundle import read_pool
from obfnet.cli.console import terminal_progress
from obfnet.cli.options import (
    common_options,
    meter_options,
    pool_options,
    print_result,
    trust_option,
    trusted,
)
from obfnet.core.errors import DataError, UsageError
from obfnet.core.files import write_json
from obfnet.core.spec import InputSpec, Samples
from obfnet.edge import Device
from obfnet.edge.asking import asked
from obfnet.edge.drift import check_known
from obfnet.edge.inputs import read_samples
from obfnet.edge.monitor import WINDOW, Monitor, Reference, in_windows, verdict_document

_PATH: Final = click.Path(path_type=Path)
_ALARM: Final = 3


@click.command()
@pool_options
@click.option(
    "--input",
    "input_path",
    type=_PATH,
    required=True,
    help="Samples: a file that `infer` takes, or a folder of such files.",
)
@click.option(
    "--reference",
    "reference_path",
    type=_PATH,
    default=Path("monitor.json"),
    show_default=True,
    help="File of what is usual.",
)
@click.option(
    "--learn",
    is_flag=True,
    help="Make the reference of these samples, at least 1,000 that are as they should be.",
)
@click.option(
    "--window", type=int, default=WINDOW, show_default=True, help="Requests that are judged together."
)
@click.option(
    "--in-order",
    is_flag=True,
    help="Take the files of a folder in the order of their names, not in one drawn by --seed.",
)
@meter_options
@trust_option
@common_options(out="File for the result as JSON.")
def monitor(
    pool_path: Path,
    url: str,
    input_path: Path,
    reference_path: Path,
    learn: bool,
    window: int,
    in_order: bool,
    model: str | None,
    meter: Path | None,
    limit_bits: float | None,
    trust: tuple[str, ...],
    seed: int,
    data_dir: Path | None,
    out: Path | None,
    as_json: bool,
    debug: bool,
) -> int:
    r"""Say when a pool no longer fits the samples or the backend; then exit with 3.

    Each sample is sent obfuscated, as `infer` sends it, and costs what a request costs.

    \b
    Example:
      obfnet monitor --pool pool/ --url http://127.0.0.1:8080 --input usual/ --learn
      obfnet monitor --pool pool/ --url http://127.0.0.1:8080 --input today/
    """
    checked = trusted(trust)
    pool, progress = read_pool(pool_path, trust=checked), terminal_progress()
    if learn:
        # Whether it can be written is found out before anything is sent; a former one stays until then.
        trial = reference_path.with_name(f".{reference_path.name}.new")
        write_json(trial, {})
        trial.unlink()
    with Device(pool, url, model=model, meter=meter, limit_bits=limit_bits) as device:
        reference = None if learn else Reference.load(reference_path, pool=device.pool_id)
        watched = None if reference is None else Monitor(reference, device.spec, window=window)
        samples = _read(input_path, device.spec, seed=None if in_order else seed)
        if learn:
            check_known(len(samples))
        elif len(samples) < window:
            raise UsageError(f"at least {window} samples, a window", str(len(samples)), "lower --window")
        # One by one: samples of one request go through the same bundle, and would not be independent.
        scores = np.concatenate([answer.scores for answer in asked(device, samples, progress)])
        probes, spent = device.probe(), device.spent_bits
        if watched is None:
            learnt = Reference.learnt(samples, scores, spec=device.spec, pool=device.pool_id, probes=probes)
            learnt.save(reference_path)
            said = f"learnt from {len(samples)} samples what is usual: {reference_path}"
            result = {"reference": str(reference_path), "samples": len(samples), "spent_bits": spent}
            print_result(result, [said, *_spent(spent)], as_json=as_json, out=out)
            return 0
        verdicts = []
        for part in in_windows(len(samples), window):
            watched.observe(samples[part], scores[part])
            verdicts.append(watched.judge(probes))
    alarms, left = [one for one in verdicts if one.alarm], len(samples) % window
    lines = [one.sentence() for one in verdicts]
    lines.append(f"{len(alarms)} of {len(verdicts)} windows are not as before")
    if left:
        lines.append(f"{left} samples were left, fewer than a window")
    lines += _spent(spent)
    result = {
        "windows": [verdict_document(one) for one in verdicts],
        "alarms": len(alarms),
        "left": left,
        "spent_bits": spent,
    }
    print_result(result, lines, as_json=as_json, out=out)
    return _ALARM if alarms else 0


def _spent(bits: float | None) -> list[str]:
    return [] if bits is None else [f"bits spent so far: {bits:g}"]


def _read(path: Path, spec: InputSpec, *, seed: int | None) -> Samples:
    if not path.is_dir():
        return read_samples(path, spec)
    files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    if not files:
        raise DataError(f"samples in {path}", "an empty folder", "check the path")
    if seed is not None:
        # Folders are often sorted by class, and windows of one class each would be unlike the reference.
        files = [files[at] for at in np.random.default_rng(seed).permutation(len(files))]
    return np.concatenate([read_samples(file, spec) for file in files])
