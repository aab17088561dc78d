"""How often `obfnet monitor` raises a false alarm, and how soon a true one, on real samples.

The inference networks are asked in this process: what is measured is the test, not the wire.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import uniform_filter
from scipy.stats import beta
from torch import nn

from obfnet.bundle import Bundle, Trust, read_pool
from obfnet.core.errors import UsageError
from obfnet.core.progress import Progress
from obfnet.core.result import provenance
from obfnet.core.spec import InputSpec, Samples
from obfnet.data.case import Dataset
from obfnet.data.rows import batches
from obfnet.edge import ObfuscationSession
from obfnet.edge.drift import FEWEST_KNOWN
from obfnet.edge.monitor import WINDOW, Monitor, Reference, Verdict, probe_samples
from obfnet.nets.mode import evaluating
from obfnet.training.classifier import unit_tensor
from obfnet.training.inference import InferenceNetwork

Scores = npt.NDArray[np.float32]

_TRIED: Final = 50


@dataclass(frozen=True, kw_only=True)
class MonitorBenchmark:
    """What to run.

    Args:
        windows: False alarms are counted in at least so many.
        seed: Of the cuts.
    """

    windows: int = 1_000
    seed: int = 0


def bench_monitor(
    benchmark: MonitorBenchmark,
    dataset: Dataset,
    networks: tuple[InferenceNetwork, ...],
    pool: Path,
    *,
    trust: Trust,
    progress: Progress,
    command: str,
) -> dict[str, Any]:
    """False alarms among windows of unchanged samples, and what is seen of samples and models that changed.

    Samples are all of the case, cut at random, anew each time, into a reference and windows, so that both
    are of one distribution. What a window of changed samples tells is tried many times.

    Args:
        benchmark: What to run.
        dataset: A loaded case of at least 1,500 samples.
        networks: The one that the pool was made for, and others, each of which is a changed backend.
        pool: A trained pool; each request goes through one of its networks, by chance.
        trust: Whose pools are accepted.
        progress: Told of every part.
        command: For the result file.

    Returns:
        The result, JSON-ready.

    Raises:
        UsageError: too few samples.
        BundleError: the pool was refused.
    """
    bundles = read_pool(pool, trust=trust).bundles
    spec, generator = dataset.spec.input, np.random.default_rng(benchmark.seed)
    parts = [split.samples[:] for split in (dataset.train, dataset.validation, dataset.test)]
    # Test samples alone where there are enough: the networks have not seen them.
    few = len(parts[2]) < 4 * WINDOW
    raw = np.concatenate(parts) if few else parts[2]
    least = FEWEST_KNOWN + WINDOW
    if len(raw) < least:
        raise UsageError(f"at least {least} samples", str(len(raw)), "choose a case with more")
    judge = _Judge(spec, bundles, networks[0].network)
    progress.start("ask the inference network", 1)
    asked = judge.asked(raw)
    progress.finish()
    half = max(FEWEST_KNOWN, len(raw) // 2)
    each = (len(raw) - half) // WINDOW
    alarms, judged, named = 0, 0, Counter[str]()
    progress.start("windows of unchanged samples", benchmark.windows)
    while judged < benchmark.windows:
        order = generator.permutation(len(raw))
        reference = judge.learnt(asked.take(order[:half]))
        for number in range(each):
            start = half + number * WINDOW
            verdict = judge.verdict(reference, asked.take(order[start : start + WINDOW]))
            alarms, judged = alarms + verdict.alarm, judged + 1
            named.update(one.quantity for one in verdict.moved)
        progress.advance(min(judged, benchmark.windows))
    progress.finish()

    def tried(other: _Asked, probes: Scores | None) -> dict[str, Any]:
        verdicts = []
        for _ in range(_TRIED):
            order = generator.permutation(len(raw))
            reference = judge.learnt(asked.take(order[:half]))
            verdicts.append(judge.verdict(reference, other.take(order[half : half + WINDOW]), probes))
        return _summary(verdicts)

    seen = {}
    for name, change in _changes(spec).items():
        progress.say(f"windows of samples that are {name}")
        seen[name] = tried(judge.asked(change(raw)), judge.probes)
    for number, network in enumerate(networks[1:], 1):
        progress.say(f"windows of another model, {number}")
        other = _Judge(spec, bundles, network.network)
        seen[f"another model {number}"] = tried(other.asked(raw), other.probes)
    for name, own in _speakers(dataset, few=few).items():
        progress.say(f"a window of {name}, after the others")
        reference = judge.learnt(asked.take(np.flatnonzero(~own)))
        window = asked.take(generator.permutation(np.flatnonzero(own))[:WINDOW])
        seen[name] = _summary([judge.verdict(reference, window)])
    return {
        "command": command,
        "case": dataset.spec.name,
        "seed": benchmark.seed,
        "window": WINDOW,
        "samples": len(raw),
        "reference": half,
        "networks": len(bundles),
        "false_alarms": {
            "windows": judged,
            "alarms": alarms,
            # Clopper and Pearson 1934, 95 %, one-sided.
            "rate_at_most": float(beta.ppf(0.95, alarms + 1, judged - alarms)),
            "quantities": dict(named),
        },
        "changes": seen,
        **provenance(),
    }


@dataclass(frozen=True, eq=False)
class _Asked:
    """Raw samples with the scores that were answered."""

    raw: Samples
    scores: Scores

    def take(self, index: npt.NDArray[np.int64]) -> "_Asked":
        index = np.sort(index)
        return _Asked(self.raw[index], self.scores[index])


class _Judge:
    def __init__(self, spec: InputSpec, bundles: Sequence[Bundle], network: nn.Module) -> None:
        self._spec, self._network = spec, network
        self._sessions = [ObfuscationSession(bundle) for bundle in bundles]
        # As a device asks about them: through the first network, and not where lots are drawn.
        draws = any(bundle.manifest.draws for bundle in bundles)
        self.probes = None if draws else self._scores(probe_samples(spec), self._sessions[0])

    def asked(self, raw: Samples) -> _Asked:
        picked = np.random.default_rng(0).integers(len(self._sessions), size=len(raw))
        scores: Scores | None = None
        for number, session in enumerate(self._sessions):
            own = np.flatnonzero(picked == number)
            if len(own):
                found = self._scores(raw[own], session)
                scores = np.empty((len(raw), found.shape[1]), np.float32) if scores is None else scores
                scores[own] = found
        return _Asked(raw, np.empty((0, 0), np.float32) if scores is None else scores)

    def _scores(self, raw: Samples, session: ObfuscationSession) -> Scores:
        # Probabilities, as a served network gives them.
        with torch.no_grad(), evaluating(self._network):
            parts = [
                self._network(unit_tensor(session.obfuscate(part))).softmax(1).numpy()
                for part in batches(raw)
            ]
        found: Scores = np.concatenate(parts)
        return found

    def learnt(self, known: _Asked) -> Reference:
        return Reference.learnt(known.raw, known.scores, spec=self._spec, pool="bench", probes=self.probes)

    def verdict(self, reference: Reference, window: _Asked, probes: Scores | None = None) -> Verdict:
        monitor = Monitor(reference, self._spec)
        monitor.observe(window.raw, window.scores)
        return monitor.judge(self.probes if probes is None else probes)


def _summary(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Of how many windows something was said, and what."""
    return {
        "windows": len(verdicts),
        "requests": verdicts[0].requests,
        "seen": sum(bool(one.moved) for one in verdicts) / len(verdicts),
        "seen_by_probes": sum(one.model_changed for one in verdicts) / len(verdicts),
        "quantities": dict(Counter(each.quantity for one in verdicts for each in one.moved)),
    }


def _changes(spec: InputSpec) -> dict[str, Callable[[Samples], Samples]]:
    def blurred(raw: Samples) -> Samples:
        unit = spec.from_wire(raw)
        return spec.to_wire(uniform_filter(unit, (1, 1, 3, 3)).astype(np.float32))

    return {"inverted": lambda raw: spec.to_wire(1 - spec.from_wire(raw)), "blurred": blurred}


def _speakers(dataset: Dataset, *, few: bool) -> dict[str, npt.NDArray[np.bool_]]:
    attribute = dataset.spec.attribute
    splits = (dataset.train, dataset.validation, dataset.test) if few else (dataset.test,)
    columns = [split.attribute for split in splits]
    if attribute is None or any(column is None for column in columns):
        return {}
    values = np.concatenate([column for column in columns if column is not None])
    return {f"{attribute.name} {name}": values == at for at, name in enumerate(attribute.values)}
