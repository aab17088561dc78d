"""Gradient descent that can be killed and resumed, for whoever trains: coordinator and attacker alike."""

from obfnet.fitting.checkpoint import Checkpoint, State, fingerprint
from obfnet.fitting.loop import Budget, Schedule, run_schedule

__all__ = ["Budget", "Checkpoint", "Schedule", "State", "fingerprint", "run_schedule"]
