"""The budget meter: how many bits a device has sent, and the limit after which it sends no more.

The count is raised and on disk before a request leaves, so that a crash, a lost connection or a second
process can only make it too high. It is kept per pool; a file of another pool, or a broken one, ends in an
error and never in a fresh count.
"""

import json
import math
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final, final

from obfnet.core.errors import BudgetSpentError, DataError, OutputError, UsageError
from obfnet.core.files import locked, write_json
from obfnet.guarantees.nested_levels import may_be_rich

_FORM: Final = 1
_FIELDS: Final = {"format_version", "pool", "spent_bits", "requests"}
# Only where a request was rich: older files know no such count.
_RICH: Final = "rich"


@final
class BudgetMeter:
    """Counts the bits that samples cost, and refuses where a limit would be passed.

    Args:
        pool: What the count belongs to: a pool's id.
        limit_bits: Most bits to spend, all requests together; None counts without a limit.
        path: File that keeps the count across restarts; None keeps it in this object alone.

    Raises:
        UsageError: a limit that is not positive.
        DataError: the file is broken, or another pool's.
        OutputError: the file cannot be read or made.

    Does not guarantee: anything against whoever can write the file: an older copy that is put back gives its
        bits back. Where that matters, keep the file where only the device's own software can write. Nor does
        the meter see that two samples show the same thing: it counts each.
    """

    def __init__(self, pool: str, *, limit_bits: float | None = None, path: Path | None = None) -> None:
        if limit_bits is not None and not 0 < limit_bits < math.inf:
            raise UsageError("a limit above 0 bits", f"{limit_bits}", "change it, or leave it out")
        self._pool, self._path, self.limit_bits = pool, path, limit_bits
        self._count: dict[str, Any] = self._fresh()
        if path is not None:
            with self._locked():
                # A file that cannot be written is found out now, and not when a sample waits.
                write_json(path, self._read())

    @property
    def spent_bits(self) -> float:
        """Bits spent so far, by every process that shares the file."""
        return float(self._read()["spent_bits"])

    @property
    def requests(self) -> int:
        """How many requests were counted."""
        return int(self._read()["requests"])

    @property
    def rich(self) -> int:
        """How many of them were rich, or may have been."""
        return int(self._read().get(_RICH, 0))

    def spend(self, bits: float) -> None:
        """Counts a request before it is sent.

        Args:
            bits: What it can leak at most, ≥ 0 and finite.

        Raises:
            BudgetSpentError: the limit would be passed; nothing was counted, and nothing may be sent.
            DataError, OutputError: the count cannot be kept; nothing may be sent.
        """
        with self._locked():
            self._spend(self._read(), bits)

    def spend_one_of_two(self, *, poor_bits: float, rich_bits: float, share: float) -> bool:
        """Counts a request of a bundle with two levels, as a rich one where the share allows any.

        Args:
            poor_bits: What it costs if it may not be rich, ≥ 0 and finite.
            rich_bits: What it costs if it is, likewise.
            share: Of rich requests: of the first n no more than share x n + 1 ever are.

        Returns:
            Whether it may be rich. If it then is not, `give_back` what was counted too much.

        Raises:
            BudgetSpentError, DataError, OutputError: as `spend`; nothing may be sent.
        """
        with self._locked():
            count = self._read()
            rich = count.get(_RICH, 0)
            if not may_be_rich(share, requests=count["requests"], rich=rich):
                self._spend(count, poor_bits)
                return False
            self._spend({**count, _RICH: rich + 1}, rich_bits)
            return True

    def give_back(self, bits: float) -> None:
        """A request that was counted as rich is not.

        Args:
            bits: By how much less it costs, ≥ 0 and finite.

        Raises:
            DataError, OutputError: as `spend`; the higher count stays.
        """
        with self._locked():
            count = self._read()
            self._keep(
                {
                    **count,
                    "spent_bits": max(0.0, count["spent_bits"] - bits),
                    _RICH: max(0, count.get(_RICH, 0) - 1),
                }
            )

    def _spend(self, count: dict[str, Any], bits: float) -> None:
        if not 0 <= bits < math.inf:
            raise UsageError("a finite number of bits", f"{bits}", "use a protection with a budget")
        spent = count["spent_bits"] + bits
        if self.limit_bits is not None and spent > self.limit_bits:
            raise BudgetSpentError(
                f"at most {self.limit_bits:g} bits sent in all",
                f"{count['spent_bits']:g} spent and {bits:g} more asked for",
                "nothing was sent; raise the limit only if the person whose data it is agrees",
            )
        self._keep({**count, "spent_bits": spent, "requests": count["requests"] + 1})

    def _keep(self, count: dict[str, Any]) -> None:
        self._count = count
        if self._path is not None:
            write_json(self._path, count)

    def _fresh(self) -> dict[str, Any]:
        return {"format_version": _FORM, "pool": self._pool, "spent_bits": 0.0, "requests": 0}

    def _read(self) -> dict[str, Any]:
        if self._path is None:
            return self._count
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            # Gone since the last request: what is remembered counts on.
            return self._count
        except OSError as exc:
            raise OutputError(
                f"a budget meter that can be read at {self._path}", str(exc.strerror), "check its permissions"
            ) from exc
        remedy = "nothing was sent; do not delete it lightly: the bits that it counted were sent"
        wanted = f"the budget meter of pool {self._pool[:12]} in {self._path}"
        try:
            count = json.loads(text)
            good = set(count) - {_RICH} == _FIELDS and count["format_version"] == _FORM
            spent, requests, rich = (
                float(count["spent_bits"]),
                int(count["requests"]),
                int(count.get(_RICH, 0)),
            )
            good = good and 0 <= spent < math.inf and 0 <= rich <= requests
        except (ValueError, KeyError, TypeError) as exc:
            raise DataError(wanted, "a broken file", remedy) from exc
        if not good:
            raise DataError(wanted, "a broken file", remedy)
        if count["pool"] != self._pool:
            raise DataError(wanted, f"that of pool {str(count['pool'])[:12]}", "give each pool its own file")
        return dict(count)

    def _locked(self) -> AbstractContextManager[None]:
        if self._path is None:
            return nullcontext()
        remedy = "nothing was sent; choose a folder that the device can write"
        return locked(self._path, what="a budget meter", remedy=remedy)
