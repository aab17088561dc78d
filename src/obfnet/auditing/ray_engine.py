"""Runs the trials of an audit on Ray: on this machine, or on a cluster that is there already.

Samples and networks are sent once and lie in Ray's object store, from which every worker reads them; workers
need no files. A worker that dies loses the trial that it was at, which another one begins again. What comes
out is what one process with one thread finds, on processors of one kind.
"""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, final

import torch

from obfnet.attacks import ATTACKS
from obfnet.auditing.attacking import Deliver
from obfnet.auditing.contest import Outcome, ends_contest
from obfnet.auditing.guard import AttackFaultError
from obfnet.auditing.subject import AuditSubject
from obfnet.auditing.trial import Trial, TrialSettings, fresh_trial, keep_trial, kept_trial, trial_path
from obfnet.core.errors import AttackError
from obfnet.core.progress import Progress, Silent
from obfnet.core.result import provenance
from obfnet.fitting.cluster import LOOK_EVERY_S, RETRIES, at_work, check_same, cluster, reachable, result_of

# What decides guesses; another Python or Ray is refused by the cluster itself.
_DECIDING: Final = ("obfnet", "numpy", "onnxruntime", "torch", "scikit-learn")


@final
@dataclass(frozen=True, kw_only=True)
class RayEngine:
    """Runs trials as tasks of Ray, one core each.

    Args:
        address: Of a cluster; None starts one on this machine for as long as the attacks take.
        workers: Tasks at once on this machine; None takes its cores.
    """

    address: str | None = None
    workers: int | None = None

    def check(self) -> None:
        """As `Engine.check`.

        Raises:
            UsageError: nobody listens at the address.
            MissingExtraError: Ray is not installed.
        """
        reachable(self.address)

    def attack(
        self,
        names: Sequence[str],
        trials: Sequence[TrialSettings],
        variants: Mapping[str, AuditSubject],
        deliver: Deliver,
        *,
        folder: Path,
        progress: Progress,
    ) -> None:
        """As `Engine.attack`; a trial's time limit is kept by the worker.

        Raises:
            UsageError: no cluster at the address, or one of another version.
            MissingExtraError: Ray is not installed.
            AttackError: the samples cannot be sent, or a worker is of another version.
        """
        outcomes: list[dict[TrialSettings, Outcome]] = [{} for _ in names]
        missing: list[_Job] = []
        for number, name in enumerate(names):
            for trial in trials:
                subject = variants[trial.variant]
                path = trial_path(ATTACKS.get(name)(effort=trial.effort), subject, trial, folder)
                if (found := kept_trial(path, subject.scored.raw.shape)) is None:
                    missing.append(_Job(number, trial, path))
                else:
                    outcomes[number][trial] = found

        def done(number: int) -> None:
            deliver(number, {trial: outcomes[number][trial] for trial in trials if trial in outcomes[number]})

        for number in sorted(set(range(len(names))) - {job.number for job in missing}):
            progress.say(f"{names[number]}: attacked before, taken from {folder.name}/")
            done(number)
        if not missing:
            return
        with cluster(self.address, self.workers) as ray:
            progress.start(f"{len(missing)} trials of {len(names)} attacks on Ray", len(missing))
            task = ray.remote(num_cpus=1, max_retries=RETRIES)(_try)
            sent, versions = _put(ray, dict(variants)), _versions()
            waiting = {task.remote([sent], names[job.number], job.trial, versions): job for job in missing}
            for number in sorted(_numbers(waiting)):
                progress.part(names[number], len(outcomes[number]), len(trials))
            while waiting:
                finished, _ = ray.wait(list(waiting), num_returns=1, timeout=LOOK_EVERY_S)
                for reference in finished:
                    job = waiting.pop(reference)
                    outcome = result_of(ray, reference, task="trial", error=AttackError)
                    if isinstance(outcome, Trial):
                        keep_trial(job.path, outcome)
                    outcomes[job.number][job.trial] = outcome
                    if ends_contest(job.trial, outcome):
                        _drop_later(ray, waiting, job, trials)
                    over = job.number not in _numbers(waiting)
                    tried = len(trials) if over else len(outcomes[job.number])
                    progress.part(names[job.number], tried, len(trials))
                    if over:
                        done(job.number)
                ended = len(names) - len(_numbers(waiting))
                note = f"{ended} of {len(names)} attacks done, {at_work(ray, len(waiting))} trials at work"
                progress.advance(len(missing) - len(waiting), note)
            progress.finish()


@dataclass(frozen=True)
class _Job:
    number: int
    trial: TrialSettings
    path: Path


def _numbers(waiting: Mapping[Any, _Job]) -> set[int]:
    return {job.number for job in waiting.values()}


def _drop_later(ray: Any, waiting: dict[Any, _Job], ended: _Job, trials: Sequence[TrialSettings]) -> None:
    """Leaves out what one process would not have come to: the first fault is an attack's reason."""
    later = trials[trials.index(ended.trial) + 1 :]
    for reference, job in list(waiting.items()):
        if job.number == ended.number and job.trial in later:
            del waiting[reference]
            ray.cancel(reference)


def _put(ray: Any, variants: dict[str, AuditSubject]) -> Any:
    try:
        return ray.put(variants)
    except (TypeError, pickle.PicklingError) as exc:
        raise AttackError(
            "samples and networks that can be sent to workers", type(exc).__name__, "use the local engine"
        ) from exc
    except ray.exceptions.RayError as exc:
        raise AttackError(
            "room for the samples in Ray's object store", type(exc).__name__, "give a smaller --budget"
        ) from exc


def _try(
    sent: list[Any], name: str, trial: TrialSettings, versions: Mapping[str, str]
) -> Trial | AttackFaultError:
    check_same(versions, _versions(), error=AttackError)
    # As many as were asked of the cluster.
    torch.set_num_threads(1)
    subject = _received(sent[0])[trial.variant]
    try:
        return fresh_trial(ATTACKS.get(name)(effort=trial.effort), subject, trial, progress=Silent())
    except AttackFaultError as exc:
        return exc


@lru_cache(maxsize=1)
def _received(reference: Any) -> dict[str, AuditSubject]:
    # Once a worker: sessions are made anew, arrays stay in the store.
    import ray

    variants: dict[str, AuditSubject] = ray.get(reference)
    return variants


def _versions() -> dict[str, str]:
    found = provenance()["versions"]
    return {name: found.get(name, "none") for name in _DECIDING}
