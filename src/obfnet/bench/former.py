"""A result file that is written row by row: what it already holds is kept, unless it is another's."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from obfnet.core.errors import OutputError


def former_result(out: Path, *, what: str, key: str, same: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a result file of the same benchmark and settings, with its rows by name.

    Args:
        out: The file.
        what: What it must be, for the message.
        key: Of a row, its name.
        same: What of the settings must be as it is now.

    Returns:
        The file's content, its `rows` a dict of name to row; of a file that is not there only empty `rows`.

    Raises:
        OutputError: another file, or a result of other settings.
    """
    wanted = f"{what} in {out}, or no such file"
    try:
        former: dict[str, Any] = json.loads(out.read_text())
        former = {**former, "rows": {row[key]: row for row in former["rows"]}}
        other = {name: former[name] for name, value in same.items() if former[name] != value}
    except FileNotFoundError:
        return {"rows": {}}
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise OutputError(wanted, "another file", "give another --out") from exc
    if other:
        differing = ", ".join(f"{name} {value}" for name, value in other.items())
        raise OutputError(wanted, f"one of {differing}", "give another --out")
    return former
