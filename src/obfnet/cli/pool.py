"""`obfnet pool`: pools for a fleet of devices, published in shards, revoked, and fetched one at a time."""

from pathlib import Path
from typing import Any

import click

from obfnet.bundle import load_or_create_coordinator_key
from obfnet.bundle.publishing import SHARD_SIZE
from obfnet.bundle.publishing import publish as publish_pools
from obfnet.bundle.publishing import revoke as revoke_bundles
from obfnet.bundle.release import Release
from obfnet.cli.options import (
    common_options,
    made_for_option,
    network_id,
    print_result,
    trust_option,
    trusted,
)

_key_option = click.option(
    "--key", type=click.Path(path_type=Path), default=None, help="The coordinator's key; made on first use."
)


@click.group()
def pool() -> None:
    """Pools for a fleet: publish a release, revoke bundles of it, fetch one shard."""


@pool.command()
@click.argument("pools", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--shard-size",
    type=click.IntRange(1),
    default=SHARD_SIZE,
    show_default=True,
    help="About how many bundles a device fetches together.",
)
@_key_option
@click.option(
    "--revoke-former", is_flag=True, help="Revoke what the former version had and this one has not."
)
@common_options(out="Folder of the release, for any server of files.", out_required=True)
def publish(
    pools: tuple[Path, ...],
    shard_size: int,
    key: Path | None,
    revoke_former: bool,
    seed: int,
    data_dir: Path | None,
    out: Path,
    as_json: bool,
    debug: bool,
) -> None:
    r"""Publish pools as a release: shards under one signed index, which has a version.

    Run again with other pools for the next version. Devices that are offline go on with what they have, until
    they fetch; --revoke-former has them refuse it from then on.

    \b
    Example:
      obfnet pool publish pool/ --out release/
    """
    signing_key = load_or_create_coordinator_key(key)
    release = publish_pools(pools, out, signing_key, shard_size=shard_size, revoke_former=revoke_former)
    _print(release, [f"release.json, shards: {out}"], as_json=as_json)


@pool.command()
@click.argument("release", type=click.Path(path_type=Path))
@click.argument("bundles", nargs=-1, required=True)
@_key_option
@common_options(out="File for the result as JSON.")
def revoke(
    release: Path,
    bundles: tuple[str, ...],
    key: Path | None,
    seed: int,
    data_dir: Path | None,
    out: Path | None,
    as_json: bool,
    debug: bool,
) -> None:
    r"""Publish the next version of a release without some bundles, by name or SHA-256.

    A device that has seen it refuses them, in whatever pool they are.

    \b
    Example:
      obfnet pool revoke release/ mnist-003
    """
    written = revoke_bundles(release, bundles, load_or_create_coordinator_key(key))
    _print(written, [f"release.json, shards: {release}"], as_json=as_json, out=out)


@pool.command()
@click.argument("source")
@click.option(
    "--shards",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="How many to fetch; all but one are thrown away, so that the host learns less.",
)
@made_for_option
@trust_option
@common_options(out="Folder for the device's pool.", out_required=True)
def fetch(
    source: str,
    shards: int,
    inference_path: Path | None,
    trust: tuple[str, ...],
    seed: int,
    data_dir: Path | None,
    out: Path,
    as_json: bool,
    debug: bool,
) -> None:
    r"""Bring a device's pool up to date with a release, from its folder or URL.

    What the device has stays, where it is still in the release. An older release than one that was seen
    before is refused.

    \b
    Example:
      obfnet pool fetch https://example.org/release --out pool/
    """
    from obfnet.edge.fetch import fetch_pool

    checked = trusted(trust)
    wanted = None if inference_path is None else network_id(inference_path)
    fetched = fetch_pool(source, out, trust=checked, shards=shards, inference_network_id=wanted)
    count = len(fetched.pool.bundles)
    lines = [f"version {fetched.release.version} of release {fetched.release.release[:12]}"]
    if fetched.shards == 0:
        lines.append(f"the {count} bundles in {out} are in it: they stay, and nothing was fetched")
    else:
        lines += [
            f"{count} of {fetched.release.count} bundles: {out}",
            f"given away to the host: {fetched.given_away_bits:.1f} bits of which bundle this device uses",
        ]
    print_result(fetched.to_dict(), lines, as_json=as_json, out=None)


def _print(release: Release, more: list[str], *, as_json: bool, out: Path | None = None) -> None:
    result: dict[str, Any] = {
        "release": release.release,
        "version": release.version,
        "bundles": release.count,
        "shards": [{"folder": shard.folder, "bundles": shard.bundles} for shard in release.shards],
        "revoked": list(release.revoked),
        "public_key": release.public_key,
    }
    bundles, shards = _counted(release.count, "bundle"), _counted(len(release.shards), "shard")
    lines = [
        f"version {release.version} of release {release.release[:12]}: {bundles} in {shards}, "
        f"{len(release.revoked)} revoked",
        *more,
    ]
    print_result(result, lines, as_json=as_json, out=out)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
