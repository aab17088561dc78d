"""Gradient descent that can be killed and resumed, for whoever trains: coordinator and attacker alike."""

from obfnet.fitting.checkpoint import Checkpoint, State, fingerprint
from obfnet.fitting.loop import Budget, Schedule, run_schedule
from obfnet.fitting.processor import Precision, arithmetic, processor
from obfnet.fitting.selection import Selection

__all__ = [
    "Budget",
    "Checkpoint",
    "Precision",
    "Schedule",
    "Selection",
    "State",
    "arithmetic",
    "fingerprint",
    "processor",
    "run_schedule",
]
