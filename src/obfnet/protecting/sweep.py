"""Several pools for one model side by side: what each budget, protection and number of networks comes to.

Every setting has a folder of its own with all that `protect` leaves in one; the table and the page beside
them are made of these. A sweep that was stopped goes on, and one with more settings trains what is new.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Final

from torch import nn

from obfnet.core.errors import ObfNetError, TrainingError, UsageError
from obfnet.core.files import claim_output, write_atomic, write_json
from obfnet.core.progress import Progress
from obfnet.core.result import provenance
from obfnet.core.spec import Samples
from obfnet.models.wishes import Wishes
from obfnet.protecting.run import Protected, limited_by, protect_each
from obfnet.protecting.samples import Arrays
from obfnet.protecting.settings import ProtectSettings
from obfnet.report.sweep_page import ceiling, render_sweep
from obfnet.training.protections import PROTECTIONS

_BITS: Final = (4, 8, 16)
# How a setting's folder says what differs, in this order.
_WRITTEN: Final = {"bits": "", "epsilon": "epsilon", "noise": "noise", "rich_share": "rich"}
# Of a pool's figures, what is the same in all, and stands once beside them.
_COMMON: Final = ("model", "measured_as", "samples", "skipped", "command")


@dataclass(frozen=True, kw_only=True)
class Span:
    """The values that a sweep tries, in any order; each protection is tried with those that it takes.

    Args:
        protections: Registry names.
        bits: Budgets of a request.
        epsilon: For `randomised`.
        noise: For `gaussian`.
        rich_share: For `selective` or `adversarial`.
        count: Networks in the pool.

    Of what is empty, a sweep takes the one value of its settings; with `coded` and no bits 4, 8 and 16.

    Raises:
        UsageError: one value where several may be, as a text or a number.
    """

    protections: Sequence[str] = ()
    bits: Sequence[int] = ()
    epsilon: Sequence[float] = ()
    noise: Sequence[float] = ()
    rich_share: Sequence[float] = ()
    count: Sequence[int] = ()

    def __post_init__(self) -> None:
        for name, values in vars(self).items():
            if isinstance(values, str) or not isinstance(values, Sequence):
                raise UsageError(
                    f"several values of {name}, in a tuple", repr(values), f"write ({values!r},)"
                )


@dataclass(frozen=True, kw_only=True, eq=False)
class Swept:
    """The pools of a sweep, with their figures.

    Args:
        figures: The content of `sweep.json`.
        pools: By the name of their setting, which is their folder's.
        failed: Settings that could not be trained or measured, with the reason.
        folder: Where all of it lies.
    """

    figures: dict[str, Any]
    pools: Mapping[str, Protected]
    failed: Mapping[str, ObfNetError]
    folder: Path

    @property
    def report(self) -> str:
        """The figures as a table."""
        return "\n".join(sweep_lines(self.figures))


def settings_of(span: Span, base: ProtectSettings | None = None) -> dict[str, ProtectSettings]:
    """The settings of a sweep by the names of their folders.

    Args:
        span: What is tried.
        base: Everything else.

    Raises:
        UnknownNameError: no such protection, or no such attack.
        UsageError: a value that no protection of the sweep takes, or one that cannot be.

    Example:
        >>> list(settings_of(Span(protections=("published", "coded"), bits=(8, 16), count=(1, 4))))
        ['published-k1', 'published-k4', 'coded-8-k1', 'coded-8-k4', 'coded-16-k1', 'coded-16-k4']
    """
    base = base or ProtectSettings()
    takes = {name: PROTECTIONS.get(name).takes for name in span.protections or (base.protection,)}
    for option in _WRITTEN:
        if getattr(span, option) and not any(option in taken for taken in takes.values()):
            raise UsageError(
                f"a protection that takes --{option.replace('_', '-')}",
                ", ".join(takes),
                "leave it out, or add one that does",
            )
    found = {}
    for name, taken in takes.items():
        tried = {one: getattr(span, one) or (getattr(base, one),) for one in _WRITTEN if one in taken}
        if name == "coded" and tried["bits"] == (None,):
            tried["bits"] = _BITS
        for *limits, count in product(*tried.values(), span.count or (base.count,)):
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
            parts = [_WRITTEN[one] + _short(value) for one, value in values.items() if value is not None]
            found["-".join([name, *parts, f"k{count}"])] = settings
    return found


def _short(value: float) -> str:
    """A number as briefly as it can be read back."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


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
        out: Folder for the pools, `sweep.json` and `sweep.html`, which are of this sweep's settings alone;
            pools of a former one stay, and are taken where they are asked for again.
        span: What is tried; None tries `coded` with 4, 8 and 16 bits.
        settings: Everything that is the same in all.
        wishes: As for `protect`.
        data_dir: Likewise.
        skip_bad: Likewise.
        command: Likewise.
        progress: Likewise.

    Returns:
        The pools and the table of them; a setting that fails, as a code that collapses, stops no other one.

    Raises:
        ObfNetError: as `protect`, for what is wrong for all settings, or where none came to its end.

    Does not guarantee: that the setting that leaks least here does so under another attack. Accuracies are of
        test samples: one of many settings that was chosen by them looks better than it is.
    """
    folder, named, begun = Path(out), settings_of(span or Span(), settings), time.monotonic()
    table, page = folder / "sweep.json", folder / "sweep.html"

    def begin() -> None:
        # Of pools that may be replaced now.
        table.unlink(missing_ok=True)
        page.unlink(missing_ok=True)

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
            begin=begin,
        )
        found = dict(zip(named, made, strict=True))
        pools = {name: one for name, one in found.items() if isinstance(one, Protected)}
        failed = {name: one for name, one in found.items() if isinstance(one, ObfNetError)}
        if not pools:
            name, error = next(iter(failed.items()))
            raise TrainingError(
                "a setting that comes to its end", f"none; {name}: {error}", "mend that first"
            )
        about = next(iter(pools.values())).figures
        about = {name: about[name] for name in (*_COMMON, *provenance())}
        rows = [
            {"name": name, "settings": {k: _json_ready(v) for k, v in asdict(named[name]).items()}}
            | {what: figure for what, figure in pool.figures.items() if what not in about}
            for name, pool in pools.items()
        ]
        figures = about | {
            "seconds": {"total": round(time.monotonic() - begun, 2)},
            "rows": rows,
            "failed": {name: str(error) for name, error in failed.items()},
        }
        written = render_sweep(figures).encode()
        write_json(table, figures)
        write_atomic(page, written)
    return Swept(figures=figures, pools=pools, failed=failed, folder=folder)


def _json_ready(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def sweep_lines(figures: Mapping[str, Any]) -> list[str]:
    """The table of a sweep, for people."""
    rows = figures["rows"]
    right, reduced = rows[0]["accuracy"], rows[0]["leakage"]["reduced_to"]
    table = [list(_HEADINGS), *([shown(row) for shown in _HEADINGS.values()] for row in rows)]
    if any(row["attribute"] for row in rows):
        for line, cell in zip(table, [_ATTRIBUTE, *map(_recognised, rows)], strict=True):
            line.append(cell)
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    of = "" if reduced is None else f", at {'x'.join(map(str, reduced))}"
    return [
        *figures["model"]["worked_out"],
        f"{figures['measured_as']} on {right['samples']} test samples, raw {right['raw']:.2%}; leakage of "
        f"the first network of each pool{of}:",
        *(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in table
        ),
        *(f"{name}: not made" for name in figures["failed"]),
    ]


def _attacked(row: Mapping[str, Any]) -> str:
    leaked = row["leakage"]
    counted = f"{leaked['attacks_counted']} of {leaked['attacks_run']} count"
    return f"{leaked['attack']} {leaked['threat_level']}, {counted}"


def _recognised(row: Mapping[str, Any]) -> str:
    speaks = row["attribute"]
    return "-" if speaks is None else f"{speaks['accuracy']:.1%} (chance {speaks['chance']:.1%})"


_ATTRIBUTE: Final = "attribute"
_HEADINGS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "setting": lambda row: str(row["name"]),
    "at most": lambda row: ceiling(row["budget_bits"]),
    "obfuscated": lambda row: f"{row['accuracy']['obfuscated']:.2%}",
    "worst": lambda row: f"{row['accuracy']['obfuscated_worst']:.2%}",
    "device only": lambda row: f"{row['accuracy']['device_only']:.2%}",
    "leakage": lambda row: f"{row['leakage']['normalised']:.3f}",
    "95 % interval": lambda row: "{:.3f} to {:.3f}".format(*row["leakage"]["normalised_interval"]),
    "1 in 20": lambda row: f"{row['leakage']['normalised_p95']:.3f}",
    "attack": _attacked,
    "MACs": lambda row: f"{row['obfuscation']['macs']:,}",
}
