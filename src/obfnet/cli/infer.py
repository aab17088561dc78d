"""`obfnet infer`: the device's part, for one file."""

from pathlib import Path

import click

from obfnet.bundle import read_pool
from obfnet.cli.options import (
    common_options,
    meter_options,
    pool_options,
    print_result,
    request_options,
    trust_option,
    trusted,
)
from obfnet.core.errors import UsageError
from obfnet.edge import Device, UnsafeRawPassthrough


@click.command()
@pool_options
@click.option(
    "--input", "input_path", required=True, help="PNG, JPEG, WAV, .npy or IDX file; IDX#7 is its eighth item."
)
@click.option("--raw", "send_raw", is_flag=True, help="Send the raw sample, UNPROTECTED, for comparison.")
@meter_options
@request_options
@trust_option
@common_options(out="File for the answer as JSON.")
def infer(
    pool_path: Path,
    url: str,
    input_path: str,
    send_raw: bool,
    model: str | None,
    protocol: str,
    timeout_s: float,
    meter: Path | None,
    limit_bits: float | None,
    pick: str,
    trust: tuple[str, ...],
    seed: int,
    data_dir: Path | None,
    out: Path | None,
    as_json: bool,
    debug: bool,
) -> None:
    r"""Obfuscate a sample with a bundle picked at random and have the backend classify it.

    \b
    Example:
      obfnet infer --pool pool/ --url http://127.0.0.1:8080 --input digit.png
    """
    checked = trusted(trust)
    pool = read_pool(pool_path, trust=checked)
    asker: Device | UnsafeRawPassthrough
    if send_raw:
        if meter is not None or limit_bits is not None:
            raise UsageError("no meter and no limit with --raw", "one", "raw samples have no budget to count")
        click.echo("obfnet: sending the raw sample, unprotected", err=True)
        asker = UnsafeRawPassthrough(url, pool.input, model=model, protocol=protocol, timeout_s=timeout_s)
    else:
        asker = Device(
            pool,
            url,
            model=model,
            protocol=protocol,
            timeout_s=timeout_s,
            meter=meter,
            limit_bits=limit_bits,
            pick=pick,
        )
    with asker:
        answer = asker.infer(input_path)
        spent = asker.spent_bits if isinstance(asker, Device) else None
    result = {
        "labels": answer.labels.tolist(),
        "scores": answer.scores.tolist(),
        "bundle": answer.bundle,
        "protocol": answer.protocol,
        "request_bytes": answer.request_bytes,
        "obfuscate_us": answer.obfuscate_s * 1e6,
        "total_us": answer.total_s * 1e6,
        "spent_bits": spent,
    }
    sent = "raw" if send_raw else f"obfuscated by {answer.bundle}"
    lines = [
        f"label {label} (score {scores[label]:.3f})"
        for label, scores in zip(answer.labels.tolist(), answer.scores, strict=True)
    ]
    lines.append(
        f"sent {sent}: {answer.request_bytes} bytes, {answer.protocol}, {answer.total_s * 1e3:.1f} ms"
    )
    if spent is not None:
        lines.append(f"bits spent so far: {spent:g}" + ("" if limit_bits is None else f" of {limit_bits:g}"))
    print_result(result, lines, as_json=as_json, out=out)
