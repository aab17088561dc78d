"""`obfnet verify`: what a device would check before it runs a bundle or a pool."""

from pathlib import Path

import click

from obfnet.bundle import verify as verify_path
from obfnet.cli.options import (
    common_options,
    made_for_option,
    network_id,
    print_result,
    trust_option,
    trusted,
)
from obfnet.guarantees.statement import rounded_up


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@made_for_option
@trust_option
@common_options(out="File for the result as JSON.")
def verify(
    path: Path,
    inference_path: Path | None,
    trust: tuple[str, ...],
    seed: int,
    data_dir: Path | None,
    out: Path | None,
    as_json: bool,
    debug: bool,
) -> None:
    r"""Check a bundle, a pool or a release: signature, hashes, shapes, and that it is no pass-through.

    \b
    Example:
      obfnet verify pool/
    """
    checked = trusted(trust)
    wanted = None if inference_path is None else network_id(inference_path)
    verification = verify_path(path, trust=checked, inference_network_id=wanted)
    bits = verification.budget_bits
    budget = "no ceiling" if bits is None else f"{rounded_up(bits)} bits a request"
    if (epsilon := verification.epsilon) is not None:
        budget += f", epsilon {rounded_up(epsilon)}"
    if (noise := verification.bundles[0].noise) is not None:
        budget += f", with noise {noise:g} on each number"
    if (poor := verification.bundles[0]).rich_share is not None:
        budget += f", {rounded_up(poor.poor_bits or 0.0)} for all but {poor.rich_share:.1%} of requests"
    lines = [
        f"  {check.number:>2} {check.step:<24} {check.meaning}" for check in verification.checks if check.made
    ]
    lines += [
        f"{verification.kind} of {verification.count}, signed by {verification.public_key}",
        f"made for inference network {verification.inference_network_id[:12]}; budget proved: {budget}",
        "good: a device would run it; how much it leaks is for the audit to say",
    ]
    print_result(verification.to_dict(), lines, as_json=as_json, out=out)
