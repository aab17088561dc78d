"""Gradient descent that can be killed and resumed, for whoever trains: coordinator and attacker alike."""

from obfnet.fitting.checkpoint import Checkpoint, State, fingerprint
from obfnet.fitting.loop import Budget, Schedule, run_schedule
from obfnet.fitting.processor import processor
from obfnet.fitting.selection import Selection

__all__ = [
    "Budget",
    "Checkpoint",
    "Schedule",
    "Selection",
    "State",
    "fingerprint",
    "processor",
    "run_schedule",
]
