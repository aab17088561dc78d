"""State of an unfinished training run on disk, as safetensors: no pickle, whole or not there.

A checkpoint belongs to one set of settings, named by a fingerprint; another run's is not used.
"""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from obfnet.core.files import canonical_json, sha256_hex, write_atomic
from obfnet.core.parsing import parse_strict

_SHORTEST_WAIT_S: Final = 1.0
_SHARE_OF_TIME: Final = 0.01


def fingerprint(settings: dict[str, Any]) -> str:
    """A short name for a set of settings: the same settings, the same name.

    Example:
        >>> fingerprint({"seed": 1}) == fingerprint({"seed": 1}) != fingerprint({"seed": 2})
        True
    """
    return sha256_hex(canonical_json(settings))[:32]


@dataclass(frozen=True, kw_only=True)
class State:
    """Everything that a run needs to go on: finished steps, and tensors by name."""

    done: int
    tensors: dict[str, Tensor]


@dataclass(kw_only=True)
class Checkpoint:
    """A file that holds the state of one unfinished run.

    Args:
        path: The file.
        fingerprint: Name of the run's settings; a file of other settings counts as absent.
        every_s: Longest time between two saves; seconds. Where a save is quick it comes sooner, as long as
            saving takes a small share of the run's time.
    """

    path: Path
    fingerprint: str
    every_s: float = 10.0
    _saved_at: float = field(default_factory=time.monotonic, init=False)
    _cost_s: float = field(default=0.0, init=False)

    def due(self) -> bool:
        """Whether it is time to save again."""
        wait_s = min(self.every_s, max(_SHORTEST_WAIT_S, self._cost_s / _SHARE_OF_TIME))
        return time.monotonic() - self._saved_at >= wait_s

    def save(self, state: State) -> None:
        """Replaces the file atomically; raises `OutputError` where that fails."""
        begun = time.monotonic()
        head = _Head(fingerprint=self.fingerprint, done=state.done)
        metadata = {"obfnet": json.dumps(asdict(head))}
        write_atomic(self.path, save({k: v.contiguous() for k, v in state.tensors.items()}, metadata))
        self._saved_at = time.monotonic()
        self._cost_s = self._saved_at - begun

    def load(self) -> State | None:
        """The saved state, or None where there is none of these settings or the file is broken."""
        try:
            with safe_open(self.path, framework="pt") as file:
                head = parse_strict(_Head, json.loads((file.metadata() or {}).get("obfnet", "{}")))
                if head.fingerprint != self.fingerprint:
                    return None
                return State(done=head.done, tensors={name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (OSError, SafetensorError, ValueError):
            return None

    def drop(self) -> None:
        """Removes the file; it is fine if there is none."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class _Head:
    fingerprint: str
    done: int
