"""Says when a pool no longer fits: other samples than it was made for, or another model behind the backend.

A reference is learnt once, from samples that are as they should be. Then every window of requests is compared
with it, and the backend is asked again about fixed samples of noise, which are of nobody. All of it stays on
the device.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import DataError, UsageError
from obfnet.core.files import write_json
from obfnet.core.spec import InputSpec, Samples
from obfnet.edge.drift import (
    OF_ANSWERS,
    OF_SAMPLES,
    Counts,
    Limits,
    Moved,
    limits_and_counts,
    moved,
    quantities,
)

WINDOW: Final = 500
"""Requests that are judged together."""

FEWEST_A_WINDOW: Final = 100

_FORM: Final = 1
_PROBES: Final = 16
# Scores of the same model on another machine, or in another batch, differ by less.
_SAME_SCORE: Final = 1e-3

Scores = npt.NDArray[np.float32]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """What is usual.

    Args:
        pool: Of which pool, by the id that its meter has.
        limits: Between which limits samples are counted.
        counts: How many lay in each cell.
        probes: Scores of the fixed samples of noise, `(probes, classes)`; empty for a pool that draws lots,
            whose requests differ each time.
    """

    pool: str
    limits: Limits
    counts: dict[str, Counts]
    probes: Scores

    @classmethod
    def learnt(
        cls, raw: Samples, scores: Scores, *, spec: InputSpec, pool: str, probes: Scores | None = None
    ) -> Self:
        """From samples that are as they should be.

        Args:
            raw: `(N, *shape)` of the spec, N ≥ 1,000.
            scores: What the backend answered, `(N, classes)`.
            spec: What samples are.
            pool: Id of the pool.
            probes: What it answered to the samples of noise; None without any.

        Raises:
            UsageError: fewer samples.
        """
        known = quantities(spec.from_wire(raw), scores)
        limits = Limits.learnt(known, classes=scores.shape[1])
        none = np.empty((0, scores.shape[1]), np.float32)
        return cls(
            pool=pool, limits=limits, counts=limits.count(known), probes=none if probes is None else probes
        )

    def save(self, path: Path) -> None:
        """Writes it; raises `OutputError` where that cannot be done."""
        document = {
            "format_version": _FORM,
            "pool": self.pool,
            "limits": {name: limits.tolist() for name, limits in self.limits.of.items()},
            "counts": {name: counts.tolist() for name, counts in self.counts.items()},
            "probes": self.probes.tolist(),
        }
        write_json(path, document)

    @classmethod
    def load(cls, path: Path, *, pool: str) -> Self:
        """Reads it back.

        Args:
            path: As `save` wrote it.
            pool: Of which pool it must be.

        Raises:
            DataError: no such file, a broken one, or of another pool.
        """
        wanted = f"a monitor's reference of pool {pool[:12]} in {path}"
        try:
            document = json.loads(path.read_text())
        except OSError as exc:
            raise DataError(wanted, exc.strerror or str(exc), "learn it with --learn") from exc
        except ValueError as exc:
            raise DataError(wanted, "a broken file", "learn it again") from exc
        limits, counts = limits_and_counts(document, wanted=wanted)
        classes = len(counts["label"])
        try:
            probes = np.array(document["probes"], np.float32).reshape(-1, classes)
            other = document["format_version"] != _FORM or document["pool"] != pool
        except (KeyError, TypeError, ValueError) as exc:
            raise DataError(wanted, "a broken file", "learn it again") from exc
        if other:
            raise DataError(
                wanted,
                f"one of pool {str(document['pool'])[:12]}, format {document['format_version']}",
                "learn it again for this pool",
            )
        return cls(pool=pool, limits=limits, counts=counts, probes=probes)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is to be said of one window.

    Args:
        number: Of the window, from 1.
        requests: In it.
        moved: Quantities that are distributed otherwise than in the reference.
        probe_change: Largest change of a score of the samples of noise; None where none were asked.
        other_classes: Whether an answer had another number of scores than in the reference.
    """

    number: int
    requests: int
    moved: tuple[Moved, ...]
    probe_change: float | None
    other_classes: bool = False

    @property
    def samples_moved(self) -> bool:
        """Whether raw samples are others than before."""
        return any(one.quantity in OF_SAMPLES for one in self.moved)

    @property
    def model_changed(self) -> bool:
        """Whether the backend's model answers the same request otherwise than before."""
        # Not a number is a change too.
        changed = self.probe_change is not None and not self.probe_change <= _SAME_SCORE
        return changed or self.other_classes

    @property
    def alarm(self) -> bool:
        """Whether anything is to be looked at."""
        return bool(self.moved) or self.model_changed

    def sentence(self) -> str:
        """The same in words."""
        named = ", ".join(f"{one.quantity} (p {one.p_value:.1g})" for one in self.moved)
        if self.model_changed:
            how = (
                "its answers are of other classes"
                if self.other_classes
                else f"the same requests get other scores (by up to {self.probe_change:.3g})"
            )
            finding = f"the backend's model has changed: {how}; train the pool anew for it"
        elif self.samples_moved:
            finding = (
                "samples are not what they were; see that the sensor is well, or train the pool for these"
            )
        elif self.moved:
            finding = "answers moved though samples did not: other classes than before, or another model"
        else:
            finding = "as before"
        return (
            f"window {self.number}, {self.requests} requests: {finding}{f'; moved: {named}' if named else ''}"
        )


@final
class Monitor:
    """Judges requests window by window.

    Args:
        reference: What is usual.
        spec: What samples are.
        window: Requests that are judged together, ≥ 100.

    Raises:
        UsageError: a smaller window.

    Does not guarantee: that a pool fits as long as nothing is said; what changes without changing these
        quantities is not seen. Nothing leaves the device through it, but who acts on an alarm so that others
        can see it (stops sending, say) tells them one bit about that window.
    """

    def __init__(self, reference: Reference, spec: InputSpec, *, window: int = WINDOW) -> None:
        if window < FEWEST_A_WINDOW:
            raise UsageError(f"windows of at least {FEWEST_A_WINDOW} requests", str(window), "raise --window")
        self._reference, self._spec, self._window = reference, spec, window
        self._counts = self._fresh()
        self._judged, self._other_classes = 0, False

    @property
    def waiting(self) -> int:
        """Requests of the window that is not yet full."""
        return int(self._counts["mean"].sum())

    def observe(self, raw: Samples, scores: Scores) -> bool:
        """Counts requests, at most as many as `window` still takes.

        Args:
            raw: `(N, *shape)` of the spec.
            scores: Their answers, `(N, classes)`.

        Returns:
            Whether the window is full and waits for `judge`.

        Raises:
            UsageError: more requests than the window takes.
        """
        if self.waiting + len(raw) > self._window:
            raise UsageError(
                f"at most {self._window - self.waiting} more requests",
                str(len(raw)),
                "judge the window first",
            )
        classes = len(self._counts["label"])
        known = scores if scores.shape[1] == classes else np.zeros((len(raw), classes), np.float32)
        found = self._reference.limits.count(quantities(self._spec.from_wire(raw), known))
        if known is not scores:
            # Another model for certain; its answers have no cells to be counted in.
            self._other_classes = True
            found |= {name: np.zeros_like(self._counts[name]) for name in OF_ANSWERS}
        self._counts = {name: self._counts[name] + counts for name, counts in found.items()}
        return self.waiting == self._window

    def judge(self, probes: Scores | None = None) -> Verdict:
        """Ends the window.

        Args:
            probes: What the backend answers to the samples of noise now; None leaves them out.
        """
        self._judged += 1
        verdict = Verdict(
            number=self._judged,
            requests=self.waiting,
            moved=tuple(moved(self._reference.counts, self._counts)),
            probe_change=self._change(probes),
            other_classes=self._other_classes or (probes is not None and self._differ(probes)),
        )
        self._counts, self._other_classes = self._fresh(), False
        return verdict

    def _change(self, probes: Scores | None) -> float | None:
        before = self._reference.probes
        if probes is None or not len(before) or self._differ(probes):
            return None
        return float(np.abs(probes - before).max())

    def _differ(self, probes: Scores) -> bool:
        before: Scores = self._reference.probes
        return len(before) > 0 and probes.shape != before.shape

    def _fresh(self) -> dict[str, Counts]:
        return {name: np.zeros_like(counts) for name, counts in self._reference.counts.items()}


def probe_samples(spec: InputSpec) -> Samples:
    """The fixed samples of noise, `(16, *shape)` of the spec."""
    noise = np.random.default_rng(0).random((_PROBES, *spec.unit_shape), np.float32)
    return spec.to_wire(noise)


def in_windows(count: int, window: int) -> Iterator[slice]:
    """All whole windows of so many requests."""
    for start in range(0, count - window + 1, window):
        yield slice(start, start + window)


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    """A verdict, JSON-ready."""
    return {
        "window": verdict.number,
        "requests": verdict.requests,
        "alarm": verdict.alarm,
        "samples_moved": verdict.samples_moved,
        "model_changed": verdict.model_changed,
        "probe_change": _number(verdict.probe_change),
        "other_classes": verdict.other_classes,
        "moved": [{"quantity": one.quantity, "p_value": one.p_value} for one in verdict.moved],
        "sentence": verdict.sentence(),
    }
