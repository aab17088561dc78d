"""Tasks of Ray: on this machine, or on a cluster that is there already.

How a cluster is had, what of it may differ from the driver, and how its errors are said in one line; what the
tasks do is their caller's. What Ray sends between its own processes it pickles: a cluster is its user's own.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from obfnet.core.errors import MissingExtraError, ObfNetError, UsageError

LOOK_EVERY_S: Final = 1.0
"""How often a driver says how far it is while no task ends."""

RETRIES: Final = 100
"""How often a task whose worker died is begun again; what kills its worker each time must come to an end."""

_SILENT: Final = "critical"
_CONNECT_S: Final = 5.0


@contextmanager
def cluster(address: str | None, workers: int | None) -> Iterator[Any]:
    """The module `ray`, connected for as long as the context is open.

    Args:
        address: Of a cluster; None starts one on this machine.
        workers: Tasks at once on this machine; None takes its cores.

    Raises:
        UsageError: no cluster at the address, one of another version, or one that asks for a token.
        MissingExtraError: Ray is not installed.
    """
    ray = reachable(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": _SILENT, "configure_logging": True}
    try:
        if address is None:
            count = workers or os.cpu_count() or 1
            ray.init(address="local", num_cpus=count, include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except ConnectionError as exc:
        # Ray has no type of its own for it here, only the words of the cause.
        if "AuthenticationError" in str(exc.__cause__):
            raise UsageError(
                f"to be let in by the Ray cluster at {address}",
                "a demand for its token",
                "set RAY_AUTH_MODE=token, and have the cluster's token where Ray looks for it",
            ) from exc
        raise _unreachable(address) from exc
    except (RuntimeError, ValueError) as exc:
        line = str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
        raise UsageError(
            "a Ray cluster of this version of Ray and Python", line, "update one of them, or check --address"
        ) from exc
    try:
        yield ray
    finally:
        ray.shutdown()


def reachable(address: str | None) -> Any:
    """The module `ray`, not connected, after a look at whether anybody listens at the address.

    Args:
        address: Of a cluster; None is this machine.

    Raises:
        UsageError: nobody listens there; Ray itself would ask again for minutes, and write about it.
        MissingExtraError: Ray is not installed.
    """
    # Nothing is reported to anybody, and nobody is asked whether it may be.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError as exc:
        raise MissingExtraError(exc.name or "ray", "ray") from exc
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if address is None or address == "auto" or not host:
        return ray
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, ValueError, OverflowError) as exc:
        raise _unreachable(address) from exc
    return ray


def result_of(ray: Any, reference: Any, *, task: str, error: type[ObfNetError]) -> Any:
    """What a task gave back.

    Args:
        ray: As `cluster` gives it.
        reference: Of the task.
        task: What to call it.
        error: What is raised where it gave back nothing.

    Raises:
        ObfNetError: as the task raised it; `error` for whatever else went wrong.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as exc:
        if isinstance(exc.cause, ObfNetError):
            raise exc.cause from exc
        got = f"{type(exc.cause).__name__}: {exc.cause}"
        raise error(f"a {task} that runs on a worker", got, "see the worker's log") from exc
    except ray.exceptions.OutOfMemoryError as exc:
        raise error(
            "workers with enough memory", "one that was stopped for want of it", "lower --workers"
        ) from exc
    except ray.exceptions.RayError as exc:
        raise error(
            f"a worker that ends its {task}", type(exc).__name__, f"run it again: a finished {task} is kept"
        ) from exc


def at_work(ray: Any, waiting: int) -> int:
    """How many of the tasks that have not ended are at work, one core each."""
    return min(int(ray.cluster_resources().get("CPU", 0)), waiting)


def check_same(driver: Mapping[str, str], worker: Mapping[str, str], *, error: type[ObfNetError]) -> None:
    """Raises `error` in a worker where something there is another one than the driver's.

    Args:
        driver: What it is to its version or hash.
        worker: Likewise.
        error: What is raised.
    """
    for name, want in driver.items():
        if (have := worker.get(name, "none")) != want:
            raise error(
                f"the driver's {name} ({want[:12]}) on every worker", have[:12], "bring the same there"
            )


def _unreachable(address: str | None) -> UsageError:
    return UsageError(f"a Ray cluster at {address}", "none that answers", "check --address, or leave it out")
