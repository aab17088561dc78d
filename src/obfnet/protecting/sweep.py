"""Several pools for one model side by side: what each budget, protection and number of networks comes to.

Every setting has a folder of its own with all that `protect` leaves in one; the table and the page beside
them are made of these. A sweep that was stopped goes on, and one with more settings trains what is new.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Final

from torch import nn

from obfnet.core.errors import UsageError
from obfnet.core.files import claim_output, write_atomic, write_json
from obfnet.core.progress import Progress
from obfnet.core.result import provenance
from obfnet.core.spec import Samples
from obfnet.models.wishes import Wishes
from obfnet.protecting.run import Protected, limited_by, protect_each
from obfnet.protecting.samples import Arrays
from obfnet.protecting.settings import ProtectSettings
from obfnet.report.sweep_page import render_sweep
from obfnet.training.protections import PROTECTIONS

_BITS: Final = (4, 8, 16)
# How a setting's folder says what differs.
_WRITTEN: Final = {"bits": "{:g}", "epsilon": "epsilon{:g}", "noise": "noise{:g}", "rich_share": "rich{:g}"}
# Of a pool's figures, what is the same in all, and stands once beside them.
_COMMON: Final = ("model", "measured_as", "samples", "skipped", "command")


@dataclass(frozen=True, kw_only=True)
class Span:
    """The values that a sweep tries; each protection is tried with those that it takes.

    Args:
        protections: Registry names.
        bits: Budgets of a request; empty takes 4, 8 and 16 with `coded`.
        epsilon: For `randomised`.
        noise: For `gaussian`.
        rich_share: For `selective` or `adversarial`.
        count: Networks in the pool.
    """

    protections: Sequence[str] = ("coded",)
    bits: Sequence[int] = ()
    epsilon: Sequence[float] = ()
    noise: Sequence[float] = ()
    rich_share: Sequence[float] = ()
    count: Sequence[int] = (4,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Swept:
    """The pools of a sweep, with their figures.

    Args:
        figures: The content of `sweep.json`.
        pools: By the name of their setting, which is their folder's.
        folder: Where all of it lies.
    """

    figures: dict[str, Any]
    pools: Mapping[str, Protected]
    folder: Path

    @property
    def report(self) -> str:
        """The figures as a table."""
        return "\n".join(sweep_lines(self.figures))


def settings_of(span: Span, base: ProtectSettings | None = None) -> dict[str, ProtectSettings]:
    """The settings of a sweep by the names of their folders.

    Args:
        span: What is tried.
        base: Everything else; what the span names is replaced in it.

    Raises:
        UnknownNameError: no such protection.
        UsageError: a value that no protection of the sweep takes, or one that cannot be.

    Example:
        >>> list(settings_of(Span(protections=("published", "coded"), bits=(8, 16), count=(1, 4))))
        ['published-k1', 'published-k4', 'coded-8-k1', 'coded-8-k4', 'coded-16-k1', 'coded-16-k4']
    """
    base = base or ProtectSettings()
    takes = {name: PROTECTIONS.get(name).takes for name in span.protections}
    if not takes or not span.count:
        raise UsageError("a protection and a number of networks", "none", "name some")
    for option in _WRITTEN:
        if getattr(span, option) and not any(option in taken for taken in takes.values()):
            raise UsageError(
                f"a protection that takes --{option.replace('_', '-')}",
                ", ".join(takes),
                "leave it out, or add one that does",
            )
    found = {}
    for name, taken in takes.items():
        tried = {option: list(dict.fromkeys(getattr(span, option))) for option in _WRITTEN if option in taken}
        if name == "coded" and not tried["bits"]:
            tried["bits"] = list(_BITS)
        for *limits, count in product(
            *(each or [None] for each in tried.values()), dict.fromkeys(span.count)
        ):
            values: dict[str, Any] = dict(zip(tried, limits, strict=True))
            settings = replace(
                base,
                protection=name,
                count=count,
                bits=values.get("bits"),
                epsilon=values.get("epsilon"),
                noise=values.get("noise"),
                rich_share=values.get("rich_share"),
            )
            limited_by(settings)
            parts = [_WRITTEN[option].format(value) for option, value in values.items() if value is not None]
            several = [f"k{count}"] if len(set(span.count)) > 1 else []
            found["-".join([name, *parts, *several])] = settings
    return found


def sweep(
    model: nn.Module | Path | str,
    data: Path | str | Arrays | Samples,
    *,
    out: Path | str,
    span: Span | None = None,
    settings: ProtectSettings | None = None,
    wishes: Wishes | None = None,
    data_dir: Path | None = None,
    skip_bad: bool = False,
    command: str = "obfnet.sweep(...)",
    progress: Progress | None = None,
) -> Swept:
    """Protects a model in several ways and puts what came out side by side.

    Args:
        model: As for `protect`.
        data: Likewise.
        out: Folder for the pools, `sweep.json` and `sweep.html`; what a former sweep left there is kept.
        span: What is tried; None tries `coded` with 4, 8 and 16 bits.
        settings: Everything that is the same in all.
        wishes: As for `protect`.
        data_dir: Likewise.
        skip_bad: Likewise.
        command: Likewise.
        progress: Likewise.

    Returns:
        The pools and the table of them.

    Raises:
        ObfNetError: as `protect`; what was finished is kept.

    Does not guarantee: that the setting that leaks least here does so under another attack. Accuracies are of
        test samples: one of many settings that was chosen by them looks better than it is.
    """
    folder, named = Path(out), settings_of(span or Span(), settings)
    with claim_output(folder, kind="sweep"):
        made = protect_each(
            model,
            data,
            {folder / name: one for name, one in named.items()},
            wishes=wishes,
            data_dir=data_dir,
            skip_bad=skip_bad,
            command=command,
            progress=progress,
        )
        pools = dict(zip(named, made, strict=True))
        about = {name: made[0].figures[name] for name in (*_COMMON, *provenance())}
        rows = [
            {"name": name}
            | {what: figure for what, figure in pool.figures.items() if what not in (*about, "seconds")}
            for name, pool in pools.items()
        ]
        figures = about | {"rows": rows}
        write_json(folder / "sweep.json", figures)
        write_atomic(folder / "sweep.html", render_sweep(figures).encode())
    return Swept(figures=figures, pools=pools, folder=folder)


def sweep_lines(figures: Mapping[str, Any]) -> list[str]:
    """The table of a sweep, for people."""
    right = figures["rows"][0]["accuracy"]
    table = [("setting", "bits", "obfuscated", "worst", "device only", "leakage", "attack", "MACs")]
    for row in figures["rows"]:
        accuracy, leaked = row["accuracy"], row["leakage"]
        bits = row["budget_bits"]
        table.append(
            (
                row["name"],
                "no limit" if bits is None else f"{bits:g}",
                f"{accuracy['obfuscated']:.2%}",
                f"{accuracy['obfuscated_worst']:.2%}",
                f"{accuracy['device_only']:.2%}",
                f"{leaked['normalised']:.3f}",
                f"{leaked['attack']} {leaked['threat_level']}",
                f"{row['obfuscation']['macs']:,}",
            )
        )
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return [
        *figures["model"]["worked_out"],
        f"{figures['measured_as']} on {right['samples']} test samples, raw {right['raw']:.2%}:",
        *(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in table
        ),
    ]
